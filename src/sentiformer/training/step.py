"""One training step: loss, backward, optimizer step.

A step gives the same result, except for rounding, however its batch is divided: over the processes
of a group, and in each process, if memory is short, over micro-batches with added gradients.
"""

import torch
from torch import Tensor

from sentiformer.console.output import say
from sentiformer.core.device import Device
from sentiformer.core.errors import is_out_of_memory
from sentiformer.model.dropout import part_of_batch
from sentiformer.training.batching import Batch
from sentiformer.training.distributed import Group
from sentiformer.training.losses import Loss
from sentiformer.training.optimizers import Optimizers, clip_gradients

Results = tuple[Tensor, Tensor]  # loss of this process's share, norm of the gradient


class Step:
    """Updates the weights of a model, which is on the device, by one batch.

    Args:
        micro_tokens: the number of tokens, with padding, that a micro-batch has at most; 0: any.

    Attributes:
        parts: the number of micro-batches into which this process divides its share of a batch, at
            least.
    """

    def __init__(
        self,
        loss: Loss,
        optimizers: Optimizers,
        device: Device,
        group: Group,
        micro_tokens: int = 0,
    ) -> None:
        self.loss, self.optimizers, self.device, self.group = loss, optimizers, device, group
        self._micro_tokens = micro_tokens
        self.parts = 1

    def __call__(self, batch: Batch, seed: int) -> Results:
        """Update the weights once; `seed` decides the dropout. The results stay on the device."""
        return self._gradients(batch, seed), self._update()

    def on_device(self, batch: Batch) -> Results:
        """Do the same with an undivided batch on the device; CUDA graphs record this."""
        self.optimizers.zero_grad()
        return self._backward(batch, slice(0, len(batch.rows), 1), batch), self._update()

    def _gradients(self, batch: Batch, seed: int) -> Tensor:
        """Compute the gradients of this process's share; if memory is short, in micro-batches."""
        share = self.group.share(len(batch.rows))
        tokens = batch.token_ids.numel() // self.group.size
        least = -(-tokens // self._micro_tokens) if self._micro_tokens else 1
        while True:
            self.optimizers.zero_grad()
            losses = []
            try:
                for rows in divide(share, max(self.parts, least)):
                    torch.manual_seed(seed)
                    part = batch.take(rows).to(self.device.device)
                    losses.append(self._backward(part, rows, batch))
                return torch.stack(losses).sum()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.parts >= len(range(len(batch.rows))[share]):
                    raise
            self.parts = 2 * max(self.parts, least)
            self.optimizers.zero_grad()
            torch.cuda.empty_cache()  # does nothing on a CPU
            say(
                f"a batch does not fit into memory; it is now divided into {self.parts} "
                "micro-batches"
            )

    def _backward(self, part: Batch, rows: slice, whole: Batch) -> Tensor:
        """Add the gradients of some rows of a batch; return their share of the batch's loss."""
        if not len(part.rows):
            return torch.zeros((), device=self.device.device)
        with self.device.autocast(), part_of_batch(rows, len(whole.rows)):
            loss = self.loss.loss(part, whole)
        loss.backward()
        return loss.detach()

    def _update(self) -> Tensor:
        """Update the weights by their gradients; return the norm of these."""
        weights = [weight for weight in self.loss.model.parameters() if weight.requires_grad]
        self.group.sum_gradients(weights)
        norm = clip_gradients(weights)
        self.optimizers.step()
        return norm


def divide(rows: slice, parts: int) -> list[slice]:
    """Divide the rows of a slice into `parts` slices, in order."""
    step = rows.step
    size = -(-len(range(rows.stop)[rows]) // parts)
    starts = [rows.start + number * size * step for number in range(parts)]
    return [slice(start, min(start + size * step, rows.stop), step) for start in starts]
