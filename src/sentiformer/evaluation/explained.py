"""The explanations that stage evaluate writes: of the report's examples, and of many texts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.core.files import write_json
from sentiformer.evaluation.examples import EXAMPLES, chosen_rows
from sentiformer.evaluation.pushes import pushes, sample
from sentiformer.evaluation.shortcuts import shortcuts
from sentiformer.serving.explain import explain
from sentiformer.serving.predictor import Prediction
from sentiformer.serving.trained_model import Classifier
from sentiformer.text.corpus import Corpus, read_types

DIGITS = 4  # of contributions


def write_explanations(
    classifier: Classifier, predictions: pd.DataFrame, data: Path, folder: Path, *, workers: int
) -> None:
    """Write explained.json, pushes.csv and shortcuts.csv on the test texts to a folder.

    Args:
        classifier: the model of the predictions.
        predictions: the table of all test texts; see `predictions_table`.
        data: has the tokens and the baseline.
        folder: of the evaluation.
        workers: processes; the files do not depend on them.
    """
    types, corpus = read_types(data / "tokens"), Corpus(data / "tokens" / "test.arrow")
    tokens = partial(corpus.tokens, types=types)
    numbers = predictions["predicted"].map(classifier.labels.index).to_numpy(dtype=np.int64)
    rows = sample(numbers)
    texts, words = predictions["text"].iloc[rows].tolist(), [tokens(row) for row in rows]
    # A process that has computed gradients, or uses a GPU, must not be forked.
    workers = workers if classifier.device.type == "cpu" else 1
    table = pushes(classifier, words, numbers[rows], workers=workers)
    ngrams = NgramModel.load(data / "baseline" / "ngrams")
    checked = shortcuts(table, texts, words, ngrams, classifier.labels)
    for name, values in {"pushes": table, "shortcuts": checked}.items():
        values.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    write_json(folder / "explained.json", explain_examples(classifier, predictions, tokens))


def explain_examples(
    classifier: Classifier, predictions: pd.DataFrame, tokens: Callable[[int], list[str]]
) -> dict[str, dict[str, Any]]:
    """The explanations of all texts that the report shows, by their rows.

    Each has tokens, spaces and contributions, as in an `Explanation`.
    """
    kinds = (True, False)
    rows = [row for right in kinds for row in chosen_rows(predictions, EXAMPLES, right=right)]
    explained = {}
    for row in rows:
        values = predictions.loc[row]
        shares = {label: float(values[f"probability_{label}"]) for label in classifier.labels}
        label = str(values["predicted"])
        given = Prediction(label=label, probability=shares[label], probabilities=shares)
        found = explain(classifier, str(values["text"]), tokens(row), given)
        contributions = [round(value, DIGITS) for value in found.contributions]
        explained[str(row)] = {
            "tokens": found.tokens,
            "spaces": found.spaces,
            "contributions": contributions,
        }
    return explained
