"""Dropout, of numbers and of whole tokens, that is the same however a batch is shared out."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sentiformer.model.attention import LENGTH_MULTIPLE


class Share(NamedTuple):
    """Which texts of a batch a model is given, where others compute the rest of the batch."""

    rows: slice
    of: int


class Dropout(nn.Module):
    """Inverted dropout whose random numbers are bytes, eight from each draw.

    On a CPU drawing is what dropout costs; a probability is rounded to 1/256, 255 of them at most.
    For a share of a batch the whole batch's numbers are drawn, so that sharing it out changes no
    text's dropout.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropped_bytes = min(255, round(probability * 256))

    def forward(self, hidden: Tensor, share: Share | None = None) -> Tensor:
        """Drop and rescale (B, ...) while training; nothing else."""
        if not self.training or not self.dropped_bytes:
            return hidden
        rows, texts = share or Share(slice(None), len(hidden))
        if torch.compiler.is_compiling():  # which draws where it drops
            draws = torch.rand(texts, *hidden.shape[1:], device=hidden.device)[rows]
            return self._dropped(hidden, draws * 256)
        numbers = texts * hidden[0].numel()
        draws = torch.empty(-(-numbers // 8), dtype=torch.int64, device=hidden.device)
        draws.random_(-(2**63), None)  # all 64 bits
        draws = draws.view(torch.uint8)[:numbers].view(texts, *hidden.shape[1:])[rows]
        return self._dropped(hidden, draws)

    def _dropped(self, hidden: Tensor, draws: Tensor) -> Tensor:
        kept = draws >= self.dropped_bytes
        return hidden * (kept.to(hidden.dtype) * (256 / (256 - self.dropped_bytes)))


class TokenDropout(nn.Module):
    """Leaves some of each text's tokens out while training, which then takes less time.

    Chance decides; those that are kept keep their positions, and each text the same share of its
    tokens, rounded up so that the longest has a multiple of `LENGTH_MULTIPLE`.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.kept_fraction = 1 - probability

    def forward(
        self, token_ids: Tensor, padding_mask: Tensor | None, share: Share | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Which of (B, T) places are kept, (B, T'), and which of those are padding.

        None for the places stands for all of them, None for the padding for no padding.
        """
        if not self.training or self.kept_fraction == 1:
            return None, padding_mask
        rows, texts = share or Share(slice(None), len(token_ids))
        length, device = token_ids.shape[1], token_ids.device
        multiples = math.ceil(length * self.kept_fraction / LENGTH_MULTIPLE)
        width = min(length, multiples * LENGTH_MULTIPLE)
        draws = torch.rand(texts, length, device=device)[rows]
        if padding_mask is None:
            return draws.argsort(dim=1, stable=True)[:, :width], None
        kept = draws.masked_fill(padding_mask, 1.0).argsort(dim=1, stable=True)[:, :width]
        lengths = ((~padding_mask).sum(dim=1, keepdim=True) * width + length - 1) // length
        return kept, torch.arange(width, device=device) >= lengths
