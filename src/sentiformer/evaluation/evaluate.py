"""Stage evaluate: the model and the baselines on the test texts."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sentiformer.baselines.logistic_regression import Baseline, load_baselines
from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, read_json, reading, sha256, write_json
from sentiformer.core.runtime import Runtime
from sentiformer.evaluation.groups import ALL, length_table, source_table
from sentiformer.evaluation.metrics import (
    accuracy_interval,
    compute_metrics,
    compute_scores,
    paired_difference,
)
from sentiformer.evaluation.sentences import accuracies_text, advice
from sentiformer.evaluation.tables import Results, make_tables, predictions_table
from sentiformer.serving.trained_model import BATCH_TEXTS, Classifier
from sentiformer.text.corpus import nonempty_corpus, read_types
from sentiformer.text.vocab import UNKNOWN
from sentiformer.training.batching import TextBatches


class Evaluation(NamedTuple):
    """The metrics that `evaluate` has written.

    The headline source is the first source that has test texts.
    """

    metrics: dict[str, Any]  # of the headline source
    by_source: list[dict[str, Any]]  # the rows of by_source.csv, the headline source first
    baselines: dict[str, dict[str, Any]]  # by name, on the headline source
    train_texts: int

    def summary(self) -> dict[str, float]:
        """The content of `metrics.json` in the project's root: the numbers to compare first."""
        names = ("accuracy", "log_loss", "calibration_error")
        others = [row for row in self.by_source[1:] if row["source"] != ALL]
        return {
            **{name: self.metrics[name] for name in names},
            **{f"{row['source']}_accuracy": row["accuracy"] for row in others},
            **{f"{name}_accuracy": found["accuracy"] for name, found in self.baselines.items()},
        }

    def lines(self, folder: Path) -> list[str]:
        """The result for the terminal: the accuracies, the folder, and the advice, if any."""
        accuracies = f"test: {accuracies_text(self.by_source, self.baselines)} → {folder}"
        words = advice(self.baselines, self.train_texts)
        return [accuracies, f"advice: {words}"] if words else [accuracies]


def evaluate(
    runtime: Runtime, *, model: Path, baseline: Path, tokens: Path, raw: Path, folder: Path
) -> Evaluation:
    """Evaluate `model` on test, compare it with the baselines, and write the results to `folder`.

    Raises:
        UserError: an input is missing or corrupt, or two of them do not belong together.
    """
    classifier = Classifier(model, runtime)
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    table = _read_texts(raw / "test.parquet")
    results = _predict(classifier, tokens, table)
    if classifier.config.data["splits"] != about["splits"] or results is None:
        raise UserError(f"{tokens}, {raw} and {model} do not belong together; run `dvc repro`")
    fitted = load_baselines(baseline, about)
    predictions = predictions_table(table["text"].tolist(), results, classifier.labels)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    by_source = source_table(results, about["sources"], fitted)
    is_headline = results.sources == by_source["source"][0]
    headline = results.take(is_headline)
    tables = make_tables(headline, classifier.labels)
    tables |= {"by_source": by_source, "by_length": length_table(results)}
    for name, values in tables.items():
        values.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    evaluation = Evaluation(
        metrics=compute_metrics(headline.probabilities, headline.actual),
        by_source=by_source.to_dict("records"),
        baselines={name: _compare(fitted[name], headline, is_headline) for name in fitted},
        train_texts=about["splits"]["train"]["rows"],
    )
    _write(evaluation, folder)
    write_json(folder / "lineage.json", _lineage(model, baseline, about))
    return evaluation


def _predict(classifier: Classifier, tokens: Path, table: pd.DataFrame) -> Results | None:
    """Classify the texts of test; None if the table is of other texts."""
    types = read_types(tokens)
    corpus = nonempty_corpus(tokens / "test.arrow", types=len(types))
    if not np.array_equal(table["label"], corpus.labels):
        return None
    ids, max_len = classifier.vocab.encode(types), classifier.params.max_len
    batches = TextBatches(corpus, ids, batch_size=BATCH_TEXTS, max_len=max_len)
    text_of = np.repeat(np.arange(len(corpus)), corpus.lengths)
    is_known = np.concatenate([ids[type_ids] > UNKNOWN for type_ids in corpus.chunks()])
    known_words = np.bincount(text_of[is_known], minlength=len(corpus))
    probabilities = classifier.predict_corpus(batches)
    sources = table["source"].to_numpy(dtype=object)
    return Results(probabilities, corpus.labels, sources, corpus.lengths, known_words)


def _compare(baseline: Baseline, results: Results, rows: np.ndarray) -> dict[str, Any]:
    """The metrics of a baseline on these rows, and its difference from the Transformer."""
    probabilities = baseline.probabilities[rows]
    baseline_is_right = probabilities.argmax(axis=1) == results.actual
    return {
        **baseline.metrics,
        **compute_scores(probabilities, results.actual),
        **accuracy_interval(baseline_is_right),
        **paired_difference(results.is_right, baseline_is_right),
    }


def _lineage(model: Path, baseline: Path, about: JsonObject) -> dict[str, str]:
    return {
        "model_sha256": sha256(model / "model.safetensors"),
        "baseline_sha256": sha256(baseline / "metrics.json"),
        "split": "test",
        "fingerprint": about["splits"]["test"]["fingerprint"],
    }


def _write(evaluation: Evaluation, folder: Path) -> None:
    """Write the metrics of the model and of each baseline."""
    write_json(folder / "metrics.json", evaluation.metrics)
    (folder / "baselines").mkdir()
    for name, found in evaluation.baselines.items():
        write_json(folder / f"baselines/{name}.json", found)


def _read_texts(path: Path) -> pd.DataFrame:
    """The texts of a split as it was downloaded: columns text, label, source."""
    with reading(path, "download", KeyError):
        return pd.read_parquet(path, columns=["text", "label", "source"])
