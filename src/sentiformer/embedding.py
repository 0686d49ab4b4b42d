"""What an encoder begins with: the table of positions, and vectors for pairs of words.

Shapes: B texts in a batch, T tokens in the longest, D = d_model.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.vocab import PAD


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """The (T, D) table of positions: sines in even columns, cosines in odd (section 3.5)."""
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2).double() * (-math.log(10_000.0) / d_model))
    angles = position * frequency  # (T, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class PairEmbedding(nn.Module):
    """A vector for each known pair of consecutive words, as fastText has (Joulin et al. 2017).

    Args:
        pairs: how many are known, N.
        vocab_size: words, V.
        d_model: D.
    """

    keys: Tensor  # (N,) rising: a pair's first word times V, plus its second

    def __init__(self, pairs: int, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.register_buffer("keys", torch.arange(pairs))
        self.embedding = nn.Embedding(1 + pairs, d_model, padding_idx=PAD)  # 0: an unknown pair

    def forward(self, token_ids: Tensor, kept: Tensor | None = None) -> Tensor:
        """(B, T) to (B, T, D), at each token for the pair that it ends; 0 for an unknown one.

        Where not all places are kept, but some, (B, T'), the result is of those.
        """
        found = token_ids[:, :-1] * self.vocab_size + token_ids[:, 1:]
        places = torch.searchsorted(self.keys, found).clamp_max(len(self.keys) - 1)
        numbers = F.pad((places + 1).where(self.keys[places] == found, 0), (1, 0))
        return self.embedding(numbers if kept is None else numbers.gather(1, kept))
