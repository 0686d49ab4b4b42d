"""Adversarial training: where the texts are shifted to, by how much, and what it adds."""

import numpy as np
import pytest
import torch
from conftest import tiny_params
from torch.nn import functional as F

from sentiformer.batching import Batch
from sentiformer.dropout import Share
from sentiformer.model import TransformerClassifier
from sentiformer.objectives import Classification

SIZE = tiny_params(
    model={"d_model": 8, "d_ff": 16, "dropout": 0.0, "max_len": 8, "truncation": "head"}
).model
NORM = 1e-2
LENGTHS = torch.tensor([5, 2, 3])


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TransformerClassifier(SIZE, vocab_size=10, num_classes=2, pairs=3)


@pytest.fixture
def batch():
    padding = torch.arange(5) >= LENGTHS[:, None]
    words = torch.randint(2, 10, (3, 5), generator=torch.Generator().manual_seed(1))
    return Batch(words.masked_fill(padding, 0), padding, torch.tensor([0, 1, 1]), np.arange(3))


def run(model, batch, norm, rows=slice(0, 3, 1)):
    """The losses of some texts, each differentiated before the next, and the shifts."""
    shifts = []
    hook = model.register_forward_pre_hook(lambda _, inputs: shifts.append(inputs[3]))
    found = []
    for loss in Classification(model, None, norm).losses(batch.take(rows), Share(rows, 3), batch):
        loss.backward()
        found.append(loss.item())
    hook.remove()
    return found, shifts


def test_each_text_is_shifted_by_the_norm_and_its_padding_not_at_all(model, batch):
    _, (nowhere, shift) = run(model, batch, NORM)
    assert not nowhere.any()
    assert shift.flatten(1).norm(dim=1).tolist() == pytest.approx([NORM] * 3)
    assert not shift[batch.padding_mask].any()
    assert not shift.requires_grad


def test_no_other_shift_of_that_length_raises_the_loss_as_much(model, batch):
    (plain, adversarial), (_, worst) = run(model, batch, NORM)
    for seed in range(50):
        other = torch.randn(worst.shape, generator=torch.Generator().manual_seed(seed))
        other = NORM * other / other.flatten(1).norm(dim=1)[:, None, None]
        with torch.no_grad():
            logits = model(batch.token_ids, batch.padding_mask, None, other)
        assert adversarial > F.cross_entropy(logits, batch.labels).item()
    assert adversarial > plain


def test_the_gradients_of_both_losses_add_up(model, batch):
    run(model, batch, 0.0)
    plain = model.classifier.bias.grad.clone()
    run(model, batch, 0.0)
    assert model.classifier.bias.grad.tolist() == pytest.approx((2 * plain).tolist())
    model.zero_grad()
    run(model, batch, 1e-6)  # both losses are nearly the same
    assert model.classifier.bias.grad.tolist() == pytest.approx((2 * plain).tolist(), rel=1e-3)


def test_a_batch_in_parts_is_shifted_as_the_whole(model, batch):
    _, (_, whole) = run(model, batch, NORM)
    alone = [run(model, batch, NORM, slice(row, row + 1, 1)) for row in range(3)]
    assert torch.allclose(torch.cat([shift for _, (_, shift) in alone]), whole, atol=1e-7)
    both, _ = run(model, batch, NORM)
    assert np.sum([losses for losses, _ in alone], axis=0).tolist() == pytest.approx(both, rel=1e-5)
