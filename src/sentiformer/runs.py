"""The stages that train: a job, run under MLflow's eyes, whose outputs appear whole."""

from pathlib import Path
from typing import TYPE_CHECKING

from sentiformer import tracking
from sentiformer.config import Params, Runtime
from sentiformer.console import is_first, say
from sentiformer.files import whole_folder
from sentiformer.live import live_run
from sentiformer.perplexity import write_no_language_model
from sentiformer.timings import keep_seconds

if TYPE_CHECKING:
    from sentiformer.job import Job


def train(params: Params, runtime: Runtime, *, data: Path, checkpoints: Path) -> None:
    """Train a classifier, or go on where a stopped training stood; write it to `data/model`.

    Raises:
        UserError: an input is missing or corrupt, or the training diverges.
    """
    from sentiformer.job import TrainingJob

    job = TrainingJob(params, runtime, data=data, checkpoints=checkpoints)
    run(job, data / "model")
    tracking.sync(data)
    job.forget()


def pretrain(params: Params, runtime: Runtime, *, data: Path, checkpoints: Path) -> None:
    """Train a masked language model in the same way; write it to `data/pretrained`.

    With 0 epochs there is no model, and its tables are empty.

    Raises:
        UserError: an input is missing or corrupt, or the training diverges.
    """
    output = data / "pretrained"
    if not params.pretrain.epochs:
        if is_first():
            with whole_folder(output) as folder:
                write_no_language_model(folder)
            say(f"pretrain.epochs is 0: no language model → {output}")
        return
    from sentiformer.pretraining import PretrainingJob  # imports torch, which nothing above needs

    job = PretrainingJob(params, runtime, data=data, checkpoints=checkpoints)
    run(job, output)
    tracking.sync_pretraining(data)
    job.forget()


def run(job: "Job", output: Path) -> None:
    """Run a job to its end; of several processes, only the one that leads returns."""
    job.follow()
    with whole_folder(output) as folder:
        with live_run(job.about) as track:
            for event in job.run():
                track(event)
        job.write(folder)
    keep_seconds(job.name, output / "model.safetensors", {job.kind: job.seconds})
    say(f"{job.kind} → {output}")
