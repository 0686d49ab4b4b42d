"""Judging a model on texts it has not seen: metrics, predictions, and the tables of the curves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiformer.baselines.linear import Baseline, load_baselines
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading, sha256, write_json
from sentiformer.core.runtime import Runtime
from sentiformer.evaluation.comparison import accuracy_interval, paired_difference
from sentiformer.evaluation.params import EvaluateParams
from sentiformer.serving.trained_model import BATCH_TEXTS, Classifier
from sentiformer.text.corpus import Corpus, read_types, require_all
from sentiformer.training.batching import TextBatches

if TYPE_CHECKING:
    import pandas as pd

SPLIT = "test"


def evaluate(
    params: EvaluateParams,
    runtime: Runtime,
    *,
    model: Path,
    baseline: Path,
    tokens: Path,
    raw: Path,
    folder: Path,
) -> dict[str, Any]:
    """Judge `model` on test and hold it against the baselines; write all of that to `folder`.

    Raises:
        UserError: an input is missing or corrupt, or two of them do not belong together.
    """
    classifier = Classifier(model, runtime)
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    types = read_types(tokens)
    corpus = Corpus(tokens / f"{SPLIT}.arrow", types=len(types))
    texts, actual = _read_texts(raw / f"{SPLIT}.parquet")
    together = np.array_equal(actual, corpus.labels)
    if not together or classifier.config.data["splits"] != about["splits"]:
        raise UserError(f"{tokens}, {raw} and {model} do not belong together; run `dvc repro`")
    require_all(classifier.labels, corpus.labels, tokens / f"{SPLIT}.arrow")
    baselines = load_baselines(baseline, about)
    batches = TextBatches(
        corpus,
        classifier.vocab.encode(types),
        batch_size=BATCH_TEXTS,
        max_len=classifier.params.max_len,
    )
    probabilities = classifier.predict_corpus(batches)
    labels = classifier.labels
    predictions = predictions_table(probabilities, corpus.labels, corpus.lengths, texts, labels)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    metrics, tables = judge(probabilities, corpus.labels, corpus.lengths, labels, params)
    write_json(folder / "metrics.json", metrics)
    _write_baselines(folder / "baselines", baselines, probabilities, corpus.labels)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    lineage = {
        "model_sha256": sha256(model / "model.safetensors"),
        "baseline_sha256": sha256(baseline / "metrics.json"),
        "split": SPLIT,
        "fingerprint": about["splits"][SPLIT]["fingerprint"],
    }
    write_json(folder / "lineage.json", lineage)
    return metrics


def judge(
    probabilities: np.ndarray,
    actual: np.ndarray,
    lengths: np.ndarray,
    labels: list[str],
    params: EvaluateParams,
) -> tuple[dict[str, Any], dict[str, "pd.DataFrame"]]:
    """The metrics and the tables behind the plots.

    Args:
        probabilities: (N, C).
        actual: (N,) the true classes.
        lengths: (N,) tokens of each text before truncation.
    """
    import pandas as pd

    predicted = probabilities.argmax(axis=1)
    calibration = calibration_table(probabilities, actual, params.calibration_bins)
    metrics = {
        **scores(probabilities, actual),
        **accuracy_interval(predicted == actual),
        "calibration_error": round(expected_calibration_error(calibration), 6),
    }
    names = np.array(labels)
    confusion = pd.DataFrame({"actual": names[actual], "predicted": names[predicted]})
    return metrics, {
        "by_class": class_table(predicted, actual, labels),
        "by_length": length_table(predicted == actual, lengths, params.length_bins),
        "confusion": confusion,
        "calibration": calibration,
        **curve_tables(probabilities, actual, labels),
    }


def scores(probabilities: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, F1, ROC AUC, log loss; macro-averaged beyond two classes."""
    from sklearn import metrics

    predicted = probabilities.argmax(axis=1)
    classes = list(range(probabilities.shape[1]))
    binary = len(classes) == 2
    average = "binary" if binary else "macro"
    score = probabilities[:, 1] if binary else probabilities
    values = {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(actual, predicted),
        "f1": metrics.f1_score(actual, predicted, average=average),
        "roc_auc": metrics.roc_auc_score(actual, score, multi_class="ovr", labels=classes),
        "log_loss": metrics.log_loss(actual, probabilities, labels=classes),
    }
    return {name: round(float(value), 6) for name, value in values.items()}


def judge_baseline(
    baseline: Baseline, probabilities: np.ndarray, actual: np.ndarray
) -> dict[str, Any]:
    """The metrics of a baseline, and how much better or worse the Transformer is.

    Args:
        probabilities: (N, C) of the Transformer.
        actual: (N,) the true classes.
    """
    right, baseline_right = (
        of.argmax(axis=1) == actual for of in (probabilities, baseline.probabilities)
    )
    return {
        **baseline.metrics,
        **scores(baseline.probabilities, actual),
        **accuracy_interval(baseline_right),
        **paired_difference(right, baseline_right),
    }


def _write_baselines(
    folder: Path, baselines: dict[str, Baseline], probabilities: np.ndarray, actual: np.ndarray
) -> None:
    folder.mkdir()
    for name, baseline in baselines.items():
        write_json(folder / f"{name}.json", judge_baseline(baseline, probabilities, actual))


def class_table(predicted: np.ndarray, actual: np.ndarray, labels: list[str]) -> "pd.DataFrame":
    """Precision, recall, F1 and number of texts of each class."""
    import pandas as pd
    from sklearn.metrics import precision_recall_fscore_support

    classes = range(len(labels))
    precision, recall, f1, texts = precision_recall_fscore_support(
        actual, predicted, labels=classes, zero_division=0
    )
    columns = {"precision": precision, "recall": recall, "f1": f1, "texts": texts}
    return pd.DataFrame({"class": labels, **columns}).round(6)


def calibration_table(probabilities: np.ndarray, actual: np.ndarray, bins: int) -> "pd.DataFrame":
    """Mean confidence and accuracy in bins of equal width over the confidence (Guo et al. 2017)."""
    import pandas as pd

    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == actual
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": number, "confidence": confidence, "accuracy": right})
    means = table.groupby("bin").agg(
        texts=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    return means.round(6).reset_index(drop=True)


def expected_calibration_error(calibration: "pd.DataFrame") -> float:
    """The mean distance of accuracy from confidence over all texts (Naeini et al. 2015)."""
    gap = (calibration["accuracy"] - calibration["confidence"]).abs()
    return float((gap * calibration["texts"]).sum() / calibration["texts"].sum())


def length_table(right: np.ndarray, lengths: np.ndarray, bins: int) -> "pd.DataFrame":
    """Accuracy in bins of equally many texts, from the shortest to the longest."""
    import pandas as pd

    edges = np.unique(np.quantile(lengths, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(edges, lengths)
    table = pd.DataFrame({"bin": bin_of, "length": lengths, "right": right})
    rows = table.groupby("bin").agg(
        shortest=("length", "min"),
        longest=("length", "max"),
        texts=("right", "size"),
        accuracy=("right", "mean"),
    )
    names = [f"{row.shortest}-{row.longest}" for row in rows.itertuples()]
    rows.insert(0, "tokens", names)
    return rows[["tokens", "texts", "accuracy"]].round(6).reset_index(drop=True)


def curve_tables(
    probabilities: np.ndarray, actual: np.ndarray, labels: list[str]
) -> dict[str, "pd.DataFrame"]:
    """ROC and precision-recall points: of the second of two classes, or of each of more."""
    import pandas as pd
    from sklearn.metrics import precision_recall_curve, roc_curve

    roc, precision_recall = [], []
    for number in [1] if len(labels) == 2 else range(len(labels)):
        is_class, score = actual == number, probabilities[:, number]
        false_positive, true_positive, _ = roc_curve(is_class, score)
        roc.append(_curve(labels[number], "fpr", false_positive, "tpr", true_positive))
        precision, recall, _ = precision_recall_curve(is_class, score, drop_intermediate=True)
        precision_recall.append(_curve(labels[number], "recall", recall, "precision", precision))
    return {"roc": pd.concat(roc), "precision_recall": pd.concat(precision_recall)}


def _curve(label: str, x_name: str, x: np.ndarray, y_name: str, y: np.ndarray) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({"class": label, x_name: x.round(6), y_name: y.round(6)})


def predictions_table(
    probabilities: np.ndarray,
    actual: np.ndarray,
    lengths: np.ndarray,
    texts: list[str],
    labels: list[str],
) -> "pd.DataFrame":
    """A row a text: text, tokens, actual and predicted label, probability of each class."""
    import pandas as pd

    names = np.array(labels)
    return pd.DataFrame(
        {
            "text": texts,
            "tokens": lengths,
            "actual": names[actual],
            "predicted": names[probabilities.argmax(axis=1)],
            **{
                f"probability_{label}": of
                for label, of in zip(labels, probabilities.T, strict=True)
            },
        }
    )


def _read_texts(path: Path) -> tuple[list[str], np.ndarray]:
    """The texts and labels of a split as it was downloaded."""
    import pandas as pd

    with reading(path, "download", KeyError):
        table = pd.read_parquet(path, columns=["text", "label"])
        return table["text"].tolist(), table["label"].to_numpy()
