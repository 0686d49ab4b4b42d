"""The input of the encoder: vectors of words, n-grams and positions.

Shapes: B texts in a batch, T tokens in the longest text, D = d_model, V words.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from sentiformer.core.word_vectors import Vectors
from sentiformer.model.params import InputSizes, ModelParams
from sentiformer.text.ngrams import ngram_keys, ngram_numbers
from sentiformer.text.vocab import PAD


class InputEmbedding(nn.Module):
    """Token ids to vectors.

    The vectors of the token's word and of the bigram and the trigram that end at it are added, and
    multiplied by sqrt(D) (Vaswani et al. 2017, section 3.4). Then the vector of the token's
    position is added (section 3.5).
    """

    positions: Tensor  # (max_len, D)

    def __init__(self, params: ModelParams, inputs: InputSizes) -> None:
        super().__init__()
        words, d_model = inputs.vocab_size, params.d_model
        self.scale = math.sqrt(d_model)
        self.words = nn.Embedding(words, d_model, padding_idx=PAD)
        self.bigrams = NgramEmbedding(inputs.pairs, words, d_model) if inputs.pairs else None
        self.trigrams = NgramEmbedding(inputs.triples, words, d_model) if inputs.triples else None
        positions = sinusoidal_positions(params.max_len, d_model)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, token_ids: Tensor, kept: Tensor | None = None) -> Tensor:
        """(B, T) token ids to (B, T, D) vectors; for `kept` see `Encoder`."""
        vectors = self.words(_select(token_ids, kept))
        numbers = token_ids
        for ngrams in (self.bigrams, self.trigrams):
            if ngrams is not None:
                numbers = ngrams.numbers(numbers, token_ids)
                vectors = vectors + ngrams(_select(numbers, kept))
        positions = self.positions[: token_ids.shape[1]] if kept is None else self.positions[kept]
        return vectors * self.scale + positions

    @torch.no_grad()
    def load_vectors(self, vectors: Vectors) -> None:
        """Take over the vectors that stage word_vectors computed."""
        self.words.weight.copy_(torch.from_numpy(vectors.words))
        if self.bigrams is not None:
            self.bigrams.load(vectors.pair_keys, vectors.pairs)
        if self.trigrams is not None:
            self.trigrams.load(vectors.triple_keys, vectors.triples)


def _select(values: Tensor, kept: Tensor | None) -> Tensor:
    """Return the kept ones, (B, T'), of (B, T) values."""
    return values if kept is None else values.gather(1, kept)


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """Return a vector for each position, (T, D): sines in even columns, cosines in odd ones.

    Vaswani et al. 2017, section 3.5.
    """
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2).double() * (-math.log(10_000.0) / d_model))
    angles = position * frequency  # (T, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


class NgramEmbedding(nn.Embedding):
    """A vector for each known n-gram of one length (Joulin et al. 2017, on fastText).

    The first n-1 words of a known n-gram are a known n-gram too, or a word.
    """

    keys: Tensor  # of the N known n-grams, (N,) int64, sorted; see `text/ngrams.py`

    def __init__(self, count: int, vocab_size: int, d_model: int) -> None:
        super().__init__(1 + count, d_model, padding_idx=0)  # 0 is an unknown n-gram
        self.vocab_size = vocab_size
        self.register_buffer("keys", torch.full((count,), -1))  # no n-gram has this key

    def numbers(self, shorter: Tensor, token_ids: Tensor) -> Tensor:
        """Return the numbers of the n-grams that end at each token, (B, T); 0 if unknown.

        `shorter` are the numbers of the (n-1)-grams that end there; of bigrams, the token ids.
        """
        return ngram_numbers(ngram_keys(shorter, token_ids, self.vocab_size), self.keys)

    def load(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Take over the keys, (N,), and the vectors, (N, D), of the known n-grams."""
        self.keys.copy_(torch.from_numpy(keys))
        self.weight[1:] = torch.from_numpy(vectors)
