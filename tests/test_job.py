"""A training in several parts: its time is that of all, and nothing of them is left over."""

import pytest
from conftest import RUNTIME, tiny_params

from sentiformer.checkpoint import Checkpoint
from sentiformer.job import TrainingJob


@pytest.fixture
def job(data, tmp_path):
    def make():
        return TrainingJob(tiny_params(), RUNTIME, data=data, checkpoints=tmp_path)

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
