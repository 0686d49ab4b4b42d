"""The tables of an evaluation, from which the figures are drawn.

`probabilities` are (N, C), `actual` are the true classes, (N,), `lengths` are the tokens of each
text before truncation, (N,), and `labels` are the names of the C classes.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, precision_recall_fscore_support, roc_curve

CALIBRATION_BINS = 15
LENGTH_BINS = 5


def make_tables(
    probabilities: np.ndarray, actual: np.ndarray, lengths: np.ndarray, labels: list[str]
) -> dict[str, pd.DataFrame]:
    """All tables by name: by_class, by_length, confusion, calibration, roc, precision_recall."""
    predicted, names = probabilities.argmax(axis=1), np.array(labels)
    return {
        "by_class": class_table(predicted, actual, labels),
        "by_length": length_table(predicted == actual, lengths),
        "confusion": pd.DataFrame({"actual": names[actual], "predicted": names[predicted]}),
        "calibration": calibration_table(probabilities, actual),
        **curve_tables(probabilities, actual, labels),
    }


def predictions_table(
    texts: list[str],
    probabilities: np.ndarray,
    actual: np.ndarray,
    lengths: np.ndarray,
    labels: list[str],
) -> pd.DataFrame:
    """One row per text: text, tokens, actual and predicted label, probability of each class."""
    predicted, names = probabilities.argmax(axis=1), np.array(labels)
    table = pd.DataFrame({"text": texts, "tokens": lengths})
    table["actual"], table["predicted"] = names[actual], names[predicted]
    columns = [f"probability_{label}" for label in labels]
    return table.join(pd.DataFrame(probabilities, columns=columns))


def class_table(predicted: np.ndarray, actual: np.ndarray, labels: list[str]) -> pd.DataFrame:
    """Precision, recall, F1 and number of texts of each class."""
    columns = precision_recall_fscore_support(
        actual, predicted, labels=range(len(labels)), zero_division=0
    )
    values = dict(zip(("precision", "recall", "f1", "texts"), columns, strict=True))
    return pd.DataFrame({"class": labels, **values}).round(6)


def calibration_table(
    probabilities: np.ndarray, actual: np.ndarray, bins: int = CALIBRATION_BINS
) -> pd.DataFrame:
    """Mean confidence and accuracy in bins of the confidence of equal width (Guo et al. 2017).

    The confidence is the probability of the predicted class. Empty bins have no row.
    """
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == actual
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    table = pd.DataFrame({"confidence": confidence, "accuracy": is_right})
    means = table.groupby(number).mean()
    means.insert(0, "texts", table.groupby(number).size())
    return means.round(6).reset_index(drop=True)


def length_table(
    is_right: np.ndarray, lengths: np.ndarray, bins: int = LENGTH_BINS
) -> pd.DataFrame:
    """Accuracy in bins of the length, from short to long, with about as many texts in each."""
    edges = np.unique(np.quantile(lengths, np.arange(1, bins) / bins))
    groups = pd.DataFrame({"length": lengths, "right": is_right}).groupby(
        np.searchsorted(edges, lengths)
    )
    rows = [
        (f"{bin.length.min()}-{bin.length.max()}", len(bin), bin.right.mean()) for _, bin in groups
    ]
    return pd.DataFrame(rows, columns=["tokens", "texts", "accuracy"]).round(6)


def curve_tables(
    probabilities: np.ndarray, actual: np.ndarray, labels: list[str]
) -> dict[str, pd.DataFrame]:
    """The points of the ROC and the precision-recall curves of each class.

    Of two classes, only the second has curves.
    """
    roc, precision_recall = [], []
    for number in [1] if len(labels) == 2 else range(len(labels)):
        label, is_class, score = labels[number], actual == number, probabilities[:, number]
        fpr, tpr, _ = roc_curve(is_class, score)
        roc.append(pd.DataFrame({"class": label, "fpr": fpr, "tpr": tpr}))
        precision, recall, _ = precision_recall_curve(is_class, score, drop_intermediate=True)
        points = {"class": label, "recall": recall, "precision": precision}
        precision_recall.append(pd.DataFrame(points))
    tables = {"roc": roc, "precision_recall": precision_recall}
    return {name: pd.concat(parts).round(6) for name, parts in tables.items()}
