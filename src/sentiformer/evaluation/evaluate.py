"""Stage evaluate: the Transformer and the models that it is compared with on the test texts."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, read_json, reading, sha256, write_json
from sentiformer.core.runtime import Runtime
from sentiformer.evaluation.compared import OUTSIDE, Compared, compared_models
from sentiformer.evaluation.coverage import Answers, coverage_tables
from sentiformer.evaluation.explained import write_explanations
from sentiformer.evaluation.groups import ALL, length_table, source_table
from sentiformer.evaluation.label_issues import label_issue_table
from sentiformer.evaluation.metrics import compute_metrics, paired_difference
from sentiformer.evaluation.sentences import advice, rounded
from sentiformer.evaluation.tables import Results, make_tables, predictions_table
from sentiformer.serving.trained_model import BATCH_TEXTS, Classifier
from sentiformer.text.corpus import nonempty_corpus, read_types
from sentiformer.text.vocab import UNKNOWN
from sentiformer.training.batching import TextBatches


class Evaluation(NamedTuple):
    """The metrics that `evaluate` has written.

    The headline source is the first source that has test texts.
    """

    metrics: dict[str, Any]  # of the Transformer on the headline source, and facts about it
    sources: list[dict[str, Any]]  # rows of by_source.csv without `all`, the headline first
    compared: dict[str, dict[str, Any]]  # the other models by name, on the headline source
    train_texts: int
    label_issues: int  # labels of train and validation that may be wrong

    def summary(self) -> dict[str, float]:
        """The content of `metrics.json` in the project's root: the numbers to compare first."""
        names = ("accuracy", "log_loss", "calibration_error")
        return {
            **{name: self.metrics[name] for name in names},
            **{f"{row['source']}_accuracy": row["accuracy"] for row in self.sources[1:]},
            **{f"{name}_accuracy": found["accuracy"] for name, found in self.compared.items()},
        }

    def lines(self, folder: Path) -> list[str]:
        """The result for the terminal: accuracies, doubtful labels, and the advice, if any."""
        shown = [f"{rounded(row['accuracy'])} ({row['source']})" for row in self.sources]
        others = [f"{name} {rounded(self.compared[name]['accuracy'])}" for name in self.compared]
        accuracies = f"test: accuracy {', '.join(shown)}; {', '.join(others)} → {folder}"
        found = f"{self.label_issues:,} labels of train and validation may be wrong"
        lines = [accuracies, f"{found} → {folder / 'label_issues.csv'}"]
        words = advice(self.compared, self.train_texts)
        return [*lines, f"advice: {words}"] if words else lines


def evaluate(runtime: Runtime, *, data: Path, folder: Path) -> Evaluation:
    """Evaluate `data/model` on test, and compare it with the other models in `data`.

    The results are written to `folder`.

    Raises:
        UserError: an input is missing or corrupt, or two of them do not belong together.
    """
    model, tokens, raw = data / "model", data / "tokens", data / "raw"
    classifier = Classifier(model, runtime)
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    with reading(raw / "test.parquet", "download", KeyError):
        texts = pd.read_parquet(raw / "test.parquet", columns=["text", "label", "source"])
    results = _predict(classifier, tokens, texts)
    if classifier.config.data["splits"] != about["splits"] or results is None:
        raise UserError(f"{tokens}, {raw} and {model} do not belong together; run `dvc repro`")
    transformer = Compared(facts := _facts(model), results.probabilities)
    models = compared_models(transformer, texts["text"].tolist(), about, runtime, data)
    others = {name: found.probabilities for name, found in models.items()}
    by_source = source_table(results, about["sources"], others)
    is_headline = results.sources == by_source["source"][0]
    headline = results.take(is_headline)
    label_issues = label_issue_table(data, about)
    evaluation = Evaluation(
        metrics=compute_metrics(headline.probabilities, headline.actual) | facts,
        sources=[row for row in by_source.to_dict("records") if row["source"] != ALL],
        compared={name: _compare(models[name], headline, is_headline) for name in models},
        train_texts=about["splits"]["train"]["rows"],
        label_issues=len(label_issues),
    )
    tables = make_tables(headline, classifier.labels)
    tables |= {"by_source": by_source, "by_length": length_table(results)}
    tables |= coverage_tables(_answers(data, results, models), results, [*by_source["source"]])
    tables["label_issues"] = label_issues
    predictions = predictions_table(texts["text"].tolist(), results, classifier.labels, others)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    write_explanations(classifier, predictions, data, folder, workers=runtime.threads)
    _write(evaluation, tables, folder)
    write_json(folder / "lineage.json", _lineage(data, about))
    return evaluation


def _facts(folder: Path) -> dict[str, Any]:
    """What is known about the Transformer in a folder before test."""
    trained = read_json(folder / "config.json", made_by="train")
    is_taught = trained["params"]["teach"].get("by") in ("encoder", "ensemble")
    return {"validation_accuracy": trained["best"]["valid_accuracy"], OUTSIDE: is_taught}


def _predict(classifier: Classifier, tokens: Path, texts: pd.DataFrame) -> Results | None:
    """Classify test with the Transformer; None if the tokens are of other texts than the table."""
    types = read_types(tokens)
    corpus = nonempty_corpus(tokens / "test.arrow", types=len(types))
    if not np.array_equal(texts["label"], corpus.labels):
        return None
    ids, max_len = classifier.vocab.encode(types), classifier.params.max_len
    batches = TextBatches(corpus, ids, batch_size=BATCH_TEXTS, max_len=max_len)
    text_of = np.repeat(np.arange(len(corpus)), corpus.lengths)
    is_known = np.concatenate([ids[type_ids] > UNKNOWN for type_ids in corpus.chunks()])
    known_words = np.bincount(text_of[is_known], minlength=len(corpus))
    probabilities = classifier.predict_corpus(batches)
    sources = texts["source"].to_numpy(dtype=object)
    return Results(probabilities, corpus.labels, sources, corpus.lengths, known_words)


def _answers(data: Path, results: Results, models: Mapping[str, Compared]) -> dict[str, Answers]:
    """The models in folders of their own: the Transformer and, if there is one, the encoder."""
    answers = {"transformer": Answers(data / "model", "train", results.probabilities)}
    if "finetuned" in models:
        name = "ensemble" if models["finetuned"].facts["ensemble"] else "finetuned"
        answers[name] = Answers(data / "finetuned", "finetune", models[name].probabilities)
    return answers


def _compare(other: Compared, transformer: Results, rows: np.ndarray) -> dict[str, Any]:
    """What is known about a model, its metrics on these rows, and its paired difference."""
    probabilities = other.probabilities[rows]
    is_right = probabilities.argmax(axis=1) == transformer.actual
    metrics = compute_metrics(probabilities, transformer.actual)
    return {**other.facts, **metrics, **paired_difference(transformer.is_right, is_right)}


def _lineage(data: Path, about: JsonObject) -> dict[str, str]:
    encoder = data / "finetuned" / "model.safetensors"
    return {
        "model_sha256": sha256(data / "model" / "model.safetensors"),
        **({"finetuned_sha256": sha256(encoder)} if encoder.exists() else {}),
        "baseline_sha256": sha256(data / "baseline" / "metrics.json"),
        "split": "test",
        "fingerprint": about["splits"]["test"]["fingerprint"],
    }


def _write(evaluation: Evaluation, tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write the tables, and the metrics of the Transformer and of each other model."""
    for name, values in tables.items():
        # Before Python 3.13, `csv` does not quote a text with a carriage return by itself.
        quoting = csv.QUOTE_NONNUMERIC if "text" in values else csv.QUOTE_MINIMAL
        path = folder / f"{name}.csv"
        values.to_csv(path, index=False, lineterminator="\n", quoting=quoting)
    write_json(folder / "metrics.json", evaluation.metrics)
    for name, found in evaluation.compared.items():
        place = folder / ("baselines" if name in KINDS else "models")
        place.mkdir(exist_ok=True)
        write_json(place / f"{name}.json", found)
