"""Attention against the formula, head by head."""

import math

import pytest
import torch

from sentiformer.model import attention
from sentiformer.model.attention import MultiHeadAttention

# Sizes are unlike primes where they can be, so that a swapped axis fails.
BATCH, LENGTH, HEADS, HEAD_SIZE = 3, 7, 2, 5
D_MODEL = HEADS * HEAD_SIZE


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def written_attention(layer: MultiHeadAttention, hidden, padding_mask):
    """softmax(Q K^T / sqrt(d_k)) V, head by head, concatenated and projected."""
    query, key, value = layer.query_key_value(hidden).chunk(3, dim=-1)
    heads = []
    for head in range(HEADS):
        part = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(HEAD_SIZE)
        scores = scores.masked_fill(padding_mask[:, None, :], -math.inf)
        heads.append(scores.softmax(dim=-1) @ value[..., part])
    return layer.output(torch.cat(heads, dim=-1))


@pytest.mark.parametrize("longest_written_out", [0, LENGTH - 1, LENGTH])
def test_attention_equals_the_formula_by_torch_s_kernel_too(monkeypatch, longest_written_out):
    monkeypatch.setattr(attention, "LONGEST_WRITTEN_OUT", longest_written_out)
    padding_mask = torch.arange(LENGTH) >= torch.tensor([LENGTH, 4, 1])[:, None]
    layer = MultiHeadAttention(D_MODEL, HEADS)
    hidden = torch.randn(BATCH, LENGTH, D_MODEL)
    expected = written_attention(layer, hidden, padding_mask)
    torch.testing.assert_close(layer(hidden, padding_mask), expected)
    with torch.inference_mode():
        torch.testing.assert_close(layer(hidden, padding_mask), expected)
    none = torch.zeros_like(padding_mask)
    torch.testing.assert_close(layer(hidden, None), written_attention(layer, hidden, none))


def varlen_attn(query, key, value, bounds, bounds_of_keys, longest, longest_key):
    """What torch's flash attention computes on a GPU: each (tokens, heads, size)."""
    assert bounds is bounds_of_keys
    assert bounds.dtype == torch.int32
    parts = [of.tensor_split(bounds[1:-1].tolist()) for of in (query, key, value)]
    attended = []
    for q, k, v in zip(*parts, strict=True):
        assert len(q) <= longest == longest_key
        scores = torch.einsum("qhs,khs->hqk", q, k) / math.sqrt(HEAD_SIZE)
        attended.append(torch.einsum("hqk,khs->qhs", scores.softmax(dim=-1), v))
    return torch.cat(attended)


def test_attention_by_sequences_equals_the_formula(monkeypatch):
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    monkeypatch.setattr(
        attention, "scaled_dot_product_attention", lambda *args: attention._flash_attention(*args)
    )
    padding_mask = torch.arange(LENGTH) >= torch.tensor([LENGTH, 4, 1])[:, None]
    layer = MultiHeadAttention(D_MODEL, HEADS)
    hidden = torch.randn(BATCH, LENGTH, D_MODEL)
    expected = written_attention(layer, hidden, padding_mask)[~padding_mask]
    torch.testing.assert_close(layer(hidden, padding_mask)[~padding_mask], expected)


def test_texts_taken_a_few_at_a_time_change_nothing(monkeypatch):
    """Their gradients, either."""
    layer = MultiHeadAttention(D_MODEL, HEADS)
    hidden = torch.randn(BATCH, LENGTH, D_MODEL)
    padding_mask = torch.arange(LENGTH) >= torch.tensor([LENGTH, 4, 1])[:, None]
    for mask in (padding_mask, None):
        results = []
        for texts in (BATCH, 2, 1):
            monkeypatch.setattr(attention, "SCORES_AT_ONCE", texts * HEADS * LENGTH**2)
            given = hidden.clone().requires_grad_()
            attended = layer(given, mask)
            attended.square().sum().backward()
            results += [(attended, given.grad)]
        torch.testing.assert_close(results[1:], [results[0]] * 2)


def test_torch_s_kernel_attends_where_it_is_the_faster(monkeypatch):
    """In fp32 without gradients, and in very long texts."""
    lengths = []

    def fused(query, key, value, attn_mask):
        lengths.append(query.shape[2])
        return value

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", fused)
    longest = attention.LONGEST_WRITTEN_OUT
    layer = MultiHeadAttention(D_MODEL, HEADS)
    for length in (longest, longest + 1):
        layer(torch.zeros(1, length, D_MODEL), None)
    assert lengths == [longest + 1]
    with torch.no_grad():
        layer(torch.zeros(1, LENGTH, D_MODEL), None)
        layer.bfloat16()(torch.zeros(1, LENGTH, D_MODEL).bfloat16(), None)
    assert lengths == [longest + 1, LENGTH]
