"""How many texts a classifier answers, and how often it is wrong, if it answers only the sure ones.

The confidence of an answer is the probability of the predicted class. A threshold on it is chosen
on validation. A share of errors counts as reached only if the upper end of its one-sided 95 %
interval is as low (Geifman & El-Yaniv 2017, section 3; Clopper & Pearson 1934), because few texts
may have few errors by chance.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sentiformer.core.files import corrupt, read_csv

FILE = "coverage.csv"  # in the folder of a model
LEVELS = 100  # of coverage: 1 %, 2 %, ... of the texts are answered
CERTAINTY = 0.95  # that the true share of errors is below `errors_high`
DIGITS = 6  # of a confidence
WISHES = (0.01, 0.02, 0.03, 0.05, 0.1)  # shares of errors that a person may allow
COLUMNS = ["min_confidence", "coverage", "errors", "errors_high"]


def confidence_levels(probabilities: np.ndarray) -> np.ndarray:
    """Confidences that 1 %, 2 %, ... of N texts reach, in rising order, the first one 0.

    `probabilities` are (N, C).
    """
    confidence = probabilities.max(axis=1)
    shares = np.arange(1, LEVELS) / LEVELS
    quantiles = np.quantile(confidence, shares, method="lower").round(DIGITS)
    return np.unique([0.0, *quantiles[quantiles <= confidence.max()]])


def coverage_rows(
    probabilities: np.ndarray, actual: np.ndarray, levels: np.ndarray
) -> list[dict[str, float]]:
    """For each level, what a classifier does that answers only if its confidence reaches it.

    Args:
        probabilities: (N, C).
        actual: the true classes, (N,).
        levels: confidences.

    Returns:
        Rows with `COLUMNS`: the level, the share of the texts that are answered, the share of them
        that are wrong, and the upper end of its interval. Levels that no text reaches are left out.
    """
    from scipy.stats import beta

    confidence = probabilities.max(axis=1)
    is_wrong = probabilities.argmax(axis=1) != actual
    rows = []
    for level in levels:
        answered = confidence >= level
        if texts := int(answered.sum()):
            wrong = int(is_wrong[answered].sum())
            high = float(beta.ppf(CERTAINTY, wrong + 1, texts - wrong)) if wrong < texts else 1.0
            values = (level, texts / len(actual), wrong / texts, high)
            rows.append({n: round(float(v), 6) for n, v in zip(COLUMNS, values, strict=True)})
    return rows


def read_coverage(folder: Path, *, made_by: str) -> list[dict[str, float]]:
    """The rows on validation of a model that the stage `made_by` wrote to a folder.

    Raises:
        UserError: the file is missing or corrupt.
    """
    rows = read_csv(path := folder / FILE, made_by=made_by)
    try:
        numbers = [{name: float(row[name]) for name in COLUMNS} for row in rows]
    except (KeyError, TypeError, ValueError):
        raise corrupt(path, made_by, "a row has not all its numbers") from None
    if not numbers:
        raise corrupt(path, made_by, "it has no row")
    return numbers


def row_for(rows: Sequence[dict[str, float]], max_errors: float) -> dict[str, float] | None:
    """The row of the lowest confidence with at most this share of errors; None if there is none."""
    return next((row for row in rows if row["errors_high"] <= max_errors), None)
