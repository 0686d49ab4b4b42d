"""MLflow metrics from the events of a training, and from the files that the stages wrote."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.events import EpochEvent, Event, StepEvent
from sentiformer.core.files import read_csv, read_json

if TYPE_CHECKING:
    from mlflow.entities import Metric

NETWORKS = {"train": "transformer", "finetune": "finetuned"}  # by stage, the name of its network
OWN_METRICS = {"train": "metrics.json", "finetune": "models/finetuned.json"}  # and its metrics
HEADLINE = ("accuracy", "log_loss", "calibration_error")  # of the model on test
TRANSFORMER_METRICS = ("accuracy_low", "accuracy_high", "log_loss", "calibration_error")


def event_metrics(event: Event, stage: str) -> "list[Metric]":
    """The points that an event of a stage adds to the curves."""
    if isinstance(event, StepEvent):
        fields = ("loss", "learning_rate", "gradient_norm")
        values = {f"{stage}/{field}": getattr(event, field) for field in fields}
    else:
        validation = "pretrain/valid_" if stage == "pretrain" else "valid/"
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


def headline_values(evaluation: Path, stage: str) -> dict[str, float]:
    """The few metrics on test that runs are compared by; all others are in the artifacts.

    These are the metrics of the network of stage train or finetune on the first source, its
    accuracy on each other source, and the accuracy on the first source of each baseline, and of
    the ensemble that the network is in.
    """
    found = read_json(evaluation / OWN_METRICS[stage], made_by="evaluate")
    values = {name: found[name] for name in HEADLINE}
    for row in read_sources(evaluation, stage)[1:]:
        values[f"{row['source']}_accuracy"] = row["accuracy"]
    paths = [*sorted(evaluation.glob("baselines/*.json")), evaluation / "models" / "ensemble.json"]
    for path in paths:
        other = read_json(path, made_by="evaluate")
        if NETWORKS[stage] in other.get("parts", [NETWORKS[stage]]):
            values[f"{path.stem}_accuracy"] = other["accuracy"]
    return {f"test/{name}": float(value) for name, value in values.items()}


def read_sources(evaluation: Path, stage: str) -> list[dict[str, str]]:
    """The metrics of each source of texts; the first is the one that the headline is about.

    `accuracy` is that of the network of the stage. Other metrics than accuracies are known of the
    Transformer alone.
    """
    rows = read_csv(evaluation / "by_source.csv", made_by="evaluate")
    for row in rows if stage == "finetune" else []:
        row["transformer_accuracy"] = row["accuracy"]
        row["accuracy"] = row.pop("finetuned_accuracy")
        for name in TRANSFORMER_METRICS:
            del row[name]
    return [row for row in rows if row["source"] != "all"]


def flatten(values: dict[str, dict[str, Any]], separator: str) -> dict[str, Any]:
    """Values of two levels by joined keys: `{"a": {"b": 1}}` becomes `{"a/b": 1}`."""
    return {f"{a}{separator}{b}": value for a in values for b, value in values[a].items()}


def to_metrics(values: dict[str, float], step: int, **links: str) -> "list[Metric]":
    """Values by name as MLflow metrics of one step, which may be linked to a model and data set."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, step, **links) for key, value in values.items()]
