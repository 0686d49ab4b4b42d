"""Steps: how a batch moves the weights, whatever of it the memory takes at a time.

A step is the same, but for rounding, however its batch is shared out: over the processes of a
group, and within each over parts whose gradients add up, as many as its memory asks for.
"""

import torch
from torch import Tensor

from sentiformer.console import say
from sentiformer.core.device import Device
from sentiformer.core.errors import is_out_of_memory
from sentiformer.model.dropout import part_of_batch
from sentiformer.model.encoder import EncoderLayer
from sentiformer.training.batching import Batch
from sentiformer.training.cuda_graphs import Recorder
from sentiformer.training.distributed import Group
from sentiformer.training.objectives import Objective
from sentiformer.training.optimizers import clip_gradients, make_optimizer, set_learning_rate
from sentiformer.training.params import FitParams


class Stepper:
    """Moves the weights of a model by one batch after another.

    Args:
        objective: the model with its first weights, and what to fit them to.
        params: how to fit them.
        device: where, and in what precision.
        group: the processes that train together.
        compile: whether to compile the layers by `torch.compile`.

    Attributes:
        optimizer: of the weights.
        parts: in how many this process computes its share of a batch.
        recorder: repeats steps on a GPU; None where there is none, or no memory for it.
    """

    def __init__(
        self,
        objective: Objective,
        params: FitParams,
        *,
        device: Device,
        group: Group,
        compile: bool = False,
    ) -> None:
        self.model = objective.model.to(device.device)
        if compile:  # one layer, of which all others are copies
            for module in self.model.modules():
                if isinstance(module, EncoderLayer):
                    module.compile(dynamic=True)
        self.objective, self.params = objective, params
        self.device, self.group = device, group
        self.parts = 1
        self.optimizer = make_optimizer(self.model, params)
        self.recorder: Recorder | None = None
        if device.device.type == "cuda" and group.size == 1:
            self.recorder = Recorder(self._compute, device.device)

    def step(self, batch: Batch, number: int, rate: float) -> tuple[Tensor, Tensor]:
        """Move the weights once, at a learning rate; the step's number seeds its dropout.

        Returns:
            This process's share of the loss, and the gradient norm; both still on the device.
        """
        self._seed = self.params.seed * 1_000_003 + number
        self.model.train()
        set_learning_rate(self.optimizer, rate)
        results = self._replayed(batch)
        if results is None:
            results = self._gradients(batch), self._move()
        return results

    def _replayed(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """The step as a GPU repeats it from a recording; None where it has none."""
        if self.recorder is None or self.parts > 1:
            return None
        torch.manual_seed(self._seed)
        try:
            return self.recorder.replay(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._stop_recording()
            return None

    def _compute(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a GPU does in a step on a batch that is there, the seed apart."""
        self.optimizer.zero_grad(set_to_none=True)
        own = self.group.share(len(batch.rows))
        with self.device.autocast(), part_of_batch(own, len(batch.rows)):
            loss = self.objective.loss(batch, batch)
        loss.backward()
        return loss.detach(), self._move()

    def _move(self) -> Tensor:
        """Move the weights by their gradients; returns the norm of these."""
        self.group.sum_gradients(self.model.parameters())
        norm = clip_gradients(self.model.parameters(), self.params.clip_norm)
        self.optimizer.step()
        return norm

    def _gradients(self, batch: Batch) -> Tensor:
        """Gradients of this process's share of a batch, in more parts when memory is short."""
        own = self.group.share(len(batch.rows))
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                losses = [self._backward(batch, rows) for rows in cut(own, self.parts)]
                return torch.stack(losses).sum()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.recorder is not None:
                    self._stop_recording()
                    continue
                if self.parts >= len(range(len(batch.rows))[own]):
                    raise
            self.parts *= 2
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()  # does nothing on a CPU
            say(f"a batch does not fit into memory; from here on in {self.parts} parts")

    def _stop_recording(self) -> None:
        """Give the memory of recordings back."""
        self.optimizer.zero_grad(set_to_none=True)  # whose last ones lie there
        self.recorder = None
        torch.cuda.empty_cache()

    def _backward(self, batch: Batch, rows: slice) -> Tensor:
        """Add the gradients of some texts of a batch; returns their share of the batch's loss."""
        part = batch.take(rows).to(self.device.device)
        if not len(part.rows):
            return torch.zeros((), device=self.device.device)
        torch.manual_seed(self._seed)
        with self.device.autocast(), part_of_batch(rows, len(batch.rows)):
            loss = self.objective.loss(part, batch)
        loss.backward()
        return loss.detach()


def cut(rows: slice, parts: int) -> list[slice]:
    """A slice's rows in several slices, in order."""
    step = rows.step
    size = -(-len(range(rows.stop)[rows]) // parts)
    starts = [rows.start + number * size * step for number in range(parts)]
    return [slice(start, min(start + size * step, rows.stop), step) for start in starts]
