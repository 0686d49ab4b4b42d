"""The processes that train one model together, as torchrun starts them, or a single process.

Each process has the whole model and computes its share of every batch. The gradients are summed
over all processes, so every process makes the same step. Only process 0 writes files and logs.
"""

import json
import os
from collections.abc import Iterable
from typing import Self

import torch
from safetensors.torch import load, save
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from sentiformer.core.errors import UserError, first_line
from sentiformer.training.checkpoint import Saved

STATE = "state"  # the name under which `from_leader` sends the JSON of a saved state


class Group:
    """The processes of a training: this one's rank, from 0, and their number, `size`."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self._device = rank, size, device

    @classmethod
    def join(cls, device: torch.device) -> Self:
        """Connect to the processes that torchrun started, by its environment variables."""
        if not distributed.is_torchelastic_launched():
            return cls(0, 1, device)
        store, rank, size = next(rendezvous("env://"))
        # torchrun keeps one store over all restarts; it still has addresses of dead processes.
        prefix = f"{os.environ['TORCHELASTIC_RESTART_COUNT']} of {size}"
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore(prefix, store),
            rank=rank,
            world_size=size,
        )
        return cls(rank, size, device)

    @property
    def leads(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """The share of this process in `count` items; each item is in one share."""
        return slice(self.rank, count, self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place; each gets the same bits.

        Raises:
            UserError: another process was lost.
        """
        if self.size > 1:
            try:
                distributed.all_reduce(tensor)
            except RuntimeError as error:  # gloo and NCCL have no error class of their own
                raise UserError(
                    f"another process of this training has ended ({first_line(error)}); with "
                    "torchrun's option --max-restarts all resume from the last checkpoint"
                ) from None
        return tensor

    def sum_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Sum the gradients over the processes; those of a process without a text are zero."""
        if self.size == 1:
            return
        weights = list(weights)
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad.to_dense() for w in weights]
        total = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = total.split([weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.view_as(weight)

    def from_leader(self, saved: Saved | None) -> Saved | None:
        """Send the saved state of process 0 to every process; the others pass None."""
        if self.size == 1:
            return saved
        data = bytearray()
        if saved is not None:
            text = torch.frombuffer(bytearray(json.dumps(saved[1]).encode()), dtype=torch.uint8)
            data = bytearray(save({**saved[0], STATE: text}))
        length = int(self._broadcast(torch.tensor(len(data))).item())
        if not length:
            return None
        sent = torch.frombuffer(data or bytearray(length), dtype=torch.uint8)
        tensors = load(self._broadcast(sent).numpy().tobytes())
        return tensors, json.loads(bytes(tensors.pop(STATE).tolist()))

    def leave(self) -> None:
        """Disconnect from the other processes."""
        if self.size > 1:
            distributed.destroy_process_group()

    def _broadcast(self, tensor: Tensor) -> Tensor:
        on_device = tensor.to(self._device).contiguous()
        distributed.broadcast(on_device, src=0)
        return on_device.cpu()
