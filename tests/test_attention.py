"""Attention against the written formula, and every kernel against the formula in the code."""

import math

import pytest
import torch

from sentiformer.model import attention_kernels
from sentiformer.model.attention import MultiHeadAttention, scaled_dot_product_attention

# The sizes differ and are mostly primes, so that a swapped axis fails.
BATCH, LENGTH, HEADS, HEAD_SIZE = 3, 7, 2, 5
D_MODEL = HEADS * HEAD_SIZE
PADDING = torch.arange(LENGTH) >= torch.tensor([LENGTH, 4, 1])[:, None]
formula = scaled_dot_product_attention.__wrapped__


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def heads() -> list[torch.Tensor]:
    """Query, key and value, which want a gradient."""
    return [torch.randn(BATCH, HEADS, LENGTH, HEAD_SIZE, requires_grad=True) for _ in range(3)]


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


def varlen_attn(query, key, value, bounds, bounds_of_keys, longest, longest_key):
    """Compute what torch's flash attention computes on a GPU: each (tokens, heads, size)."""
    assert bounds is bounds_of_keys
    assert bounds.dtype == torch.int32
    parts = [tensor.tensor_split(bounds[1:-1].tolist()) for tensor in (query, key, value)]
    attended = []
    for q, k, v in zip(*parts, strict=True):
        assert len(q) <= longest == longest_key
        scores = torch.einsum("qhs,khs->hqk", q, k) / math.sqrt(HEAD_SIZE)
        attended.append(torch.einsum("hqk,khs->qhs", scores.softmax(dim=-1), v))
    return torch.cat(attended)


def in_chunks_of(texts: int):
    """Attention by the formula for a number of texts at a time."""

    def attend(*tensors):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attention_kernels, "CHUNK_SCORES", texts * HEADS * LENGTH**2)
            return attention_kernels.in_chunks(formula, *tensors)

    return attend


def test_multi_head_attention_equals_the_formula_written_head_by_head():
    layer, hidden = MultiHeadAttention(D_MODEL, HEADS), torch.randn(BATCH, LENGTH, D_MODEL)
    expected = written_attention(layer, hidden, PADDING)
    torch.testing.assert_close(layer(hidden, PADDING), expected)
    with torch.inference_mode():
        torch.testing.assert_close(layer(hidden, PADDING), expected)
    no_padding = torch.zeros_like(PADDING)
    torch.testing.assert_close(layer(hidden, None), written_attention(layer, hidden, no_padding))


KERNELS = {
    "chunks of 1 text": in_chunks_of(1),
    "chunks of 2 texts": in_chunks_of(2),
    "one chunk": in_chunks_of(BATCH),
    "fused": attention_kernels.fused_attention,
    "flash": attention_kernels.flash_attention,
    "the fastest": scaled_dot_product_attention,
}


@pytest.mark.parametrize("padded", [True, False], ids=["padding", "no padding"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_and_its_gradient_equal_the_formula(monkeypatch, heads, kernel, padded):
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_attn)
    padding_mask = PADDING if padded else None
    if kernel == "flash" and not padded:
        padding_mask = torch.zeros_like(PADDING)  # it is only used where there is a mask
    is_token = ~PADDING[:, None, :, None] if padded else 1  # padding may attend to anything
    results = []
    for attend in (formula, KERNELS[kernel]):
        attended = attend(*heads, padding_mask) * is_token
        results.append([attended, *torch.autograd.grad(attended.square().sum(), heads)])
    torch.testing.assert_close(results[1], results[0])


@pytest.fixture
def used(monkeypatch) -> list[str]:
    """The kernels that are used, in order."""
    names: list[str] = []

    def record(name):
        def kernel(*tensors):
            names.append(name)
            return tensors[-2]

        return kernel

    for name in ("in_chunks", "fused_attention", "flash_attention"):
        monkeypatch.setattr(attention_kernels, name, record(name))
    return names


def test_a_cpu_uses_the_formula_to_train_and_in_bf16_and_the_fused_kernel_otherwise(used):
    def attend(length, dtype):
        query = torch.zeros(1, 1, length, 1, dtype=dtype)
        scaled_dot_product_attention(query, query, query, None)
        return used[-1]

    longest = attention_kernels.MAX_FORMULA_LENGTH
    for dtype in (torch.float32, torch.bfloat16):
        assert attend(longest, dtype) == "in_chunks"
        assert attend(longest + 1, dtype) == "fused_attention"
    with torch.no_grad():
        assert attend(LENGTH, torch.float32) == "fused_attention"
        assert attend(LENGTH, torch.bfloat16) == "in_chunks"
        assert attend(longest + 1, torch.bfloat16) == "fused_attention"


class OnGpu:
    """What the choice of a kernel asks of a tensor, as on a GPU."""

    is_cuda, is_cpu, shape = True, False, (BATCH, HEADS, LENGTH, HEAD_SIZE)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("padding_mask", [PADDING, None], ids=["padding", "no padding"])
def test_a_gpu_uses_flash_attention_in_bf16_with_padding_and_the_fused_kernel_otherwise(
    used, dtype, padding_mask
):
    query = OnGpu(dtype)
    scaled_dot_product_attention(query, query, query, padding_mask)
    is_flash = dtype == torch.bfloat16 and padding_mask is not None
    assert used == ["flash_attention" if is_flash else "fused_attention"]
