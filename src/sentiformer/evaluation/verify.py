"""Comparison of the rebuilt metrics with the committed ones."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json


class Expected(BaseModel):
    """The committed file: a value and a tolerance of each metric."""

    metrics: Annotated[dict[str, float], Field(min_length=1)]
    tolerance: dict[str, float]


def verify(rebuilt: Path, expected: Path) -> str:
    """Compare rebuilt metrics with committed ones; returns a line that says that they agree.

    Raises:
        UserError: a metric differs from the expected value by more than its tolerance, or a file
            is missing or corrupt.
    """
    metrics = read_json(rebuilt, made_by="evaluate")
    try:
        stated = Expected.model_validate_json(expected.read_bytes())
        tolerances = {name: stated.tolerance[name] for name in stated.metrics}
    except (OSError, ValueError, KeyError):
        raise UserError(
            f"{expected} holds no expected metrics; it is committed, so "
            f"`git checkout -- {expected}` restores it"
        ) from None
    differences = [
        f"{name} is {metrics[name]}, expected {value} ± {tolerances[name]}"
        for name, value in stated.metrics.items()
        if not round(abs(metrics[name] - value), 9) <= tolerances[name]  # this is true of NaN
    ]
    if differences:
        raise UserError(f"{rebuilt}: {'; '.join(differences)}")
    values = ", ".join(f"{name} {metrics[name]:.4f}" for name in stated.metrics)
    return f"verified: {values}, within the tolerance of {expected}"
