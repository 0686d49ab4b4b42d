"""Run a training: resume it, write its curves, pass its events on, and write the model."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from sentiformer.console.output import say
from sentiformer.console.training import TrainingDisplay
from sentiformer.core.events import Event
from sentiformer.core.files import write_csv, write_json, write_tensors
from sentiformer.core.runtime import Runtime, project_root
from sentiformer.core.seal import seal, sealed_folder
from sentiformer.text.vocab import Vocab
from sentiformer.training.calibration import Validation, calibrate
from sentiformer.training.checkpoint import Checkpoint
from sentiformer.training.coverage import COLUMNS, FILE, confidence_levels, coverage_rows
from sentiformer.training.curves import curve_files
from sentiformer.training.inputs import training_key
from sentiformer.training.loop import Training

Listener: TypeAlias = Callable[[Event], None]
CHECKPOINTS = ".checkpoints"  # the folder in the project
SLOW_WRITE = 4.0  # a checkpoint that takes 1 / SLOW_WRITE seconds or longer is written less often


class Tracker(Protocol):
    """A system that logs trainings, such as MLflow."""

    def live_run(self, about: dict[str, Any]) -> AbstractContextManager[Listener]:
        """Open the run of a training; its listener is called with each event."""

    def sync(self, stage: str, data: Path) -> None:
        """Log the finished files in `data` that a stage has just written."""


@dataclass(frozen=True)
class Setup:
    """A training, and what is written in addition to its weights.

    Attributes:
        about: what `config.json` says: labels, parameters, data, vocabulary, environment, hashes.
        copied: files that become part of the model, by their names in its folder.
        has_curves: whether the curves are in a folder of their own, not in that of the model.
        partner: of an ensemble, what the other model says of validation, (N, C) probabilities.
    """

    about: dict[str, Any]
    training: Training
    vocab: Vocab
    is_language_model: bool = False
    copied: Mapping[str, Path] = field(default_factory=dict)
    has_curves: bool = False
    partner: np.ndarray | None = None


def run_training(setup: Setup, output: Path, runtime: Runtime, *, tracker: Tracker) -> None:
    """Train a model, or resume its stopped training, and write it to `output`, a folder in `data`.

    The curves of the Transformer are in the folder `curves` beside it, complete up to the last
    event. Others are in `output`. Of several processes, only the first returns.

    Raises:
        UserError: the training diverges, or another process writes the same output.
    """
    training, stage = setup.training, setup.training.settings.name
    about = {"stage": stage, **setup.about}
    # Another number of processes may resume the training.
    environment = {**about["environment"], "processes": None}
    resume_key = training_key({**about, "environment": environment})
    checkpoint = Checkpoint(project_root() / CHECKPOINTS, stage, resume_key)
    events = run_with_checkpoints(training, checkpoint, runtime.checkpoint_seconds)
    if not training.group.leads:
        for _ in events:
            pass
        sys.exit(0)
    about = {"training_key": training_key(about), **about}
    with sealed_folder(output) as folder:
        curves = output.with_name("curves") if setup.has_curves else folder
        with curve_files(curves) as write, tracker.live_run(about) as listener:
            for event in events:
                write(event)
                listener(event)
        if setup.has_curves:
            seal(curves)
        write_model(setup, about, folder)
    say(f"model → {output}")
    tracker.sync(stage, output.parent)
    checkpoint.delete()


def run_with_checkpoints(
    training: Training, checkpoint: Checkpoint, seconds: float
) -> Iterator[Event]:
    """Train to the end, from the checkpoint if there is one, and yield all events.

    The events from the checkpoint come first. At least `seconds` pass between two checkpoints; at
    the end a checkpoint is written in any case.
    """
    display = TrainingDisplay(training.settings.name, training.total_epochs)
    if training.total_epochs > training.settings.epochs:
        say(
            f"train has few texts: {training.total_epochs} epochs instead of "
            f"{training.settings.epochs}, so that there are {training.total_steps} steps"
        )
    saved = training.group.from_leader(checkpoint.load() if training.group.leads else None)
    if saved is not None:
        training.restore(*saved)
        before, now = saved[1]["processes"], training.group.size
        display.resumed(training.step, training.total_steps, before, now)
    yield from training.steps
    yield from training.epochs
    written, pause = time.monotonic(), seconds
    with display.shown(training.step, training.total_steps):
        for event in training.run():
            yield event
            display(event, training.device.memory())
            if training.group.leads and time.monotonic() - written > pause:
                begun = time.monotonic()
                checkpoint.save(*training.save())
                checkpoint.prune()
                written = time.monotonic()
                pause = seconds * max(1.0, SLOW_WRITE * (written - begun))
    if training.group.leads:
        checkpoint.save(*training.save())
    training.group.leave()
    display.ended(training.best())


def write_model(setup: Setup, about: dict[str, Any], folder: Path) -> None:
    """Write the weights of the best epoch, `config.json` and the vocabulary.

    A classifier is calibrated on validation, and its coverage there is written; of a language
    model the metrics are written.
    """
    training, best = setup.training, setup.training.best()
    write_tensors(folder / "model.safetensors", training.best_weights())
    setup.vocab.save(folder / "vocab.txt")
    for name, path in setup.copied.items():
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / name)
    results = {"best": asdict(best)}
    if setup.is_language_model:
        metrics = {"perplexity": best.perplexity, "accuracy": best.valid_accuracy}
        write_json(folder / "metrics.json", {name: round(x, 6) for name, x in metrics.items()})
        rows = ({"epoch": e.epoch, "perplexity": e.perplexity} for e in training.epochs)
        write_csv(folder / "perplexity.csv", ["epoch", "perplexity"], rows)
    else:
        found = calibrate(training)
        results["calibration"] = found.calibration.model_dump()
        write_coverage(found, setup.partner, folder)
    write_json(folder / "config.json", {**about, **results})


def write_coverage(found: Validation, partner: np.ndarray | None, folder: Path) -> None:
    """Write the coverage on validation; of an ensemble, that of the mean of both models."""
    probabilities = found.probabilities if partner is None else (found.probabilities + partner) / 2
    rows = coverage_rows(probabilities, found.labels, confidence_levels(probabilities))
    write_csv(folder / FILE, COLUMNS, rows)
