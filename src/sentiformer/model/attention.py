"""Scaled dot-product self-attention in several heads (Vaswani et al. 2017, section 3.2).

Shapes: B texts in a batch, T tokens in the longest, D = d_model, H heads, K = D / H.
`padding_mask` is (B, T), True where there is padding; None where there is none.
"""

import math
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LENGTH_MULTIPLE = 8  # of batches; attention kernels need it, and fewer shapes take less memory
LONGEST_WRITTEN_OUT = 1024  # tokens up to which a CPU does without torch's fused kernel
SCORES_AT_ONCE = 2**21  # about what a CPU's cache holds


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor | None
) -> Tensor:
    """softmax(Q K^T / sqrt(K)) V, each (B, H, T, K); padding is never attended to (section 3.2.1).

    On a CPU a few texts at a time, so that their scores do not leave the cache. For very long
    texts, where layers are compiled, and in fp32 without gradients, torch's fused kernel computes
    the same, there in less time; on a GPU in bf16 flash attention (Dao 2023).
    """
    if padding_mask is not None and query.is_cuda and query.dtype == torch.bfloat16:
        return _flash_attention(query, key, value, padding_mask)
    bias = None
    if padding_mask is not None:
        bias = query.new_zeros(padding_mask.shape).masked_fill(padding_mask, -math.inf)
        bias = bias[:, None, None, :]
    if not _is_written_out(query):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    heads, length = query.shape[1:3]
    few = max(1, SCORES_AT_ONCE // (heads * length**2))  # texts
    biases = repeat(None) if bias is None else bias.split(few)
    parts = zip(query.split(few), key.split(few), value.split(few), biases, strict=False)
    return torch.cat([_attend(*part) for part in parts])


def _is_written_out(query: Tensor) -> bool:
    """Whether torch's fused kernel is slower: its backward pass is, and so is all of it in bf16."""
    if not query.is_cpu or torch.compiler.is_compiling():
        return False
    slower = torch.is_grad_enabled() or query.dtype == torch.bfloat16
    return slower and query.shape[2] <= LONGEST_WRITTEN_OUT


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    scores = (query / math.sqrt(query.shape[3])) @ key.mT  # (B, H, T, T)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ value


def _flash_attention(query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor) -> Tensor:
    """Attention within sequences of unlike length: each text is one, and its padding another."""
    from torch.nn.attention.varlen import varlen_attn  # imports the compiler

    batch, heads, length, width = query.shape
    edges = torch.arange(batch + 1, device=query.device) * length
    ends = edges[:-1] + (~padding_mask).sum(dim=1)
    bounds = torch.cat([torch.stack([edges[:-1], ends], dim=1).flatten(), edges[-1:]]).int()
    query, key, value = (of.transpose(1, 2).flatten(0, 1) for of in (query, key, value))
    attended = varlen_attn(query, key, value, bounds, bounds, length, length)
    assert isinstance(attended, Tensor)
    return attended.view(batch, length, heads, width).transpose(1, 2)


class MultiHeadAttention(nn.Module):
    """Split into heads, attend in each, concatenate, project (section 3.2.2)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Attend from every token to every token of its text; (B, T, D) to (B, T, D)."""
        batch, length, d_model = hidden.shape
        split = self.query_key_value(hidden).view(batch, length, 3, self.num_heads, -1)
        query, key, value = (of.transpose(1, 2) for of in split.unbind(2))  # each (B, H, T, K)
        heads = scaled_dot_product_attention(query, key, value, padding_mask)
        return self.output(heads.transpose(1, 2).reshape(batch, length, d_model))
