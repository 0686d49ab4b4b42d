"""Tables move as torch's sparse Adam moves them, and all else as AdamW."""

import pytest
import torch

from sentiformer.lazy_adam import LazyAdamW

ROWS, SIZE = 7, 3


def make_weights():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in ((ROWS, SIZE), (5, 4), (5,))]


def gradient(step, *, sparse):
    """Of three rows, or four times of three, whose parts add up."""
    torch.manual_seed(step)
    rows = torch.tensor([[1, 4, 4, 6], [0, 1, 6, 6], [4, 3, 1, 4]])[step % 3]
    made = torch.sparse_coo_tensor(rows[None], torch.randn(4, SIZE), (ROWS, SIZE))
    return made if sparse else made.to_dense()


@pytest.mark.parametrize("sparse", [True, False])
def test_it_takes_the_steps_of_torch_s_sparse_adam_and_adamw(sparse):
    ours, theirs = make_weights(), make_weights()
    lazy = LazyAdamW([{"params": ours[1:], "weight_decay": 0.3}], ours[:1], lr=0.1)
    others = [
        torch.optim.SparseAdam(theirs[:1], lr=0.1),
        torch.optim.AdamW(theirs[1:], lr=0.1, weight_decay=0.3, fused=True),
    ]
    for step in range(6):
        ours[0].grad, theirs[0].grad = gradient(step, sparse=sparse), gradient(step, sparse=True)
        for one, other in zip(ours[1:], theirs[1:], strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        if step == 3:
            lazy.param_groups[-1]["lr"] = others[0].param_groups[0]["lr"] = 0.02
        lazy.step()
        for optimizer in others:
            optimizer.step()
    torch.testing.assert_close(ours[0], theirs[0])
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sparse", [True, False])
def test_rows_that_no_step_uses_rest(sparse):
    weights, before = make_weights(), make_weights()[0]
    lazy = LazyAdamW([{"params": weights[1:]}], weights[:1], lr=0.1)
    for step in (0, 3):
        weights[0].grad = gradient(step, sparse=sparse)
        lazy.step()
    moved = (weights[0] != before).any(dim=1)
    assert moved.tolist() == [False, True, False, False, True, False, True]
    weights[0].grad = None
    lazy.step()
    assert torch.equal((weights[0] != before).any(dim=1), moved)
