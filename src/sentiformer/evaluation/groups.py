"""Metrics of groups of texts: by source and by length."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sentiformer.evaluation.metrics import compute_metrics, expected_calibration_error
from sentiformer.evaluation.tables import Results, calibration_table

SOURCE_METRICS = ["texts", "accuracy", "accuracy_low", "accuracy_high", "log_loss"]
SOURCE_METRICS += ["calibration_error"]
ALL = "all"  # the row of all sources together
SHORTEST = 8  # tokens of the longest text in the first bin; each bin ends at twice the last


def source_table(
    results: Results, sources: list[str], others: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Metrics of each source that has texts, in this order, and of all if there are several.

    Args:
        results: of the texts.
        sources: the names of the sources.
        others: the probabilities of other models for the same texts, by name.
    """
    groups = {source: results.sources == source for source in sources}
    groups = {source: rows for source, rows in groups.items() if rows.any()}
    if len(groups) > 1:
        groups[ALL] = np.ones(len(results.actual), dtype=bool)
    table = []
    for source, rows in groups.items():
        actual = results.actual[rows]
        metrics = compute_metrics(results.probabilities[rows], actual)
        row = {"source": source, **{name: metrics[name] for name in SOURCE_METRICS}}
        for name, probabilities in others.items():
            is_right = probabilities[rows].argmax(axis=1) == actual
            row[f"{name}_accuracy"] = round(float(is_right.mean()), 6)
        table.append(row)
    return pd.DataFrame(table)


def length_table(results: Results) -> pd.DataFrame:
    """Accuracy, mean confidence, calibration error and share of unknown words by length.

    A bin has the texts of 0 to 8 tokens, 9 to 16, 17 to 32, ...; an empty bin has no row.
    """
    longest = np.maximum(results.tokens, SHORTEST)
    number = np.ceil(np.log2(longest / SHORTEST)).astype(int)
    table = []
    for bin_number in np.unique(number).tolist():
        group = results.take(number == bin_number)
        end = SHORTEST * 2**bin_number
        tokens = max(1, int(group.tokens.sum()))  # texts may be empty
        calibration = calibration_table(group.probabilities, group.actual)
        row = {
            "tokens": f"{end // 2 + 1 if bin_number else 0}-{end}",
            "texts": len(group.actual),
            "accuracy": group.is_right.mean(),
            "confidence": group.probabilities.max(axis=1).mean(),
            "calibration_error": expected_calibration_error(calibration),
            "unknown_words": 1 - group.known_words.sum() / tokens if group.tokens.any() else 0,
        }
        table.append(row)
    return pd.DataFrame(table).round(6)
