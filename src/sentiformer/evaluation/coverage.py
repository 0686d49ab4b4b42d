"""What the thresholds that were chosen on validation do on test.

A threshold is the lowest confidence of an answer; texts below it get "unsure".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from sentiformer.evaluation.groups import ALL
from sentiformer.evaluation.tables import Results
from sentiformer.training.coverage import COLUMNS, WISHES, coverage_rows, read_coverage, row_for

ABOUT = ["model", "split", "source"]


class Answers(NamedTuple):
    """What a model says of the N texts of test."""

    folder: Path  # of the model
    made_by: str  # the stage that wrote it
    probabilities: np.ndarray  # (N, C)


def coverage_tables(
    models: Mapping[str, Answers], results: Results, sources: list[str]
) -> dict[str, pd.DataFrame]:
    """The tables `coverage` and `thresholds` of models, by their names.

    `coverage` has the share of the texts that a model answers above each confidence, and the share
    of errors among its answers, on validation and test. `thresholds` has the confidence that
    validation gives for each share of errors in `WISHES`, and what it does on test.

    Args:
        models: by name.
        results: they say which class and source each text of test has.
        sources: the names of the sources with texts; `all` stands for all of them.

    Raises:
        UserError: a file of a model is missing or corrupt.
    """
    curves, thresholds = [], []
    for name, answers in models.items():
        known = read_coverage(answers.folder, made_by=answers.made_by)
        curves += [{"model": name, "split": "validation", "source": ALL, **row} for row in known]
        rows_of = {max_errors: row_for(known, max_errors) for max_errors in WISHES}
        wished = {errors: row["min_confidence"] for errors, row in rows_of.items() if row}
        for source in sources:
            chosen = np.full(len(results.actual), source == ALL) | (results.sources == source)
            texts = answers.probabilities[chosen], results.actual[chosen]
            about = {"model": name, "split": "test", "source": source}
            levels = np.array([row["min_confidence"] for row in known])
            curves += [{**about, **row} for row in coverage_rows(*texts, levels)]
            for max_errors, level in wished.items():
                rows = coverage_rows(*texts, np.array([level]))
                thresholds += [{**about, "max_errors": max_errors, **row} for row in rows]
    return {
        "coverage": pd.DataFrame(curves, columns=[*ABOUT, *COLUMNS]),
        "thresholds": pd.DataFrame(thresholds, columns=[*ABOUT, "max_errors", *COLUMNS]),
    }
