"""Muon moves matrices as torch's own does, and all else as AdamW."""

import pytest
import torch

from sentiformer.muon import Muon, orthogonalized


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


def make_weights():
    torch.manual_seed(0)
    shapes = [(8, 6), (6, 8), (8, 6), (5, 4), (5,)]
    return [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]


def test_it_takes_the_steps_of_torch_s_muon_and_adamw():
    ours, theirs = make_weights(), make_weights()
    muon = Muon([{"params": ours[3:], "weight_decay": 0.3}], ours[:3], weight_decay=0.1, lr=0.1)
    others = [
        torch.optim.Muon(theirs[:3], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(theirs[3:], lr=0.1, weight_decay=0.3, fused=True),
    ]
    for step in range(5):
        torch.manual_seed(step)
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        if step == 3:
            muon.param_groups[-1]["lr"] = others[0].param_groups[0]["lr"] = 0.02
        muon.step()
        for optimizer in others:
            optimizer.step()
    for one, other in zip(ours[:3], theirs[:3], strict=True):  # torch's computes in bf16
        torch.testing.assert_close(one, other, atol=0.01, rtol=0)
    for one, other in zip(ours[3:], theirs[3:], strict=True):
        assert torch.equal(one, other)


def test_a_matrix_without_a_gradient_rests():
    weights = make_weights()
    before = weights[0].clone()
    muon = Muon([{"params": weights[3:]}], weights[:3], weight_decay=0.1, lr=0.1)
    weights[1].grad = torch.ones_like(weights[1])
    muon.step()
    assert torch.equal(weights[0], before)
    assert not torch.equal(weights[1], make_weights()[1])
