"""The files that say how good a language model is, also where there is none."""

from pathlib import Path

from sentiformer.core.events import STEP_COLUMNS, EpochEvent
from sentiformer.core.files import write_csv, write_json


def write_perplexity(folder: Path, best: EpochEvent, epochs: list[EpochEvent]) -> None:
    """Write `metrics.json`, and `perplexity.csv` with a row for each epoch, which DVC shows."""
    metrics = {"perplexity": best.perplexity, "accuracy": best.valid_accuracy}
    write_json(folder / "metrics.json", {name: round(x, 6) for name, x in metrics.items()})
    rows = ({"epoch": e.epoch, "perplexity": e.perplexity} for e in epochs)
    write_csv(folder / "perplexity.csv", ["epoch", "perplexity"], rows)


def write_no_language_model(folder: Path) -> None:
    """Write the files of a language model, without a model and with empty tables."""
    about = {"stage": "pretrain", "params": {"pretrain": {"epochs": 0}}}
    write_json(folder / "config.json", about)
    write_csv(folder / "steps.csv", STEP_COLUMNS, [])
    write_json(folder / "metrics.json", {})
    write_csv(folder / "perplexity.csv", ["epoch", "perplexity"], [])
