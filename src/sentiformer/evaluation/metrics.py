"""The metrics of a classifier, and whether two classifiers differ on the same texts.

`probabilities` are (N, C), `actual` are the true classes, (N,), and `is_right` is whether the
prediction for each text is right, (N,).
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn import metrics

from sentiformer.evaluation.tables import calibration_table, curve_classes

Z = 1.959963984540054  # standard deviations that hold 95 % of a normal distribution


def compute_metrics(probabilities: np.ndarray, actual: np.ndarray) -> dict[str, float | None]:
    """Accuracy with its interval, balanced accuracy, F1, ROC AUC, log loss, calibration error.

    The log loss is in nats. With more than two classes, F1 and ROC AUC are macro averages. A class
    without a text in `actual` is left out of the averages; ROC AUC is None if only one class has
    texts.
    """
    predicted, classes = probabilities.argmax(axis=1), range(probabilities.shape[1])
    present = np.unique(actual)
    averaged: dict[str, Any] = {"average": "macro", "zero_division": 0}
    f1_classes = [1] if len(classes) == 2 else present
    areas = [  # under the ROC curve of each class against the rest
        metrics.roc_auc_score(actual == number, probabilities[:, number])
        for number in curve_classes(actual, len(classes))
    ]
    values = {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "balanced_accuracy": metrics.recall_score(actual, predicted, labels=present, **averaged),
        "f1": metrics.f1_score(actual, predicted, labels=f1_classes, **averaged),
        "roc_auc": np.mean(areas) if areas else None,
        "log_loss": metrics.log_loss(actual, probabilities, labels=list(classes)),
    }
    interval = accuracy_interval(predicted == actual)
    error = expected_calibration_error(calibration_table(probabilities, actual))
    return {**_rounded(values), **interval, "calibration_error": error, "texts": len(actual)}


def expected_calibration_error(calibration: pd.DataFrame) -> float:
    """The mean difference of accuracy and confidence over all texts (Naeini et al. 2015)."""
    difference = (calibration["accuracy"] - calibration["confidence"]).abs()
    texts = calibration["texts"]
    return round(float((difference * texts).sum() / texts.sum()), 6)


def accuracy_interval(is_right: np.ndarray) -> dict[str, float]:
    """The 95 % interval of an accuracy (Wilson 1927)."""
    interval = binomtest(int(is_right.sum()), len(is_right)).proportion_ci(method="wilson")
    return _rounded({"accuracy_low": interval.low, "accuracy_high": interval.high})


def paired_difference(is_right: np.ndarray, other_is_right: np.ndarray) -> dict[str, Any]:
    """The difference of the Transformer's and another model's accuracy, and McNemar's test.

    The test uses only texts on which exactly one of the two is right. The 95 % interval of the
    difference is that of Agresti & Min (2005): Wald's interval with 0.5 added to each of the four
    counts. The p-value is the probability of counts that differ at least as much, if both models
    are equally good (McNemar 1947, the exact test).
    """
    texts = len(is_right)
    transformer_alone = int((is_right & ~other_is_right).sum())
    other_alone = int((other_is_right & ~is_right).sum())
    discordant = transformer_alone + other_alone
    middle = (transformer_alone - other_alone) / (texts + 2)
    variance = (discordant + 1) / (texts + 2) - middle**2
    half = Z * float(np.sqrt(variance / (texts + 2)))
    p_value = binomtest(transformer_alone, discordant).pvalue if discordant else 1
    differences = {
        "difference": (transformer_alone - other_alone) / texts,
        "difference_low": max(-1, middle - half),
        "difference_high": min(1, middle + half),
    }
    return {
        **_rounded(differences),
        "transformer_alone": transformer_alone,
        "other_alone": other_alone,
        "p_value": float(f"{p_value:.3g}"),
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if value is None else round(float(value), 6) for name, value in values.items()
    }
