"""N-grams: runs of consecutive tokens, counted text by text in sparse matrices.

An n-gram has a key, the number of the n-1 tokens that it begins with in front of the id of its
last token, so a sorted array of integers is all that a vocabulary of n-grams needs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from sentiformer.corpus import Corpus

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class NGrams:
    """A vocabulary of n-grams.

    Attributes:
        keys: of each length n = 1, 2, …, the known keys in rising order; an n-gram's place there
            is its number.
    """

    keys: list[np.ndarray]

    @classmethod
    def learn(cls, corpus: Corpus, *, max_n: int, min_count: int) -> Self:
        """The n-grams, n up to `max_n`, that stand at least `min_count` times in a corpus.

        None is more frequent than what it begins with, so what extends a rare one is not looked at.
        """
        walk, known = _Walk(corpus), []
        for _ in range(max_n):
            keys, counts = np.unique(walk.keys(), return_counts=True)
            known.append(keys[counts >= min_count])
            walk.keep(known[-1])
        return cls(known)

    def __len__(self) -> int:
        return sum(map(len, self.keys))

    def count(self, corpus: Corpus) -> "csr_array":
        """How often each n-gram stands in each text: (texts, n-grams), float32."""
        from scipy.sparse import csr_array

        walk, text_of = _Walk(corpus), np.repeat(np.arange(len(corpus)), corpus.lengths)
        rows, columns, width = [], [], 0
        for known in self.keys:
            walk.keep(known)
            rows.append(text_of[walk.starts].astype(np.int32))
            columns.append((walk.numbers + width).astype(np.int32))
            width += len(known)
        row, column = np.concatenate(rows), np.concatenate(columns)
        ones = np.ones(len(row), dtype=np.float32)
        return csr_array((ones, (row, column)), shape=(len(corpus), width))


class _Walk:
    """All places of a corpus at which a known n-gram begins, for n = 0, 1, 2, … in turn.

    Attributes:
        starts: where they begin, counted in tokens from the corpus' first.
        numbers: which n-gram each is; there is one 0-gram.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._tokens = np.concatenate([np.zeros(0, dtype=np.int32), *corpus.chunks()])
        self._ends = np.repeat(np.cumsum(corpus.lengths), corpus.lengths)  # of each token's text
        self._n = 0
        self.starts = np.arange(len(self._tokens))
        self.numbers = np.zeros(len(self._tokens), dtype=np.int64)

    def keys(self) -> np.ndarray:
        """The keys of all (n+1)-grams, of which none reaches into the next text."""
        inside = self.starts + self._n < self._ends[self.starts]
        self.starts, self.numbers = self.starts[inside], self.numbers[inside]
        return (self.numbers << 31) | self._tokens[self.starts + self._n]

    def keep(self, known: np.ndarray) -> None:
        """Go on to the (n+1)-grams whose keys are known."""
        keys = self.keys()
        places = np.searchsorted(known, keys)
        hit = np.append(known, -1)[places] == keys
        self.starts, self.numbers = self.starts[hit], places[hit]
        self._n += 1
