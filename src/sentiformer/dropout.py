"""Dropout whose numbers cost little, and are the same however a batch is shared out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Share(NamedTuple):
    """Which texts of a batch a model is given, where others compute the rest of the batch."""

    rows: slice
    of: int


class Dropout(nn.Module):
    """Inverted dropout whose random numbers are bytes, eight from each draw.

    On a CPU drawing is what dropout costs; a probability is rounded to 1/256. For a share of a
    batch the whole batch's numbers are drawn, so that sharing it out changes no text's dropout.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropped_bytes = round(probability * 256)

    def forward(self, hidden: Tensor, share: Share | None = None) -> Tensor:
        """Drop and rescale (B, ...) while training; nothing else."""
        if not self.training or not self.dropped_bytes:
            return hidden
        rows, texts = share or Share(slice(None), len(hidden))
        numbers = texts * hidden[0].numel()
        draws = torch.empty(-(-numbers // 8), dtype=torch.int64, device=hidden.device)
        draws.random_(-(2**63), None)  # all 64 bits
        draws = draws.view(torch.uint8)[:numbers].view(texts, *hidden.shape[1:])[rows]
        kept = draws >= self.dropped_bytes
        return hidden * (kept.to(hidden.dtype) * (256 / (256 - self.dropped_bytes)))
