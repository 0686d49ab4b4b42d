"""Comparison of the rebuilt metrics with the committed ones."""

import json
import math
from contextlib import suppress
from pathlib import Path

from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json


def verify(rebuilt: Path, expected: Path) -> str:
    """Compare rebuilt metrics with committed ones; returns a line that says that they agree.

    Raises:
        UserError: a metric differs from the expected value by more than its tolerance.
    """
    metrics = read_json(rebuilt, made_by="evaluate")
    stated = _read_expected(expected)
    found = {name: metrics.get(name, math.nan) for name in stated}
    for name, value in found.items():
        if not isinstance(value, int | float):
            raise corrupt(rebuilt, "evaluate", f"its {name} is {value!r}, no number")
    differences = [
        f"{name} is {found[name]}, expected {value} ± {tolerance}"
        for name, (value, tolerance) in stated.items()
        if not round(abs(found[name] - value), 9) <= tolerance  # this is true of NaN
    ]
    if differences:
        raise UserError(f"{rebuilt}: {'; '.join(differences)}")
    values = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    return f"verified: {values}, within the tolerance of {expected}"


def _read_expected(path: Path) -> dict[str, tuple[float, float]]:
    """The committed metrics by name: value and tolerance."""
    found: dict[str, tuple[float, float]] = {}
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        stated = json.loads(path.read_text(encoding="utf-8"))
        tolerance = stated["tolerance"]
        found = {
            name: (float(value), float(tolerance[name]))
            for name, value in stated["metrics"].items()
        }
    if not found:
        raise UserError(
            f"{path} holds no expected metrics; it is committed, so `git checkout -- {path}` "
            "restores it"
        )
    return found
