"""The stages that train: a job whose events somebody follows, and whose outputs appear whole."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sentiformer.console import say
from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.core.files import whole_folder
from sentiformer.core.process import is_first
from sentiformer.core.runtime import Runtime
from sentiformer.model.params import ModelParams
from sentiformer.training.params import PretrainParams, TrainParams
from sentiformer.training.perplexity import write_no_language_model

if TYPE_CHECKING:
    from sentiformer.training.job import Job

Listener: TypeAlias = Callable[[StepEvent | EpochEvent], None]


class Tracker(Protocol):
    """Who is told of a training."""

    def live_run(self, about: dict[str, Any]) -> AbstractContextManager[Listener]:
        """What to call with the events of a training of which `config.json` says `about`."""

    def sync(self, data: Path) -> bool:
        """Look at the files of `data`, which are now whole."""

    def sync_pretraining(self, data: Path) -> None:
        """Do the same after a language model was trained."""


def train(
    model: ModelParams,
    params: TrainParams,
    runtime: Runtime,
    *,
    data: Path,
    checkpoints: Path,
    tracker: Tracker,
) -> None:
    """Train a classifier, or resume a stopped training; write it to `data/model`.

    Raises:
        UserError: an input is missing or corrupt, or the training diverges.
    """
    from sentiformer.training.job import TrainingJob

    job = TrainingJob(model, params, runtime, data=data, checkpoints=checkpoints)
    run(job, data / "model", tracker)
    tracker.sync(data)
    job.forget()


def pretrain(
    model: ModelParams,
    params: PretrainParams,
    runtime: Runtime,
    *,
    data: Path,
    checkpoints: Path,
    tracker: Tracker,
) -> None:
    """Train a masked language model in the same way; write it to `data/pretrained`.

    With 0 epochs there is no model, and its tables are empty.

    Raises:
        UserError: an input is missing or corrupt, or the training diverges.
    """
    output = data / "pretrained"
    if not params.epochs:
        if is_first():
            with whole_folder(output) as folder:
                write_no_language_model(folder)
            say(f"pretrain.epochs is 0: no language model → {output}")
        return
    from sentiformer.training.pretraining import PretrainingJob  # imports torch

    job = PretrainingJob(model, params, runtime, data=data, checkpoints=checkpoints)
    run(job, output, tracker)
    tracker.sync_pretraining(data)
    job.forget()


def run(job: "Job", output: Path, tracker: Tracker) -> None:
    """Run a job to its end; of several processes, only the first returns."""
    job.follow()
    with whole_folder(output) as folder:
        with tracker.live_run(job.about) as listener:
            for event in job.run():
                listener(event)
        job.write(folder)
    say(f"{job.kind} → {output}")
