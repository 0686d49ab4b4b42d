"""Stage evaluate: the model and the baselines on the test texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentiformer.baselines.logistic_regression import Baseline, load_baselines
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading, sha256, write_json
from sentiformer.core.runtime import Runtime
from sentiformer.evaluation.metrics import (
    accuracy_interval,
    compute_metrics,
    compute_scores,
    paired_difference,
)
from sentiformer.evaluation.tables import make_tables, predictions_table
from sentiformer.serving.trained_model import BATCH_TEXTS, Classifier
from sentiformer.text.corpus import Corpus, read_types, require_all
from sentiformer.training.batching import TextBatches


def evaluate(
    runtime: Runtime, *, model: Path, baseline: Path, tokens: Path, raw: Path, folder: Path
) -> dict[str, Any]:
    """Evaluate `model` on test, compare it with the baselines, and write the results to `folder`.

    Returns:
        The metrics of the model.

    Raises:
        UserError: an input is missing or corrupt, or two of them do not belong together.
    """
    classifier, types = Classifier(model, runtime), read_types(tokens)
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    corpus = Corpus(tokens / "test.arrow", types=len(types))
    texts, actual = _read_texts(raw / "test.parquet")
    is_same = classifier.config.data["splits"] == about["splits"]
    if not is_same or not np.array_equal(actual, corpus.labels):
        raise UserError(f"{tokens}, {raw} and {model} do not belong together; run `dvc repro`")
    require_all(classifier.labels, actual, tokens / "test.arrow")
    baselines = load_baselines(baseline, about)
    probabilities = _predict(classifier, corpus, types)
    results = probabilities, actual, corpus.lengths, classifier.labels
    predictions_table(texts, *results).to_parquet(folder / "predictions.parquet", index=False)
    for name, table in make_tables(*results).items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    metrics = compute_metrics(probabilities, actual)
    write_json(folder / "metrics.json", metrics)
    (folder / "baselines").mkdir()
    is_right = probabilities.argmax(axis=1) == actual
    for name, fitted in baselines.items():
        write_json(folder / f"baselines/{name}.json", _compare(fitted, is_right, actual))
    lineage = {
        "model_sha256": sha256(model / "model.safetensors"),
        "baseline_sha256": sha256(baseline / "metrics.json"),
        "split": "test",
        "fingerprint": about["splits"]["test"]["fingerprint"],
    }
    write_json(folder / "lineage.json", lineage)
    return metrics


def _predict(classifier: Classifier, corpus: Corpus, types: list[str]) -> np.ndarray:
    """The (N, C) probabilities of the texts of a corpus; `types` are the types of its ids."""
    ids, max_len = classifier.vocab.encode(types), classifier.params.max_len
    batches = TextBatches(corpus, ids, batch_size=BATCH_TEXTS, max_len=max_len)
    return classifier.predict_corpus(batches)


def _compare(baseline: Baseline, is_right: np.ndarray, actual: np.ndarray) -> dict[str, Any]:
    """The metrics of a baseline, and its difference from the Transformer, from (N,) arrays."""
    baseline_is_right = baseline.probabilities.argmax(axis=1) == actual
    return {
        **baseline.metrics,
        **compute_scores(baseline.probabilities, actual),
        **accuracy_interval(baseline_is_right),
        **paired_difference(is_right, baseline_is_right),
    }


def _read_texts(path: Path) -> tuple[list[str], np.ndarray]:
    """The texts and the labels (N,) of a split as it was downloaded."""
    with reading(path, "download", KeyError):
        table = pd.read_parquet(path, columns=["text", "label"])
        return table["text"].tolist(), table["label"].to_numpy()
