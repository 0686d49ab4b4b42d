"""The metrics of a classifier on a split."""

from typing import TYPE_CHECKING

import numpy as np

from sentiformer.evaluation.comparison import accuracy_interval
from sentiformer.evaluation.tables import calibration_table

if TYPE_CHECKING:
    import pandas as pd


def compute_metrics(probabilities: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """All metrics: scores, the 95 % interval of the accuracy, and the calibration error.

    Args:
        probabilities: (N, C).
        actual: (N,) the true classes.
    """
    error = expected_calibration_error(calibration_table(probabilities, actual))
    interval = accuracy_interval(probabilities.argmax(axis=1) == actual)
    scores = compute_scores(probabilities, actual)
    return {**scores, **interval, "calibration_error": round(error, 6)}


def compute_scores(probabilities: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, F1, ROC AUC, and log loss in nats.

    With more than two classes, F1 and ROC AUC are macro averages.

    Args:
        probabilities: (N, C).
        actual: (N,) the true classes.
    """
    from sklearn import metrics

    predicted = probabilities.argmax(axis=1)
    classes = list(range(probabilities.shape[1]))
    is_binary = len(classes) == 2
    average = "binary" if is_binary else "macro"
    score = probabilities[:, 1] if is_binary else probabilities
    values = {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(actual, predicted),
        "f1": metrics.f1_score(actual, predicted, average=average),
        "roc_auc": metrics.roc_auc_score(actual, score, multi_class="ovr", labels=classes),
        "log_loss": metrics.log_loss(actual, probabilities, labels=classes),
    }
    return {name: round(float(value), 6) for name, value in values.items()}


def expected_calibration_error(calibration: "pd.DataFrame") -> float:
    """The mean difference of accuracy and confidence over all texts (Naeini et al. 2015)."""
    difference = (calibration["accuracy"] - calibration["confidence"]).abs()
    return float((difference * calibration["texts"]).sum() / calibration["texts"].sum())
