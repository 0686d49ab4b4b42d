"""Muon for the matrices of an encoder's layers, AdamW for all other weights."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
# Five of Newton and Schulz's steps with these bring all singular values between 0.7 and 1.2.
STEPS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
ADAM_RMS = 0.2  # of a step of AdamW as a share of the learning rate, as it usually is


class Muon(torch.optim.AdamW):
    """Steps of momentum whose singular values are made alike (Jordan et al. 2024).

    They are as large as those of AdamW, so that both take the same learning rate (Liu et al. 2025,
    section 2.2). Matrices of one shape are computed together.

    Args:
        groups: of the other weights, for AdamW.
        matrices: of two dimensions.
        weight_decay: of the matrices.
        lr: learning rate; a tensor on a GPU, where steps are recorded.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        matrices: Iterable[Tensor],
        *,
        weight_decay: float,
        lr: float | Tensor,
    ) -> None:
        super().__init__(groups, lr=lr, fused=True, capturable=isinstance(lr, Tensor))
        self.add_param_group({"params": list(matrices), "weight_decay": weight_decay})

    def step(self) -> None:  # type: ignore[override]
        """Move all weights."""
        matrices = self.param_groups.pop()
        super().step()
        self.param_groups.append(matrices)
        alike = defaultdict(list)
        for weight in matrices["params"]:
            if weight.grad is not None:
                alike[weight.shape].append(weight)
        for weights in alike.values():
            self._move(weights, matrices["lr"], matrices["weight_decay"])

    @torch.no_grad()
    def _move(self, weights: list[Tensor], rate: float | Tensor, decay: float) -> None:
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
