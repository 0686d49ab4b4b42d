"""AdamW whose tables of vectors move row by row, in the steps that use them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class LazyAdamW(torch.optim.AdamW):
    """AdamW; of a table, a row whose gradient is 0 rests, and so do its moments.

    A batch uses some thousand of a hundred thousand rows. Their gradient may be sparse, which saves
    most of the time that a table takes; a dense one gives the same.

    Args:
        groups: of the other weights, for AdamW.
        tables: of embeddings, (rows, D); they do not decay.
        lr: learning rate; a tensor on a GPU, where steps are recorded.
    """

    def __init__(
        self, groups: list[dict[str, Any]], tables: Iterable[Tensor], *, lr: float | Tensor
    ) -> None:
        super().__init__(groups, lr=lr, fused=True, capturable=isinstance(lr, Tensor))
        self.add_param_group({"params": list(tables), "weight_decay": 0.0})
        torch.sparse.check_sparse_tensor_invariants.disable()  # without a word torch warns of it

    def step(self) -> None:  # type: ignore[override]
        """Move all weights."""
        tables = self.param_groups.pop()
        super().step()
        self.param_groups.append(tables)
        for table in tables["params"]:
            if table.grad is not None:
                self._move(table, tables)

    @torch.no_grad()
    def _move(self, table: Tensor, group: dict[str, Any]) -> None:
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
        group: dict[str, Any], state: dict[str, Tensor], *of: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The step of some rows, (N, D), and the moments after it (Kingma & Ba 2015).

        `of` are gradient, momentum and square.
        """
        gradient, momentum, square = of
        first, second = group["betas"]
        momentum = momentum.lerp(gradient, 1 - first)
        square = square.mul(second).addcmul_(gradient, gradient, value=1 - second)
        size = square.sqrt().div_((1 - second ** state["step"]).sqrt()).add_(group["eps"])
        rate = group["lr"] / (1 - first ** state["step"])
        return momentum.div(size).mul_(-rate), momentum, square
