"""Recorded steps, on a stand-in for a GPU: what is recorded when, and what a replay gives."""

import gc
from typing import ClassVar

import numpy as np
import pytest
import torch

from sentiformer.training.batching import Batch
from sentiformer.training.cuda_graphs import Recorder


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
        for place, result in zip(self.results, self.compute(), strict=True):
            place.copy_(result)


def compute(batch):
    """A loss and a norm of a batch; what its graph is to compute when replayed."""

    def again():
        padding = 0.0 if batch.padding_mask is None else batch.padding_mask.sum().double()
        return batch.token_ids.sum().double(), padding + batch.labels.sum().double()

    graph = Graph.made[-1]
    graph.compute, graph.results = again, tuple(torch.full_like(of, -1.0) for of in again())
    return graph.results


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "the pool")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    Graph.made = []
    return Recorder(compute, torch.device("cpu"))


def batch_of(number, length=4, padded=True):
    token_ids = torch.full((3, length), number)
    padding_mask = torch.arange(length).expand(3, -1) >= 3 if padded else None
    return Batch(token_ids, padding_mask, torch.full((3,), 10 * number), np.arange(3))


def test_the_first_of_a_shape_is_left_to_the_caller_and_the_second_recorded(recorder):
    assert recorder.replay(batch_of(1)) is None
    assert not Graph.made
    assert [of.item() for of in recorder.replay(batch_of(2))] == [24, 63]
    assert gc.isenabled()
    assert [of.item() for of in recorder.replay(batch_of(3))] == [36, 93]
    assert len(Graph.made) == 1


def test_each_shape_has_a_recording_of_its_own(recorder):
    shapes = [(4, True), (4, False), (8, True)]
    for length, padded in shapes * 3:
        recorder.replay(batch_of(1, length, padded))
    assert len(Graph.made) == len(shapes)
    assert [of.item() for of in recorder.replay(batch_of(2, 4, False))] == [24, 60]


def test_results_outlive_the_next_replay(recorder):
    recorder.replay(batch_of(1))
    first = recorder.replay(batch_of(1))
    recorder.replay(batch_of(5))
    assert [of.item() for of in first] == [12, 33]


def test_the_garbage_collector_is_back_after_a_failure(recorder, monkeypatch):
    def fails(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    recorder.replay(batch_of(1))
    monkeypatch.setattr(recorder, "_compute", fails)
    with pytest.raises(torch.OutOfMemoryError):
        recorder.replay(batch_of(1))
    assert gc.isenabled()
