"""CUDA graphs with a fake GPU: which steps are recorded, and the results of a repetition."""

import gc
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from sentiformer.training.batching import Batch
from sentiformer.training.cuda_graphs import RecordedStep


class Graph:
    """Records what is computed between its two calls; a replay computes it again, in place."""

    made: ClassVar[list["Graph"]] = []

    def capture_begin(self, pool, capture_error_mode):
        assert pool == "the pool"
        assert not gc.isenabled(), "nothing may be freed meanwhile"
        Graph.made.append(self)

    def capture_end(self):
        pass

    def replay(self):
        for target, result in zip(self.results, self.compute(), strict=True):
            target.copy_(result)


class Step:
    """A step whose loss and norm are sums over the batch."""

    device = SimpleNamespace(device=torch.device("cpu"))
    optimizers = SimpleNamespace(zero_grad=lambda: None)

    def __init__(self):
        self.parts, self.usual = 1, 0

    def __call__(self, batch, seed):
        self.usual += 1
        return sums(batch)

    def on_device(self, batch):
        graph = Graph.made[-1]
        graph.compute = lambda: sums(batch)
        graph.results = tuple(torch.full_like(result, -1.0) for result in sums(batch))
        return graph.results


def sums(batch):
    padding = 0.0 if batch.padding_mask is None else batch.padding_mask.sum().double()
    return batch.token_ids.sum().double(), padding + batch.labels.sum().double()


@pytest.fixture
def step(monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "the pool")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    Graph.made = []
    return Step()


@pytest.fixture
def recorded(step):
    return RecordedStep(step)


def batch_of(number, length=4, padded=True):
    token_ids = torch.full((3, length), number)
    padding_mask = torch.arange(length).expand(3, -1) >= 3 if padded else None
    return Batch(token_ids, padding_mask, torch.full((3,), 10 * number), np.arange(3))


def numbers(results):
    return [result.item() for result in results]


def test_the_first_batch_of_a_shape_is_computed_as_usual_and_the_second_recorded(recorded, step):
    assert numbers(recorded(batch_of(1), 0)) == [12, 33]
    assert (step.usual, len(Graph.made)) == (1, 0)
    assert numbers(recorded(batch_of(2), 0)) == [24, 63]
    assert gc.isenabled()
    assert numbers(recorded(batch_of(3), 0)) == [36, 93]
    assert (step.usual, len(Graph.made)) == (1, 1)


def test_each_shape_has_its_own_recording(recorded):
    shapes = [(4, True), (4, False), (8, True)]
    for length, padded in shapes * 3:
        recorded(batch_of(1, length, padded), 0)
    assert len(Graph.made) == len(shapes)
    assert numbers(recorded(batch_of(2, 4, False), 0)) == [24, 60]


def test_the_next_repetition_does_not_overwrite_results(recorded):
    recorded(batch_of(1), 0)
    first = recorded(batch_of(1), 0)
    recorded(batch_of(5), 0)
    assert numbers(first) == [12, 33]


def test_without_memory_for_recordings_all_steps_are_computed_as_usual(recorded, step, monkeypatch):
    def fails(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    recorded(batch_of(1), 0)
    monkeypatch.setattr(step, "on_device", fails)
    for number in (2, 3):
        assert numbers(recorded(batch_of(number), 0)) == [12 * number, 30 * number + 3]
    assert gc.isenabled()
    assert step.usual == 3
    assert len(Graph.made) == 1, "it does not try again"


def test_another_error_is_not_hidden(recorded, step, monkeypatch):
    def fails(batch):
        raise RuntimeError("shapes do not match")

    recorded(batch_of(1), 0)
    monkeypatch.setattr(step, "on_device", fails)
    with pytest.raises(RuntimeError, match="shapes"):
        recorded(batch_of(2), 0)


def test_a_batch_in_parts_is_not_recorded(recorded, step):
    step.parts = 2
    for _ in range(3):
        recorded(batch_of(1), 0)
    assert (step.usual, len(Graph.made)) == (3, 0)
