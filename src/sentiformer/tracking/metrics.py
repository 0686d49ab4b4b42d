"""MLflow metrics from the events of a training, and from the files that the stages wrote."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.events import EpochEvent, Event, StepEvent
from sentiformer.core.files import read_csv, read_json

if TYPE_CHECKING:
    from mlflow.entities import Metric


def event_metrics(event: Event, stage: str) -> "list[Metric]":
    """The points that an event of a stage (train or pretrain) adds to the curves."""
    if isinstance(event, StepEvent):
        fields = ("loss", "learning_rate", "gradient_norm")
        values = {f"{stage}/{field}": getattr(event, field) for field in fields}
    else:
        validation = "valid/" if stage == "train" else "pretrain/valid_"
        values = {
            "epoch": event.epoch,
            f"{stage}/epoch_loss": event.train_loss,
            f"{validation}loss": event.valid_loss,
            f"{validation}accuracy": event.valid_accuracy,
        }
        if stage == "pretrain":
            values["pretrain/perplexity"] = event.perplexity
    return to_metrics(values, event.step)


def history_metrics(folder: Path, stage: str) -> "list[Metric]":
    """All points of the curves of a training, from its files."""
    metrics: list[Metric] = []
    for name, kind in (("steps.csv", StepEvent), ("history.csv", EpochEvent)):
        for row in read_csv(folder / name, made_by=stage):
            values: dict[str, Any] = {column: float(value) for column, value in row.items()}
            metrics += event_metrics(kind(**{**values, "step": int(row["step"])}), stage)
    return metrics


def test_metrics(evaluation: Path) -> "list[Metric]":
    """The metrics on test: of all texts, of each class, and of each range of lengths."""
    metrics = read_json(evaluation / "metrics.json", made_by="evaluate")
    values = {f"test/{name}": value for name, value in metrics.items()}
    for table, column in (("by_class", "class"), ("by_length", "tokens")):
        rows = read_csv(evaluation / f"{table}.csv", made_by="evaluate")
        names = metric_names([row.pop(column) for row in rows])
        for name, row in zip(names, rows, strict=True):
            values |= {f"test/{table}/{name}/{key}": float(row[key]) for key in row}
    return to_metrics(values, 0)


def metric_names(labels: list[str]) -> list[str]:
    """Make a name from each label that MLflow accepts as part of a metric's; no two are equal.

    MLflow rejects most characters, reads a name as a path, and limits its length.
    """
    names: list[str] = []
    for number, label in enumerate(labels):
        name = re.sub(r"[^\w.\- ]|^\.*$", "_", label)[:100]
        names.append(f"{name}:{number}" if name in names else name)
    return names


def flatten(values: dict[str, dict[str, Any]], separator: str) -> dict[str, Any]:
    """Values of two levels by joined keys: `{"a": {"b": 1}}` becomes `{"a/b": 1}`."""
    return {f"{a}{separator}{b}": value for a in values for b, value in values[a].items()}


def to_metrics(values: dict[str, float], step: int) -> "list[Metric]":
    """Values by name as MLflow metrics of one step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, step) for key, value in values.items()]
