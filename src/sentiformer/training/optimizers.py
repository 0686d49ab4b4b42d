"""Optimizers of PyTorch, one for each kind of weight, and the learning rate of a step."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sentiformer.training.params import Optimizer

WARMUP = 0.1  # share of all steps in which the learning rate rises
MAX_NORM = 1.0  # of the gradient of a step; a longer one is clipped
MUON_DECAY = 0.01  # weight decay of the matrices that Muon updates


class Optimizers:
    """The optimizers of a model, used as one.

    `adam` updates all weights by Adam (Kingma & Ba 2015). `lazy_adam` updates the tables of
    embeddings by SparseAdam: a row that a batch does not use keeps its value and its moments, which
    saves most of the time that a large table takes. `muon` updates the matrices of the encoder's
    layers by Muon (Jordan et al. 2024), scaled so that Adam's learning rate fits (Liu et al. 2025,
    section 2.2), and all other weights by Adam. `layered_adamw` updates all by AdamW (Loshchilov &
    Hutter 2019), with the rates and weight decays of the model's `weight_groups`. The model must be
    on its device already.
    """

    def __init__(self, model: torch.nn.Module, kind: Optimizer) -> None:
        special: list[Tensor] = []  # the weights that Adam does not update
        self._all: list[torch.optim.Optimizer] = []
        self._tables: list[Tensor] = []
        if kind == "muon":
            special = [w for n, w in model.named_parameters() if ".layers." in n and w.dim() == 2]
            self._all.append(
                torch.optim.Muon(special, weight_decay=MUON_DECAY, adjust_lr_fn="match_rms_adamw")
            )
        if kind == "lazy_adam":
            for module in model.modules():
                if isinstance(module, torch.nn.Embedding):
                    module.sparse = True
                    special.append(module.weight)
            torch.sparse.check_sparse_tensor_invariants.disable()  # otherwise torch warns
            self._all.append(torch.optim.SparseAdam(special))
            self._tables = special
        self.can_be_recorded = kind == "adam"  # the others copy numbers from the GPU
        if kind == "layered_adamw":
            groups = model.weight_groups()  # type: ignore[operator]
            self._all.append(torch.optim.AdamW(groups, fused=True))
            return
        known = set(special)
        others = [weight for weight in model.parameters() if weight not in known]
        on_gpu = others[0].is_cuda
        # Each step sets the rate. A CUDA graph reads it from the GPU.
        lr = torch.tensor(1.0, device=others[0].device) if on_gpu else 1.0
        self._all.append(torch.optim.Adam(others, lr=lr, fused=True, capturable=on_gpu))

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update all weights by their gradients."""
        for table in self._tables:
            if table.grad is not None:
                table.grad = nonzero_rows(table.grad)
        for optimizer in self._all:
            optimizer.step()

    def set_learning_rate(self, rate: float) -> None:
        """Use this learning rate from here on, times the `rate` of a group that has one."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate * group.get("rate", 1.0)

    def state(self) -> dict[str, Tensor]:
        """The moments and the counts of steps, by name."""
        return {
            f"{number}/{weight}/{name}": torch.as_tensor(value)
            for number, optimizer in enumerate(self._all)
            for weight, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Return to what `state` gave."""
        states: list[dict[int, dict[str, Any]]] = [{} for _ in self._all]
        for key, value in tensors.items():
            number, weight, name = key.split("/")
            is_count = value.dtype == torch.int64  # SparseAdam counts steps in a plain number
            entry = states[int(number)].setdefault(int(weight), {})
            entry[name] = value.item() if is_count else value
        for optimizer, state in zip(self._all, states, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


def nonzero_rows(gradient: Tensor) -> Tensor:
    """The rows of a gradient that are not zero, as a sparse tensor.

    A dense gradient comes from a sum over processes. A sparse one also has rows of zeros: those
    of words that token dropout left out of the whole batch. Without these rows both give the same
    step.
    """
    if not gradient.is_sparse:
        return gradient.to_sparse(1)
    gradient = gradient.coalesce()
    used = gradient.values().any(dim=1)
    indices, values = gradient.indices()[:, used], gradient.values()[used]
    return torch.sparse_coo_tensor(indices, values, gradient.shape, is_coalesced=True)


def clip_gradients(weights: Iterable[Tensor]) -> Tensor:
    """Scale all gradients down to a joint norm of `MAX_NORM`, if it is larger; return the norm."""
    gradients = []
    for weight in weights:
        gradient = weight.grad
        if gradient is not None and gradient.is_sparse:
            weight.grad = gradient.coalesce()  # each row once
            gradient = weight.grad.values()
        if gradient is not None:
            gradients.append(gradient)
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (MAX_NORM / (norm + 1e-6)).clamp(max=1.0))
    return norm


def learning_rate(highest: float, step: int, total: int) -> float:
    """The learning rate of a step, counted from 0: a linear rise, then a linear fall to 0."""
    warmup = round(WARMUP * total)
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * (1 - (step - warmup) / max(1, total - warmup))
