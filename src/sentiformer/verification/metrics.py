"""Whether the accuracies in `metrics.json` are those of the predictions on test."""

from collections.abc import Iterator
from pathlib import Path

from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading
from sentiformer.verification.consistency import Contradiction

PREDICTIONS = "data/evaluation/predictions.parquet"
ROUNDING = 1e-6  # of metrics.json


def read_metrics(project: Path) -> dict[str, float]:
    """Read `metrics.json`.

    Raises:
        UserError: it is missing, or has something else than numbers.
    """
    found = dict(read_json(project / "metrics.json", made_by="evaluate"))
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"metrics.json: {name} is no number; `dvc repro evaluate` writes it")
    return found


def differing_metrics(project: Path) -> Iterator[Contradiction]:
    """The accuracies that the predictions, if they are there, do not give.

    Raises:
        UserError: a file is missing or corrupt.
    """
    import pandas as pd

    metrics, path = read_metrics(project), project / PREDICTIONS
    if not path.exists():
        return
    with reading(path, "evaluate", KeyError):
        table = pd.read_parquet(path)
        others = {f"{source}_accuracy" for source in table["source"].unique()} & metrics.keys()
        sources = table["source"] + "_accuracy"
        headline = table[~sources.isin(others)]
        is_right = {"accuracy": headline["predicted"] == headline["actual"]}
        for name in others:
            rows = table[sources == name]
            is_right[name] = rows["predicted"] == rows["actual"]
        for column in [name for name in table if name.endswith("_predicted")]:
            name = column.replace("_predicted", "_accuracy")
            is_right[name] = headline[column] == headline["actual"]
    for name, right in is_right.items():
        if name in metrics and abs(metrics[name] - right.mean()) > ROUNDING:
            what = (
                f"metrics.json: {name} is {metrics[name]}, the predictions give {right.mean():.6f}"
            )
            yield Contradiction("evaluate", what)
