"""How weights move: AdamW, alone or with Muon or a lazy Adam for some of them, and the rates."""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sentiformer.training.params import FitParams

MOMENTUM = 0.95  # of Muon
# Five of Newton and Schulz's steps with these bring all singular values between 0.7 and 1.2.
STEPS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
ADAM_RMS = 0.2  # of a step of AdamW as a share of the learning rate, as it usually is


class AdamWBut(torch.optim.AdamW):
    """AdamW but for the weights of a last group, which a subclass moves.

    Args:
        groups: of the weights that AdamW moves.
        apart: the others.
        weight_decay: of the others.
        lr: learning rate; a tensor on a GPU, where steps are recorded.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        apart: Iterable[Tensor],
        *,
        weight_decay: float,
        lr: float | Tensor,
    ) -> None:
        super().__init__(groups, lr=lr, fused=True, capturable=isinstance(lr, Tensor))
        self.add_param_group({"params": list(apart), "weight_decay": weight_decay})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a saved state; Adam's own wants a count of steps of every weight."""
        torch.optim.Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move all weights."""
        last = self.param_groups.pop()
        try:
            super().step()
        finally:  # memory may be short, and the step be done again
            self.param_groups.append(last)
        self._move([weight for weight in last["params"] if weight.grad is not None], last)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Move those of the last group that have a gradient."""
        raise NotImplementedError


class Muon(AdamWBut):
    """Steps of momentum, of matrices, whose singular values are made alike (Jordan et al. 2024).

    They are as large as those of AdamW, so that both take the same learning rate (Liu et al. 2025,
    section 2.2). Matrices of one shape are computed together.
    """

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        alike = defaultdict(list)
        for weight in weights:
            alike[weight.shape].append(weight)
        for matrices in alike.values():
            self._move_alike(matrices, group["lr"], group["weight_decay"])

    def _move_alike(self, weights: list[Tensor], rate: float | Tensor, decay: float) -> None:
        """Move matrices of one shape."""
        gradients: Any = [weight.grad for weight in weights]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov's
        size = ADAM_RMS * max(weights[0].shape) ** 0.5
        steps = orthogonalized(torch.stack(ahead)) * (-rate * size)
        torch._foreach_mul_(weights, 1 - rate * decay)
        torch._foreach_add_(weights, list(steps.unbind()))


def orthogonalized(matrices: Tensor) -> Tensor:
    """About U V^T of each U S V^T of (N, rows, columns), in bf16 on a GPU."""
    found = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = found.shape[1] > found.shape[2]
    found = found.mT if tall else found
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    once, cubed, fifth = COEFFICIENTS
    for _ in range(STEPS):
        square = found @ found.mT
        factor = torch.baddbmm(square, square, square, beta=cubed, alpha=fifth)
        found = torch.baddbmm(found, factor, found, beta=once)
    return (found.mT if tall else found).to(matrices.dtype)


class LazyAdamW(AdamWBut):
    """AdamW; of a table of embeddings, (rows, D), a row whose gradient is 0 rests, moments too.

    A batch uses some thousand of a hundred thousand rows. Their gradient may be sparse, which saves
    most of the time that a table takes; a dense one gives the same. Tables do not decay.
    """

    def __init__(
        self, groups: list[dict[str, Any]], tables: Iterable[Tensor], *, lr: float | Tensor
    ) -> None:
        super().__init__(groups, tables, weight_decay=0.0, lr=lr)
        torch.sparse.check_sparse_tensor_invariants.disable()  # without a word torch warns of it

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        for table in weights:
            self._move_table(table, group)

    def _move_table(self, table: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[table], table.grad
        if not state:
            state["step"] = torch.zeros((), device=table.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        state["step"] += 1
        momenta, squares = state["exp_avg"], state["exp_avg_sq"]
        assert gradient is not None
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            used = gradient.values().any(dim=1)  # as a dense one tells
            rows, gradient = gradient.indices()[0, used], gradient.values()[used]
            step, momentum, square = self._step(
                group, state, gradient, momenta[rows], squares[rows]
            )
            momenta.index_copy_(0, rows, momentum)
            squares.index_copy_(0, rows, square)
            table.index_add_(0, rows, step)
        else:
            used = gradient.any(dim=1, keepdim=True)
            step, momentum, square = self._step(group, state, gradient, momenta, squares)
            momenta.copy_(momentum.where(used, momenta))
            squares.copy_(square.where(used, squares))
            table.add_(step.where(used, 0))

    @staticmethod
    def _step(
        group: dict[str, Any],
        state: dict[str, Tensor],
        gradient: Tensor,
        momentum: Tensor,
        square: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The step of some rows, each (N, D), and the moments after it (Kingma & Ba 2015)."""
        first, second = group["betas"]
        momentum = momentum.lerp(gradient, 1 - first)
        square = square.mul(second).addcmul_(gradient, gradient, value=1 - second)
        size = square.sqrt().div_((1 - second ** state["step"]).sqrt()).add_(group["eps"])
        rate = group["lr"] / (1 - first ** state["step"])
        return momentum.div(size).mul_(-rate), momentum, square


def clip_gradients(weights: Iterable[Tensor], longest: float) -> Tensor:
    """Shorten all gradients together to a norm, if theirs is longer; returns what it was."""
    gradients = []
    for weight in weights:
        if weight.grad is not None:
            if weight.grad.is_sparse:
                weight.grad = weight.grad.coalesce()  # each row once
            gradients.append(weight.grad.values() if weight.grad.is_sparse else weight.grad)
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (longest / (norm + 1e-6)).clamp(max=1.0))
    return norm


def make_optimizer(model: torch.nn.Module, params: FitParams) -> torch.optim.Optimizer:
    """What `params` name, for a model on its device; biases and layer norms do not decay.

    Muon moves the matrices of an encoder's layers, a lazy AdamW has tables of embeddings rest.
    """
    apart: list[Tensor] = []  # what AdamW does not move
    if params.optimizer == "muon":
        apart = [w for n, w in model.named_parameters() if ".layers." in n and w.dim() > 1]
    if params.optimizer == "lazy_adamw":
        tables = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
        apart = [table.weight for table in tables]
        for table in tables:
            table.sparse = not table.weight.is_cuda
    moved = set(apart)
    others = [weight for weight in model.parameters() if weight not in moved]
    groups = [
        {"params": [w for w in others if w.dim() > 1], "weight_decay": params.weight_decay},
        {"params": [w for w in others if w.dim() <= 1], "weight_decay": 0.0},
    ]
    rate: float | Tensor = params.learning_rate
    if on_gpu := others[0].is_cuda:  # where a recorded step reads it
        rate = torch.tensor(rate, device=others[0].device)
    if params.optimizer == "muon":
        return Muon(groups, apart, weight_decay=params.weight_decay, lr=rate)
    if params.optimizer == "lazy_adamw":
        return LazyAdamW(groups, apart, lr=rate)
    kind = torch.optim.Adam if params.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=rate, fused=True, capturable=on_gpu)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Take this rate from here on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def learning_rate(params: FitParams, step: int, total: int) -> float:
    """The learning rate of a step, counted from 0: linear warm-up, then the schedule."""
    warmup = round(params.warmup_fraction * total)
    if step < warmup:
        return params.learning_rate * (step + 1) / warmup
    left = 1 - (step - warmup) / max(1, total - warmup)  # 1 after warm-up, towards 0 at the end
    shape = {
        "constant": 1.0,
        "linear": left,
        "cosine": 0.5 * (1 - math.cos(math.pi * left)),
    }[params.schedule]
    return params.learning_rate * shape
