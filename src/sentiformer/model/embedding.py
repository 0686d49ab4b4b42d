"""What an encoder begins with: positions, and vectors for n-grams and regions of words.

Shapes: B texts in a batch, T tokens in the longest, D = d_model.
"""

import math

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.text.vocab import PAD

REACH = 2  # tokens on each side of the one that a region is around
REGION_SCALE = 0.3  # of a region beside its words


class InputSizes(BaseModel):
    """What has a vector at an encoder's input.

    Attributes:
        vocab_size: words, the specials included, V.
        pairs: pairs of words that have a vector of their own.
        triples: triples of words that have one; none without pairs.
        regions: width of the fixed vectors of the words around a token, if there are any.
    """

    vocab_size: int
    pairs: int = 0
    triples: int = 0
    regions: int = 0


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """The (T, D) table of positions: sines in even columns, cosines in odd (section 3.5)."""
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2).double() * (-math.log(10_000.0) / d_model))
    angles = position * frequency  # (T, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class NgramEmbedding(nn.Module):
    """A vector for each known n-gram of one length, as fastText has (Joulin et al. 2017).

    An n-gram goes on from a known one that is a word shorter: a pair from a word, a triple from a
    pair.

    Args:
        known: how many are known, N.
        vocab_size: words, V.
        d_model: D.
    """

    keys: Tensor  # (N,) rising: the number of what the n-gram goes on from times V, plus its word

    def __init__(self, known: int, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.register_buffer("keys", torch.arange(known))
        self.embedding = nn.Embedding(1 + known, d_model, padding_idx=PAD)  # 0: an unknown one

    def numbers(self, shorter: Tensor, token_ids: Tensor) -> Tensor:
        """(B, T) numbers of the n-grams that the tokens end, from 1 on; 0 for an unknown one.

        `shorter` are those of the n-grams a word shorter: of pairs, the token ids themselves.
        """
        found = shorter[:, :-1] * self.vocab_size + token_ids[:, 1:]
        places = torch.searchsorted(self.keys, found).clamp_max(len(self.keys) - 1)
        return F.pad((places + 1).where(self.keys[places] == found, 0), (1, 0))

    def forward(self, numbers: Tensor, kept: Tensor | None = None) -> Tensor:
        """(B, T) numbers to (B, T, D) vectors, 0 for the number 0.

        Where not all places are kept, but some, (B, T'), the result is of those.
        """
        return self.embedding(numbers if kept is None else numbers.gather(1, kept))


class RegionEmbedding(nn.Module):
    """A vector for the five words around each token (Johnson & Zhang 2015, section 3).

    What each word adds to it is fixed; what is learnt is what becomes of the sum.

    Args:
        vocab_size: words, V.
        width: of the fixed vectors, R.
        d_model: D.
    """

    vectors: Tensor  # (V, R), of padding 0

    def __init__(self, vocab_size: int, width: int, d_model: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(vocab_size, width))
        self.project = nn.Linear(width, d_model)
        self.length = REGION_SCALE * math.sqrt(width)

    def forward(self, token_ids: Tensor, kept: Tensor | None = None) -> Tensor:
        """(B, T) token ids to (B, T, D) vectors.

        Where not all places are kept, but some, (B, T'), the result is of those.
        """
        around = F.pad(token_ids, (REACH, REACH), value=PAD).unfold(1, 2 * REACH + 1, 1)
        if kept is not None:
            around = around.gather(1, kept.unsqueeze(-1).expand(-1, -1, 2 * REACH + 1))
        total = F.embedding_bag(around.flatten(0, 1), self.vectors, mode="sum")
        regions = self.length * F.normalize(F.relu(total), dim=-1)
        return self.project(regions.unflatten(0, around.shape[:2]))
