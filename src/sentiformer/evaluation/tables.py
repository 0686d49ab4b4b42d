"""The tables of an evaluation, from which the figures are drawn.

`probabilities` are (N, C), `actual` are the true classes, (N,), and `labels` are the names of the C
classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, precision_recall_fscore_support, roc_curve

CALIBRATION_BINS = 15


class Results(NamedTuple):
    """What a model predicts for N texts, and what is known about them."""

    probabilities: np.ndarray  # (N, C)
    actual: np.ndarray  # (N,) the true classes
    sources: np.ndarray  # (N,) the name of the source of each text
    tokens: np.ndarray  # (N,) the tokens of each text before truncation
    known_words: np.ndarray  # (N,) how many of them are in the vocabulary

    def take(self, rows: np.ndarray) -> "Results":
        """The results of some texts: their numbers, or whether each is one of them."""
        return Results._make(values[rows] for values in self)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each text, (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def is_right(self) -> np.ndarray:
        """Whether the most probable class is the true one, (N,)."""
        return self.predicted == self.actual


def make_tables(results: Results, labels: list[str]) -> dict[str, pd.DataFrame]:
    """Tables by name: by_class, confusion, calibration, roc, precision_recall."""
    probabilities, actual, names = results.probabilities, results.actual, np.array(labels)
    predicted = results.predicted
    return {
        "by_class": class_table(predicted, actual, labels),
        "confusion": pd.DataFrame({"actual": names[actual], "predicted": names[predicted]}),
        "calibration": calibration_table(probabilities, actual),
        **curve_tables(probabilities, actual, labels),
    }


def predictions_table(
    texts: list[str], results: Results, labels: list[str], others: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """One row per text: the text, its `Results` with names of classes, and all probabilities.

    Of `others`, (N, C) probabilities by name, there are the predicted class and its probability.
    """
    names = np.array(labels)
    columns = {
        "text": texts,
        "source": results.sources,
        "tokens": results.tokens,
        "known_words": results.known_words,
        "actual": names[results.actual],
        "predicted": names[results.predicted],
    }
    probabilities = [f"probability_{label}" for label in labels]
    table = pd.DataFrame(columns).join(pd.DataFrame(results.probabilities, columns=probabilities))
    for name, found in others.items():
        table[f"{name}_predicted"] = names[found.argmax(axis=1)]
        table[f"{name}_probability"] = found.max(axis=1)
    return table


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


def curve_classes(actual: np.ndarray, classes: int) -> list[int]:
    """The classes that have a ROC curve: those of some texts, but not of all.

    Of two classes, the second stands for both.
    """
    counts = np.bincount(actual, minlength=classes)
    candidates = [1] if classes == 2 else range(classes)
    return [number for number in candidates if 0 < counts[number] < len(actual)]


def curve_tables(
    probabilities: np.ndarray, actual: np.ndarray, labels: list[str]
) -> dict[str, pd.DataFrame]:
    """The points of the ROC and the precision-recall curves of the classes of `curve_classes`."""
    columns = {"roc": ["class", "fpr", "tpr"], "precision_recall": ["class", "recall", "precision"]}
    tables = {name: [pd.DataFrame(columns=columns[name])] for name in columns}
    for number in curve_classes(actual, len(labels)):
        label, is_class, score = labels[number], actual == number, probabilities[:, number]
        fpr, tpr, _ = roc_curve(is_class, score)
        precision, recall, _ = precision_recall_curve(is_class, score, drop_intermediate=True)
        curves = {"roc": (fpr, tpr), "precision_recall": (recall, precision)}
        for name, (x, y) in curves.items():
            values = dict(zip(columns[name], (label, x, y), strict=True))
            tables[name].append(pd.DataFrame(values))
    return {name: pd.concat(parts[1:] or parts).round(6) for name, parts in tables.items()}
