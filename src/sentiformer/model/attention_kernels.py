"""Fast ways to compute attention. Each equals the formula in `attention.py` except for rounding.

| kernel                | used for                                                       |
|-----------------------|----------------------------------------------------------------|
| formula, in chunks    | CPU, up to 1024 tokens: training, and all computations in bf16 |
| torch's fused kernel  | CPU: fp32 without gradients, and longer texts;                 |
|                       | GPU: fp32, and bf16 without padding                            |
| flash attention       | GPU: bf16 with padding                                         |

Shapes: B texts in a batch, T tokens in the longest text, H heads, d_k numbers in a head.
Query, key and value are (B, H, T, d_k). `padding_mask` is (B, T) and True at padding.
"""

import math
from collections.abc import Callable
from functools import wraps
from itertools import repeat

import torch
from torch import Tensor
from torch.nn import functional as F

LENGTH_MULTIPLE = 8  # of T; kernels need it, and fewer different shapes take less memory
MAX_FORMULA_LENGTH = 1024  # tokens; for longer texts the fused kernel is faster on a CPU
CHUNK_SCORES = 2**21  # attention scores that fit into the cache of a CPU

Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def fastest_kernel(formula: Attention) -> Attention:
    """Decorate the formula: compute it by the kernel that is fastest for the given tensors."""

    @wraps(formula)
    def attention(query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor | None) -> Tensor:
        if padding_mask is not None and query.is_cuda and query.dtype == torch.bfloat16:
            return flash_attention(query, key, value, padding_mask)
        # torch's fused kernel is slow in its backward pass, and in bf16
        fused_is_slow = torch.is_grad_enabled() or query.dtype == torch.bfloat16
        if query.is_cpu and fused_is_slow and query.shape[2] <= MAX_FORMULA_LENGTH:
            return in_chunks(formula, query, key, value, padding_mask)
        return fused_attention(query, key, value, padding_mask)

    return attention


def in_chunks(
    formula: Attention, query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor | None
) -> Tensor:
    """Compute the formula for a few texts at a time, so that their scores stay in the cache."""
    heads, length = query.shape[1:3]
    texts = max(1, CHUNK_SCORES // (heads * length**2))
    masks = repeat(None) if padding_mask is None else padding_mask.split(texts)
    chunks = zip(query.split(texts), key.split(texts), value.split(texts), masks, strict=False)
    return torch.cat([formula(*chunk) for chunk in chunks])


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor | None
) -> Tensor:
    """Compute attention by torch's fused kernel."""
    mask = None if padding_mask is None else additive_mask(padding_mask, query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def flash_attention(query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor) -> Tensor:
    """Flash attention (Dao 2023); the tokens of a text are a sequence, its padding another."""
    from torch.nn.attention.varlen import varlen_attn  # imports the compiler

    batch, heads, length, d_k = query.shape
    starts = torch.arange(batch + 1, device=query.device) * length
    ends = starts[:-1] + (~padding_mask).sum(dim=1)
    bounds = torch.cat([torch.stack([starts[:-1], ends], dim=1).flatten(), starts[-1:]]).int()
    query, key, value = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, key, value))
    attended = varlen_attn(query, key, value, bounds, bounds, length, length)
    assert isinstance(attended, Tensor)
    return attended.view(batch, length, heads, d_k).transpose(1, 2)


def additive_mask(padding_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what to add to attention scores: 0 at tokens, -inf at padding; (B, 1, 1, T)."""
    zeros = torch.zeros_like(padding_mask, dtype=dtype)
    return zeros.masked_fill(padding_mask, -math.inf)[:, None, None, :]
