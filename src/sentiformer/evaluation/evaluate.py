"""Stage evaluate: the model and the baselines on the test texts."""

from pathlib import Path
from typing import Any

import numpy as np

from sentiformer.baselines.linear import Baseline, load_baselines
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading, sha256, write_json
from sentiformer.core.runtime import Runtime
from sentiformer.evaluation.comparison import accuracy_interval, paired_difference
from sentiformer.evaluation.metrics import compute_metrics, compute_scores
from sentiformer.evaluation.tables import make_tables, predictions_table
from sentiformer.serving.trained_model import BATCH_TEXTS, Classifier
from sentiformer.text.corpus import Corpus, read_types, require_all
from sentiformer.training.batching import TextBatches

SPLIT = "test"


def evaluate(
    runtime: Runtime, *, model: Path, baseline: Path, tokens: Path, raw: Path, folder: Path
) -> dict[str, Any]:
    """Evaluate `model` on test and compare it with the baselines; write the results to `folder`.

    Returns:
        The metrics of the model.

    Raises:
        UserError: an input is missing or corrupt, or two of them do not belong together.
    """
    classifier = Classifier(model, runtime)
    labels = classifier.labels
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    types = read_types(tokens)
    corpus = Corpus(tokens / f"{SPLIT}.arrow", types=len(types))
    texts, actual = _read_texts(raw / f"{SPLIT}.parquet")
    is_same = classifier.config.data["splits"] == about["splits"]
    if not is_same or not np.array_equal(actual, corpus.labels):
        raise UserError(f"{tokens}, {raw} and {model} do not belong together; run `dvc repro`")
    require_all(labels, actual, tokens / f"{SPLIT}.arrow")
    baselines = load_baselines(baseline, about)
    results = (_predict(classifier, corpus, types), actual, corpus.lengths)
    predictions = predictions_table(*results, texts, labels)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    for name, table in make_tables(*results, labels).items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    metrics = compute_metrics(*results[:2])
    write_json(folder / "metrics.json", metrics)
    (folder / "baselines").mkdir()
    for name, fitted in baselines.items():
        write_json(folder / f"baselines/{name}.json", evaluate_baseline(fitted, *results[:2]))
    lineage = {
        "model_sha256": sha256(model / "model.safetensors"),
        "baseline_sha256": sha256(baseline / "metrics.json"),
        "split": SPLIT,
        "fingerprint": about["splits"][SPLIT]["fingerprint"],
    }
    write_json(folder / "lineage.json", lineage)
    return metrics


def evaluate_baseline(
    baseline: Baseline, probabilities: np.ndarray, actual: np.ndarray
) -> dict[str, Any]:
    """The metrics of a baseline, and its difference from the Transformer on the same texts.

    Args:
        baseline: its probabilities are of the same texts.
        probabilities: (N, C) of the Transformer.
        actual: (N,) the true classes.
    """
    is_right = probabilities.argmax(axis=1) == actual
    baseline_is_right = baseline.probabilities.argmax(axis=1) == actual
    return {
        **baseline.metrics,
        **compute_scores(baseline.probabilities, actual),
        **accuracy_interval(baseline_is_right),
        **paired_difference(is_right, baseline_is_right),
    }


def _predict(classifier: Classifier, corpus: Corpus, types: list[str]) -> np.ndarray:
    """The (N, C) probabilities of a corpus."""
    batches = TextBatches(
        corpus,
        classifier.vocab.encode(types),
        batch_size=BATCH_TEXTS,
        max_len=classifier.params.max_len,
    )
    return classifier.predict_corpus(batches)


def _read_texts(path: Path) -> tuple[list[str], np.ndarray]:
    """The texts and the labels (N,) of a split as it was downloaded."""
    import pandas as pd

    with reading(path, "download", KeyError):
        table = pd.read_parquet(path, columns=["text", "label"])
        return table["text"].tolist(), table["label"].to_numpy()
