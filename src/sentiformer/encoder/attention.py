"""The attention of `model/attention.py` inside encoders of the `transformers` library.

Models that choose their attention by name compute ours under the name `ATTENTION`. Others, such as
MPNet and DeBERTa, keep their own.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

from sentiformer.model.attention import scaled_dot_product_attention

ATTENTION = "sentiformer"


def padding_of(
    *, attention_mask: Tensor | None, mask_function: Any, **kwargs: Any
) -> Tensor | None:
    """The mask that a model passes to `attend`: (B, T) bool, True at padding, or None without any.

    In layers with windows it is (B, 1, T, T) bool, True where a token attends to another.
    """
    if mask_function is bidirectional_mask_function:
        return None if attention_mask is None else ~attention_mask.bool()
    return sdpa_mask(attention_mask=attention_mask, mask_function=mask_function, **kwargs)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of (B, H, T, d_k) tensors; the result is (B, T, H, d_k), without weights.

    Attention weights have no dropout.
    """
    d_k = query.shape[-1]
    if scaling is not None and scaling != d_k**-0.5:
        query = query * (scaling * d_k**0.5)
    if attention_mask is None or attention_mask.dim() == 2:
        attended = scaled_dot_product_attention(query, key, value, attention_mask)
    else:
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
    return attended.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, padding_of)
