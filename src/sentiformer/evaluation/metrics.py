"""The metrics of a classifier, and whether two classifiers differ on the same texts.

`probabilities` are (N, C), `actual` are the true classes, (N,), and `is_right` is whether the
prediction for each text is right, (N,).
"""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn import metrics

from sentiformer.evaluation.tables import calibration_table

Z = 1.959963984540054  # standard deviations that hold 95 % of a normal distribution


def compute_metrics(probabilities: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """All metrics: scores, the 95 % interval of the accuracy, and the calibration error."""
    error = expected_calibration_error(calibration_table(probabilities, actual))
    interval = accuracy_interval(probabilities.argmax(axis=1) == actual)
    scores = compute_scores(probabilities, actual)
    return {**scores, **interval, "calibration_error": round(error, 6)}


def compute_scores(probabilities: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy, F1, ROC AUC, and log loss in nats.

    With more than two classes, F1 and ROC AUC are macro averages.
    """
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
    return _rounded(values)


def expected_calibration_error(calibration: pd.DataFrame) -> float:
    """The mean difference of accuracy and confidence over all texts (Naeini et al. 2015)."""
    difference = (calibration["accuracy"] - calibration["confidence"]).abs()
    return float((difference * calibration["texts"]).sum() / calibration["texts"].sum())


def accuracy_interval(is_right: np.ndarray) -> dict[str, float]:
    """The 95 % interval of an accuracy (Wilson 1927)."""
    interval = binomtest(int(is_right.sum()), len(is_right)).proportion_ci(method="wilson")
    return _rounded({"accuracy_low": interval.low, "accuracy_high": interval.high})


def paired_difference(is_right: np.ndarray, baseline_is_right: np.ndarray) -> dict[str, Any]:
    """The difference of the Transformer's and a baseline's accuracy, and McNemar's test.

    The test uses only texts on which exactly one of the two is right. The 95 % interval of the
    difference is that of Agresti & Min (2005): Wald's interval with 0.5 added to each of the four
    counts. The p-value is the probability of counts that differ at least as much, if both models
    are equally good (McNemar 1947, the exact test).
    """
    texts = len(is_right)
    transformer_alone = int((is_right & ~baseline_is_right).sum())
    baseline_alone = int((baseline_is_right & ~is_right).sum())
    discordant = transformer_alone + baseline_alone
    middle = (transformer_alone - baseline_alone) / (texts + 2)
    variance = (discordant + 1) / (texts + 2) - middle**2
    half = Z * float(np.sqrt(variance / (texts + 2)))
    p_value = binomtest(transformer_alone, discordant).pvalue if discordant else 1
    differences = {
        "difference": (transformer_alone - baseline_alone) / texts,
        "difference_low": max(-1, middle - half),
        "difference_high": min(1, middle + half),
    }
    return {
        **_rounded(differences),
        "transformer_alone": transformer_alone,
        "baseline_alone": baseline_alone,
        "p_value": float(f"{p_value:.3g}"),
    }


def _rounded(values: dict[str, Any]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in values.items()}
