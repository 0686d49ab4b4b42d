"""The models that the Transformer is compared with on test.

They are the baselines, the fine-tuned encoder if there is one, and the ensemble: the mean of the
probabilities of nb_trigrams and of the fine-tuned encoder, or else of the Transformer.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sentiformer.baselines.logistic_regression import load_baselines
from sentiformer.console.progress import progress
from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, read_json
from sentiformer.core.runtime import Runtime
from sentiformer.serving.trained_model import FinetunedClassifier

BLOCK_TEXTS = 500  # between two lines of progress
TRIGRAMS = "nb_trigrams"  # the baseline in the ensemble
OUTSIDE = "outside_text"  # whether a model has learned from text from outside the data set


class Compared(NamedTuple):
    """A model that is compared with others."""

    facts: dict[str, Any]  # what is known about it before test
    probabilities: np.ndarray  # of the classes of the test texts, (N, C)


def compared_models(
    transformer: Compared, texts: list[str], about: JsonObject, runtime: Runtime, data: Path
) -> dict[str, Compared]:
    """The models by name: the baselines, `finetuned` if there is an encoder, and `ensemble`.

    `texts` are those of test, `about` is the content of corpus.json.

    Raises:
        UserError: an input is missing or corrupt, or is of other texts.
    """
    fitted, finetuned = load_baselines(data / "baseline", about), data / "finetuned"
    models = {name: Compared(found.metrics, found.probabilities) for name, found in fitted.items()}
    name, network = "transformer", transformer
    encoder = read_json(finetuned / "config.json", made_by="finetune")
    if encoder["params"]["encoder"].get("name"):
        facts = {
            "validation_accuracy": encoder["best"]["valid_accuracy"],
            OUTSIDE: True,
            "encoder": encoder["encoder"],
            "ensemble": encoder["params"]["finetune"]["ensemble"],  # whether it predicts as one
        }
        network = Compared(facts, _classify(finetuned, texts, about, runtime))
        name, models["finetuned"] = "finetuned", network
    mean = (network.probabilities + models[TRIGRAMS].probabilities) / 2
    facts = {"parts": [name, TRIGRAMS], OUTSIDE: network.facts[OUTSIDE]}
    return models | {"ensemble": Compared(facts, mean)}


def _classify(folder: Path, texts: list[str], about: JsonObject, runtime: Runtime) -> np.ndarray:
    """The probabilities of the fine-tuned encoder alone, without the n-grams of an ensemble."""
    classifier = FinetunedClassifier(folder, runtime, "auto")
    if classifier.config.data["splits"] != about["splits"]:
        raise UserError(f"{folder} was trained on other texts than data/tokens; run `dvc repro`")
    blocks = [texts[start : start + BLOCK_TEXTS] for start in range(0, len(texts), BLOCK_TEXTS)]
    shown = progress(blocks, total=len(blocks), what="the encoder on test, blocks of texts")
    found = [classifier.probabilities(block, ()) for block in shown]  # it has its own tokens
    return np.concatenate(found)
