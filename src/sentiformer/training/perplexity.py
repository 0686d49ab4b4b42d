"""How good a language model is, for DVC to show; and what there is where there is none."""

from collections.abc import Sequence
from pathlib import Path

from sentiformer.core.events import STEP_COLUMNS
from sentiformer.core.files import write_csv, write_json


def write_perplexity(
    folder: Path, metrics: dict[str, float], epochs: Sequence[tuple[int, float]]
) -> None:
    """Write `metrics.json`, and `perplexity.csv` with a row an epoch, for DVC to show."""
    write_json(folder / "metrics.json", {name: round(of, 6) for name, of in metrics.items()})
    rows = ({"epoch": epoch, "perplexity": perplexity} for epoch, perplexity in epochs)
    write_csv(folder / "perplexity.csv", ["epoch", "perplexity"], rows)


def write_no_language_model(folder: Path) -> None:
    """Write what stage pretrain leaves when it is switched off: the same tables, empty."""
    about = {"stage": "pretrain", "params": {"pretrain": {"epochs": 0}}}
    write_json(folder / "config.json", about)
    write_csv(folder / "steps.csv", STEP_COLUMNS, [])
    write_perplexity(folder, {}, [])
