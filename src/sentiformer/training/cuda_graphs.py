"""Recorded steps: a GPU repeats hundreds of kernels by one launch (CUDA graphs).

A small step takes a CPU longer to launch, kernel by kernel, than a GPU to compute. The results
have the same bits, as the same kernels run in the same order.
"""

import gc
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sentiformer.training.batching import Batch

Results = tuple[Tensor, Tensor]


class Recording(NamedTuple):
    """A graph, the batch that it reads, and the tensors that it writes."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    results: Results


class Recorder:
    """Records a function of a batch once for each shape of batch, and replays it.

    The first batch of a shape is left to the caller, to be computed as usual: kernels are chosen,
    compiled and loaded then, which a recording cannot. All recordings share their memory, as only
    one is replayed at a time.

    Args:
        compute: of a batch on the device; may neither wait for the device nor ask it.
        device: the GPU.
    """

    def __init__(self, compute: Callable[[Batch], Results], device: torch.device) -> None:
        self._compute, self._device = compute, device
        self._recordings: dict[object, Recording | None] = {}  # by shape
        self._pool = torch.cuda.graph_pool_handle()
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")

    def replay(self, batch: Batch) -> Results | None:
        """The results for a batch of the CPU; None for the first of its shape."""
        shapes = batch.shapes
        if shapes not in self._recordings:
            self._recordings[shapes] = None
            return None
        recording = self._recordings[shapes]
        if recording is None:
            recording = self._recordings[shapes] = self._record(batch.to(self._device))
        else:
            for place, tensor in zip(recording.batch.tensors, batch.tensors, strict=True):
                place.copy_(tensor.pin_memory(), non_blocking=True)
        recording.graph.replay()
        loss, norm = recording.results
        return loss.clone(), norm.clone()  # which the next replay will not overwrite

    def _record(self, batch: Batch) -> Recording:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        gc.disable()  # to free another graph now would break this one
        # Other threads, which make batches, are none of its business.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            results = self._compute(batch)
        finally:
            graph.capture_end()
            gc.enable()
        return Recording(graph, batch, results)
