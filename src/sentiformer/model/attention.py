"""Self-attention with several heads (Vaswani et al. 2017, section 3.2).

Shapes: B texts in a batch, T tokens in the longest text, D = d_model, H heads, d_k = D / H.
`padding_mask` is (B, T) and True at padding. None means that there is no padding.
"""

import math

from torch import Tensor, nn

from sentiformer.model.attention_kernels import additive_mask, fastest_kernel


@fastest_kernel
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, padding_mask: Tensor | None
) -> Tensor:
    """softmax(Q K^T / sqrt(d_k)) V (section 3.2.1); no token attends to padding.

    Query, key, value and result are (B, H, T, d_k).
    """
    d_k = query.shape[-1]
    scores = (query / math.sqrt(d_k)) @ key.mT  # (B, H, T, T)
    if padding_mask is not None:
        scores = scores + additive_mask(padding_mask, scores.dtype)
    return scores.softmax(dim=-1) @ value


class MultiHeadAttention(nn.Module):
    """Attention in several heads, concatenated and projected (section 3.2.2)."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(d_model, 3 * d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Let every token attend to every token of its text; (B, T, D) to (B, T, D)."""
        batch, length, d_model = hidden.shape
        projected = self.query_key_value(hidden).view(batch, length, 3, self.num_heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (B, H, T, d_k)
        heads = scaled_dot_product_attention(query, key, value, padding_mask)
        return self.output(heads.transpose(1, 2).reshape(batch, length, d_model))
