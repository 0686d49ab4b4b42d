"""When a model does not answer: the lowest confidence that an answer needs.

The confidence is the probability of the most probable class. `coverage.csv` in the folder of a
model says how often the model was wrong on validation above each confidence.
"""

import math
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from sentiformer.core.errors import UserError
from sentiformer.training.coverage import WISHES, read_coverage, row_for

UNSURE = "unsure"  # the label of a text whose confidence is too low
BAND_SHARE, BAND_TEXTS = 0.1, 50  # of the texts of validation, and how many, at least in a band


class Band(NamedTuple):
    """The texts of validation with a confidence from `low` to below `high`; `wrong` of them were.

    The highest band has 1 as `high`, and includes it.
    """

    low: float
    high: float
    texts: int
    wrong: int


class Thresholds:
    """The lowest confidence for a given share of errors, chosen on validation.

    Raises:
        UserError: the file in the folder, which stage `made_by` wrote, is missing or corrupt.
    """

    def __init__(self, folder: Path, *, made_by: str) -> None:
        self._rows = read_coverage(folder, made_by=made_by)

    def lowest(self, min_confidence: float | None, max_errors: float | None) -> float:
        """The lowest confidence of an answer: as given, or for at most this share of errors.

        It is 0 if neither is given.

        Raises:
            UserError: both are given, a value is not a probability, or validation does not support
                so few errors.
        """
        for name, value in (("min_confidence", min_confidence), ("max_errors", max_errors)):
            if value is not None and not isinstance(value, Real):
                raise UserError(f"{name} is {value!r}; give a number from 0 to 1, such as 0.9")
        if min_confidence is not None and max_errors is not None:
            raise UserError("min_confidence and max_errors are both given; give one of the two")
        if max_errors is not None:
            return self._for_errors(max_errors)
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise UserError(
                f"min_confidence is {min_confidence:g}; give a probability from 0 to 1, such as 0.9"
            )
        return min_confidence or 0.0

    def choices(self) -> dict[float, dict[str, float]]:
        """For each share of errors that validation supports, the row of the lowest confidence.

        Shares that need no threshold are left out.
        """
        rows = {wish: row_for(self._rows, wish) for wish in WISHES}
        return {wish: row for wish, row in rows.items() if row and row["min_confidence"]}

    def bands(self, texts: int) -> list[Band]:
        """How often the model was wrong on validation, by confidence, in rising order.

        Args:
            texts: the number of texts of validation.
        """
        levels = [*(row["min_confidence"] for row in self._rows), 1.0]
        above = [round(row["coverage"] * texts) for row in self._rows] + [0]
        wrong = [round(row["coverage"] * row["errors"] * texts) for row in self._rows] + [0]
        least, bands, start, last = max(BAND_TEXTS, BAND_SHARE * texts), [], 0, len(self._rows)
        for end in range(1, last + 1):
            if end == last or (above[start] - above[end] >= least and above[end] >= least):
                inside = above[start] - above[end], wrong[start] - wrong[end]
                bands.append(Band(levels[start], levels[end], *inside))
                start = end
        return bands

    def _for_errors(self, max_errors: float) -> float:
        if not 0 < max_errors < 1:
            raise UserError(
                f"max_errors is {max_errors:g}; give a share between 0 and 1, such as 0.03"
            )
        if row := row_for(self._rows, max_errors):
            return row["min_confidence"]
        best = min(self._rows, key=lambda row: row["errors_high"])
        raise UserError(
            f"max_errors is {max_errors:g}, but validation supports no less than "
            f"{math.ceil(1e4 * best['errors_high']) / 1e4:g}, for the {100 * best['coverage']:.0f} "
            "% of the texts with the highest confidence; give at least this, or min_confidence"
        )
