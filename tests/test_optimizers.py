"""Weights move as torch's own optimizers move them; rows without a gradient rest; rates fall."""

import pytest
import torch
from conftest import tiny_params

from sentiformer.training.optimizers import (
    LazyAdamW,
    Muon,
    learning_rate,
    make_optimizer,
    orthogonalized,
    set_learning_rate,
)

ROWS, SIZE = 7, 3
MATRICES, TABLES = ((8, 6), (6, 8), (8, 6)), ((ROWS, SIZE),)


def make_weights(apart):
    """The weights of a last group, then those that AdamW moves."""
    torch.manual_seed(0)
    made = [torch.nn.Parameter(torch.randn(shape)) for shape in (*apart, (5, 4), (5,))]
    return made[:-2], made[-2:]


def table_gradient(step, *, sparse):
    """Of three rows, or four times of three, whose parts add up."""
    torch.manual_seed(step)
    rows = torch.tensor([[1, 4, 4, 6], [0, 1, 6, 6], [4, 3, 1, 4]])[step % 3]
    made = torch.sparse_coo_tensor(rows[None], torch.randn(4, SIZE), (ROWS, SIZE))
    return made if sparse else made.to_dense()


def beside_torch(make, make_other, shapes, gradient):
    """Step beside torch's own, with another rate from step 3 on; pairs of the last weights.

    Args:
        make: our optimizer, of the groups for AdamW and the weights of the last one.
        make_other: torch's, of the latter.
        shapes: of these.
        gradient: of a step and a weight of them, ours and theirs.
    """
    (apart, rest), (apart_too, rest_too) = make_weights(shapes), make_weights(shapes)
    ours = make([{"params": rest, "weight_decay": 0.3}], apart)
    theirs = make_other(apart_too)
    adamw = torch.optim.AdamW(rest_too, lr=0.1, weight_decay=0.3, fused=True)
    for step in range(6):
        for one, other in zip(apart, apart_too, strict=True):
            one.grad, other.grad = gradient(step, one)
        for one, other in zip(rest, rest_too, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        if step == 3:
            ours.param_groups[-1]["lr"] = theirs.param_groups[0]["lr"] = 0.02
        for optimizer in (ours, theirs, adamw):
            optimizer.step()
    for one, other in zip(rest, rest_too, strict=True):
        assert torch.equal(one, other)
    return zip(apart, apart_too, strict=True)


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW")])
def test_torch_s_own_optimizers_move_all_weights_in_one_kernel(name, kind):
    params = tiny_params(train={"optimizer": name}).train
    optimizer = make_optimizer(torch.nn.Linear(3, 2), params)
    assert type(optimizer).__name__ == kind
    assert optimizer.defaults["fused"] is True


def test_muon_takes_the_steps_of_torch_s_muon_and_adamw():
    def gradient(step, weight):
        made = torch.randn(weight.shape)
        return made, made.clone()

    for one, other in beside_torch(
        lambda groups, matrices: Muon(groups, matrices, weight_decay=0.1, lr=0.1),
        lambda of: torch.optim.Muon(of, lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        MATRICES,
        gradient,
    ):  # torch's computes in bf16
        torch.testing.assert_close(one, other, atol=0.01, rtol=0)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_lazy_one_takes_the_steps_of_torch_s_sparse_adam_and_adamw(sparse):
    for one, other in beside_torch(
        lambda groups, tables: LazyAdamW(groups, tables, lr=0.1),
        lambda of: torch.optim.SparseAdam(of, lr=0.1),
        TABLES,
        lambda step, _: (table_gradient(step, sparse=sparse), table_gradient(step, sparse=True)),
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("sparse", [True, False])
def test_rows_that_no_step_uses_rest(sparse):
    ((table,), rest), ((before,), _) = make_weights(TABLES), make_weights(TABLES)
    lazy = LazyAdamW([{"params": rest}], [table], lr=0.1)
    for step in (0, 3):
        table.grad = table_gradient(step, sparse=sparse)
        lazy.step()
    moved = (table != before).any(dim=1)
    assert moved.tolist() == [False, True, False, False, True, False, True]
    table.grad = None
    lazy.step()
    assert torch.equal((table != before).any(dim=1), moved)


def test_a_matrix_without_a_gradient_rests():
    (matrices, rest), (before, _) = make_weights(MATRICES), make_weights(MATRICES)
    muon = Muon([{"params": rest}], matrices, weight_decay=0.1, lr=0.1)
    matrices[1].grad = torch.ones_like(matrices[1])
    muon.step()
    assert torch.equal(matrices[0], before[0])
    assert not torch.equal(matrices[1], before[1])


@pytest.mark.parametrize("shape", [(3, 5, 8), (2, 8, 5), (1, 6, 6)])
def test_singular_values_become_alike_and_their_vectors_stay(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    found = orthogonalized(matrices)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.3
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    seen = left.mT @ found @ right.mT
    torch.testing.assert_close(
        seen, torch.diag_embed(seen.diagonal(dim1=1, dim2=2)), atol=1e-4, rtol=0
    )


def test_warm_up_rises_and_schedules_fall():
    for schedule, halfway in (("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)):
        changes = {"schedule": schedule, "warmup_fraction": 0.2, "learning_rate": 1.0}
        params = tiny_params(train=changes).train
        rates = [learning_rate(params, step, 100) for step in range(100)]
        assert rates[0] == pytest.approx(0.05)
        assert rates[:20] == sorted(rates[:20])
        assert rates[19] == rates[20] == 1.0
        assert rates[60] == pytest.approx(halfway)
        assert rates[20:] == sorted(rates[20:], reverse=True)


def test_a_learning_rate_on_a_device_is_set_in_place():
    weight = torch.nn.Parameter(torch.ones(2))
    for rate in (0.5, torch.tensor(0.5)):
        optimizer = torch.optim.AdamW([{"params": [weight]}], lr=rate, fused=True)
        set_learning_rate(optimizer, 0.25)
        assert float(optimizer.param_groups[0]["lr"]) == 0.25
    assert rate.item() == 0.25


def test_a_step_that_runs_out_of_memory_can_be_done_again(monkeypatch):
    (matrix,), rest = make_weights([(4, 4)])
    optimizer = Muon([{"params": rest, "weight_decay": 0.0}], [matrix], weight_decay=0.0, lr=0.1)
    for weight in (matrix, *rest):
        weight.grad = torch.randn(weight.shape)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", lambda _: [][1])
        with pytest.raises(IndexError):  # in place of what torch would raise
            optimizer.step()
    before = matrix.clone()
    optimizer.step()
    assert len(optimizer.param_groups) == 2
    assert not torch.equal(matrix, before)
