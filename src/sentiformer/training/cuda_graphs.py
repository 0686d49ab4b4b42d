"""CUDA graphs: a GPU records a training step once, and then repeats the recording.

A CPU needs longer to launch the hundreds of kernels of a small step than a GPU needs to compute
them. A graph is launched at once. Its results are bit-identical, since the same kernels run in the
same order.
"""

import gc
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from sentiformer.core.errors import is_out_of_memory
from sentiformer.training.batching import Batch
from sentiformer.training.step import Results, Step


class Recording(NamedTuple):
    """A graph, the batch that it reads, and the tensors that it writes."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    results: Results


class RecordedStep:
    """A step that is recorded once for each shape of batch, and then repeated.

    The first batch of a shape is computed as usual: CUDA chooses and loads kernels then, which it
    cannot do while it records. The recordings share their memory, because only one is
    repeated at a time. If memory runs out, the recordings are deleted, and all steps are computed
    as usual.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._recordings: dict[object, Recording | None] | None = {}  # by shape
        self._pool = torch.cuda.graph_pool_handle()
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")

    def __call__(self, batch: Batch, seed: int) -> Results:
        """Update the weights once; see `Step`."""
        results = None
        if self._recordings is not None and self._step.parts == 1:
            torch.manual_seed(seed)
            try:
                results = self._repeat(batch, self._recordings)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._give_up()
        if results is None:
            results = self._step(batch, seed)
            if self._step.parts > 1:
                self._give_up()
        return results

    def _repeat(self, batch: Batch, recordings: dict[object, Recording | None]) -> Results | None:
        """The results for a batch in the CPU's memory; None for the first batch of its shape."""
        shapes = tuple(None if value is None else tuple(value.shape) for value in batch)
        if shapes not in recordings:
            recordings[shapes] = None
            return None
        recording = recordings[shapes]
        if recording is None:
            recording = recordings[shapes] = self._record(batch)
        else:
            for target, value in zip(recording.batch, batch, strict=True):
                if isinstance(target, Tensor) and isinstance(value, Tensor):
                    target.copy_(value.pin_memory(), non_blocking=True)
        recording.graph.replay()
        loss, norm = recording.results
        return loss.clone(), norm.clone()  # the next repetition overwrites the originals

    def _record(self, batch: Batch) -> Recording:
        batch = batch.to(self._step.device.device)
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        gc.disable()  # no other graph may be freed while this one is recorded
        # Other threads prepare batches meanwhile; their calls must not disturb the recording.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            results = self._step.on_device(batch)
        finally:
            graph.capture_end()
            gc.enable()
        return Recording(graph, batch, results)

    def _give_up(self) -> None:
        """Free the memory of all recordings."""
        self._step.optimizers.zero_grad()  # the last gradients are in that memory
        self._recordings = None
        torch.cuda.empty_cache()
