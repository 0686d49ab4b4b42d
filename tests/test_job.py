"""A training in several parts: its time is that of all, and nothing of them is left over."""

import errno
import hashlib
import json
import multiprocessing
import os
from types import SimpleNamespace

import pytest
import torch
from conftest import RUNTIME, tiny_params, training_job
from torch._dynamo.exc import BackendCompilerFailed, TorchRuntimeError
from torch._inductor.exc import InductorError

from sentiformer.core.device import compiling
from sentiformer.core.errors import UserError
from sentiformer.core.process import start_worker
from sentiformer.training.checkpoint import Checkpoint
from sentiformer.training.params import TrainParams
from sentiformer.training.stepper import Stepper


@pytest.fixture
def job(data, tmp_path):
    def make():
        return training_job(tiny_params(), RUNTIME, data=data, checkpoints=tmp_path)

    return make


def test_the_time_before_a_stop_counts_and_the_stop_does_not(job, tmp_path):
    events = job().run()
    for _ in range(2):  # a checkpoint is written when the next event is asked for
        next(events)
    events.close()
    (path,) = tmp_path.iterdir()
    checkpoint = Checkpoint(tmp_path, path.stem)
    tensors, state = checkpoint.load()
    assert 0 < state["seconds"] < 60
    checkpoint.save(tensors, {**state, "seconds": 1000.0})
    second = job()
    list(second.run())
    assert 1000 < second.seconds < 1060


def test_a_training_that_ended_leaves_nothing_not_even_of_a_kill(job, tmp_path):
    finished = job()
    list(finished.run())
    (path,) = tmp_path.iterdir()
    partial = path.with_suffix(".partial-1")  # killed in the middle of a checkpoint
    partial.mkdir()
    (partial / ".tmp1").touch()
    (tmp_path / "another.safetensors").touch()
    finished.forget()
    assert [path.name for path in tmp_path.iterdir()] == ["another.safetensors"]


@pytest.fixture(scope="module")
def soup(data):
    """Makes the job of a soup of three, with some threads, and a folder for its checkpoints."""

    def make(folder, threads):
        runtime = RUNTIME.model_copy(update={"threads": threads})
        return training_job(tiny_params(train={"soup": 3}), runtime, data=data, checkpoints=folder)

    return make


@pytest.fixture(scope="module")
def one_after_another(soup, tmp_path_factory):
    """What one thread makes of the soup: the folder of its files, and the events."""
    folder = tmp_path_factory.mktemp("one-after-another")
    job = soup(folder, threads=1)
    events = list(job.run())
    job.forget()
    job.write(folder)
    return folder, events


def assert_same_files(job, folder, expected):
    """But for what `config.json` says of the threads."""
    folder.mkdir()
    job.write(folder)
    for path in expected.glob("[!c]*"):
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    best = [json.loads((of / "config.json").read_text())["best"] for of in (folder, expected)]
    assert best[0] == best[1]


def test_a_soup_tells_what_happened_in_all_its_trainings(one_after_another):
    folder, events = one_after_another
    history, steps = ((folder / of).read_text().splitlines() for of in ("history.csv", "steps.csv"))
    assert [row.split(",")[0] for row in history] == ["epoch", *"123456"]
    assert len(history) - 1 + len(steps) - 1 == len(events)


@pytest.mark.parametrize("stop_after", [1, 5, 6, 9])
def test_a_soup_stopped_anywhere_ends_in_the_same_bits(
    soup, one_after_another, tmp_path, stop_after, monkeypatch
):
    monkeypatch.delattr("sentiformer.training.job.start_worker")  # which one thread has no use for
    events = soup(tmp_path, threads=1).run()
    for _ in range(stop_after):
        next(events)
    events.close()
    job = soup(tmp_path, threads=1)
    list(job.run())
    assert_same_files(job, tmp_path / "model", one_after_another[0])


@pytest.fixture
def steps_here(monkeypatch):
    """The numbers of the steps that this process makes."""
    made, step = [], Stepper.step

    def counted(stepper, batch, number, rate):
        made.append(number)
        return step(stepper, batch, number, rate)

    monkeypatch.setattr(Stepper, "step", counted)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("threads", [2, 3])
def test_side_by_side_the_trainings_of_a_soup_have_the_same_bits(
    soup, one_after_another, tmp_path, steps_here, threads
):
    job = soup(tmp_path / "checkpoints", threads=threads)
    list(job.run())
    assert_same_files(job, tmp_path / "model", one_after_another[0])
    assert steps_here == list(range(job.training.total_steps)), "others made the others"
    assert len(list((tmp_path / "checkpoints").iterdir())) == 3
    job.forget()
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_training_that_is_killed_beside_others_is_said_and_made_good(
    soup, one_after_another, tmp_path, monkeypatch, steps_here, capsys
):
    def killed(*task):
        process = start_worker(*task)
        process.kill()
        return process

    monkeypatch.setattr("sentiformer.training.job.start_worker", killed)
    job = soup(tmp_path, threads=2)
    list(job.run())
    assert_same_files(job, tmp_path / "model", one_after_another[0])
    assert len(steps_here) == 3 * job.training.total_steps
    assert "training 3 was lost beside the others; it goes on here" in capsys.readouterr().out


def test_a_training_left_ready_beside_one_that_was_stopped_is_not_judged_without_the_mean(
    soup, one_after_another, tmp_path
):
    for number in (1, 2):
        for _ in range(2):  # the second finds all steps done
            job = soup(tmp_path, threads=1)
            job.aside(number, job._checkpoints[number])
            assert len(job.training.epochs) == tiny_params().train.epochs - 1
    job = soup(tmp_path, threads=1)
    list(job.run())
    assert_same_files(job, tmp_path / "model", one_after_another[0])


@pytest.mark.parametrize(("threads", "expected"), [(1, 3010), (2, 2010), (3, 2000)])
def test_the_time_of_a_soup_is_that_of_its_longest_lane(
    soup, tmp_path, monkeypatch, threads, expected
):
    for number, seconds in enumerate((10.0, 1000.0, 2000.0)):
        job = soup(tmp_path, threads=threads)
        job.aside(number, checkpoint := job._checkpoints[number])
        tensors, state = checkpoint.load()
        checkpoint.save(tensors, {**state, "seconds": seconds})
    ended = SimpleNamespace(join=lambda: None, kill=lambda: None, exitcode=0)
    monkeypatch.setattr("sentiformer.training.job.start_worker", lambda *_: ended)
    job = soup(tmp_path, threads=threads)
    list(job.run())
    assert expected <= job.seconds < expected + 9


TRAIN_CHANGES = {
    "seed": 2,
    "epochs": 1,
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 0.003,
    "weight_decay": 0.5,
    "schedule": "cosine",
    "warmup_fraction": 0.5,
    "clip_norm": 0.01,
    "word_dropout": 0.5,
    "class_weights": "balanced",
    "soup": 2,
    "precision": "bf16",
}


def test_every_parameter_of_training_changes_the_weights(data, tmp_path, monkeypatch):
    monkeypatch.setattr("sentiformer.training.job.balanced", lambda _: torch.tensor([0.5, 1.5]))
    assert TRAIN_CHANGES.keys() | {"patience"} == TrainParams.model_fields.keys()
    digests = {}
    for key, value in {"": None, **TRAIN_CHANGES}.items():
        changes = {key: value} if key else {}
        params = tiny_params(train=changes)
        assert not key or getattr(tiny_params().train, key) != value
        job = training_job(params, RUNTIME, data=data, checkpoints=tmp_path)
        list(job.run())
        weights = job.training.best_weights()
        digests[key] = hashlib.sha256(weights["classifier.weight"].numpy().tobytes()).hexdigest()
    assert len(set(digests.values())) == len(digests), digests


@pytest.mark.slow
def test_no_training_goes_on_beside_one_that_is_stopped(soup, tmp_path):
    events = soup(tmp_path, threads=2).run()
    next(events)
    beside = multiprocessing.active_children()
    assert len(beside) == 1, "there is a thread for one"
    events.close()
    assert not any(process.is_alive() for process in beside)


def fails(error):
    with compiling():
        raise error


def test_where_torch_cannot_compile_it_is_one_line_and_other_errors_stay_what_they_are():
    cause = RuntimeError("no g++\nand more")
    for error in (InductorError(cause, None), BackendCompilerFailed("inductor", cause, None)):
        with pytest.raises(
            UserError, match=r"torch cannot compile here \(no g\+\+\); ins"
        ) as caught:
            fails(error)
        assert "\n" not in str(caught.value)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for other in (RuntimeError("a"), TorchRuntimeError("a"), InductorError(full, None)):
        with pytest.raises(type(other)) as kept:
            fails(other)
        assert kept.value is other


def test_a_damaged_checkpoint_is_said_and_the_training_begins_anew(job, tmp_path, capsys):
    list((finished := job()).run())
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    list((again := job()).run())
    assert f"{path} cannot be read (" in capsys.readouterr().out
    assert again.steps == finished.steps
