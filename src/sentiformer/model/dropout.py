"""Dropout of activations, and of whole tokens.

A training step may compute a batch in parts: in several processes, or one part after another when
memory is short. A text's dropout must not depend on that. Each part therefore starts with the same
seed, draws the random numbers of the whole batch, and uses those of its own rows. The step tells
dropout about its part by the context `part_of_batch`. Without that context the batch is whole.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from sentiformer.model.attention_kernels import LENGTH_MULTIPLE

_part: ContextVar[tuple[slice, int] | None] = ContextVar("part_of_batch", default=None)


@contextmanager
def part_of_batch(rows: slice, batch_size: int) -> Iterator[None]:
    """Declare that the model is given only some rows of a batch of `batch_size` texts.

    The context holds for the current thread. A CUDA graph keeps the part that it was recorded with.
    """
    token = _part.set((rows, batch_size))
    try:
        yield
    finally:
        _part.reset(token)


class Dropout(nn.Module):
    """Inverted dropout that compares random bytes with the probability.

    On a CPU the random numbers take most of the time of dropout. One random 64-bit integer serves
    eight activations. The probability is rounded to a multiple of 1/256, at most 255/256.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropped_bytes = min(255, round(probability * 256))

    def forward(self, hidden: Tensor) -> Tensor:
        """In training, set some values of `hidden`, (B, ...), to 0 and scale the others.

        In evaluation, return `hidden` unchanged.
        """
        if not self.training or not self.dropped_bytes:
            return hidden
        rows, batch_size = _part.get() or (slice(None), len(hidden))
        count = batch_size * hidden[0].numel()
        integers = torch.empty(-(-count // 8), dtype=torch.int64, device=hidden.device)
        integers.random_(-(2**63), None)  # all 64 bits
        draws = integers.view(torch.uint8)[:count].view(batch_size, *hidden.shape[1:])[rows]
        kept = draws >= self.dropped_bytes
        return hidden * (kept.to(hidden.dtype) * (256 / (256 - self.dropped_bytes)))


class TokenDropout(nn.Module):
    """In training leave out some tokens of each text, chosen at random, to make a step faster.

    The tokens that are kept keep their positions and n-grams. Each text keeps the same fraction of
    its tokens, rounded up so that the longest text has a multiple of `LENGTH_MULTIPLE` tokens.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.kept_fraction = 1 - probability

    def forward(
        self, token_ids: Tensor, padding_mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Choose the tokens to keep of (B, T) token ids; for `padding_mask` see `Encoder`.

        Returns:
            The indices of the kept tokens, (B, T'), or None if all are kept; and the padding mask
            of the kept tokens, (B, T'), or None if there is no padding.
        """
        if not self.training or self.kept_fraction == 1:
            return None, padding_mask
        rows, batch_size = _part.get() or (slice(None), len(token_ids))
        length, device = token_ids.shape[1], token_ids.device
        multiples = math.ceil(length * self.kept_fraction / LENGTH_MULTIPLE)
        width = min(length, multiples * LENGTH_MULTIPLE)
        draws = torch.rand(batch_size, length, device=device)[rows]
        if padding_mask is not None:
            draws = draws.masked_fill(padding_mask, 1.0)
            lengths = ((~padding_mask).sum(dim=1, keepdim=True) * width + length - 1) // length
            padding_mask = torch.arange(width, device=device) >= lengths
        return draws.argsort(dim=1, stable=True)[:, :width], padding_mask
