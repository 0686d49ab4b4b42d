"""The stages that train: a job, run under MLflow's eyes, whose outputs appear whole."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sentiformer import tracking
from sentiformer.checkpoint import Checkpoint
from sentiformer.config import Params, Runtime
from sentiformer.console import is_first, say
from sentiformer.files import whole_folder
from sentiformer.job import Job, PretrainingJob, TrainingJob, write_no_language_model
from sentiformer.timings import keep_seconds


def train(params: Params, runtime: Runtime, *, data: Path, checkpoints: Path) -> None:
    """Train a classifier, or go on where a stopped training stood; write it to `data/model`.

    Students, if there are any, are trained first; stopped later, they only label once more.

    Raises:
        UserError: an input is missing or corrupt, or the training diverges.
    """
    make = partial(TrainingJob, runtime=runtime, data=data, checkpoints=checkpoints)
    students = [_teach_student(make, params, number) for number in range(params.train.students)]
    job = make(params, students=[student.labels for student in students])
    before = {"students": sum(student.seconds for student in students)} if students else {}
    run(job, data / "model", before)
    tracking.sync(data)
    for checkpoint in (*(student.checkpoint for student in students), job.checkpoint):
        checkpoint.delete()


class Student(NamedTuple):
    """What is left of a student: its (N, C) labels, the seconds that it took, its checkpoint."""

    labels: np.ndarray
    seconds: float
    checkpoint: Checkpoint


def _teach_student(make: Callable[[Params], TrainingJob], params: Params, number: int) -> Student:
    say(f"student {number + 1} of {params.train.students}")
    job = make(student_params(params, number))
    return Student(job.label(), job.seconds, job.checkpoint)


def student_params(params: Params, number: int) -> Params:
    """Those of a student: one epoch, a seed of its own, no students before it."""
    seed = params.train.seed * 1000 + number + 1
    own = params.train.model_copy(update={"seed": seed, "epochs": 1, "students": 0})
    return params.model_copy(update={"train": own})


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
    job = PretrainingJob(params, runtime, data=data, checkpoints=checkpoints)
    run(job, output, {})
    tracking.sync_pretraining(data)
    job.checkpoint.delete()


def run(job: Job, output: Path, before: dict[str, float]) -> None:
    """Run a job to its end; of several processes, only the one that leads returns.

    Args:
        job: with its inputs.
        output: the folder that it writes.
        before: the seconds of what was trained for it, by name.
    """
    job.follow()
    with whole_folder(output) as folder:
        with tracking.live_run(job.about) as track:
            for event in job.run():
                track(event)
        job.write(folder)
    keep_seconds(job.name, output / "model.safetensors", {job.kind: job.seconds, **before})
    say(f"{job.kind} → {output}")
