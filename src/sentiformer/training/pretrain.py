"""Stage pretrain: a language model, or empty tables where `pretrain.epochs` is 0."""

from pathlib import Path
from typing import TYPE_CHECKING

from sentiformer.console.output import say
from sentiformer.core.events import STEP_COLUMNS
from sentiformer.core.files import write_csv, write_json
from sentiformer.core.process import is_first
from sentiformer.core.runtime import Precision, Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.model.params import ModelParams
from sentiformer.training.params import PretrainParams

if TYPE_CHECKING:
    from sentiformer.training.run import Tracker


def pretrain(
    model: ModelParams,
    params: PretrainParams,
    precision: Precision,
    runtime: Runtime,
    *,
    output: Path,
    tracker: "Tracker",
) -> None:
    """Train a masked language model, or resume its training, and write it to `output`.

    `output` is in the folder with what earlier stages wrote. With 0 epochs there is no model, and
    the tables are empty.

    Raises:
        UserError: an input is missing or corrupt, or the training diverges.
    """
    if not params.epochs:
        if is_first():
            with sealed_folder(output) as folder:
                write_no_language_model(folder)
            say(f"pretrain.epochs is 0: no language model → {output}")
        return
    # These import torch.
    from sentiformer.training.language_modeling import set_up_language_model
    from sentiformer.training.run import run_training

    setup = set_up_language_model(model, params.epochs, precision, runtime, data=output.parent)
    run_training(setup, output, runtime, tracker=tracker)


def write_no_language_model(folder: Path) -> None:
    """Write the files of a language model, without a model and with empty tables."""
    about = {"stage": "pretrain", "params": {"pretrain": {"epochs": 0}}}
    write_json(folder / "config.json", about)
    write_csv(folder / "steps.csv", STEP_COLUMNS, [])
    write_json(folder / "metrics.json", {})
    write_csv(folder / "perplexity.csv", ["epoch", "perplexity"], [])
