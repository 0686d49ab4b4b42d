"""N-grams: runs of consecutive tokens, counted text by text in sparse matrices.

An n-gram has a key, the number of the n-1 tokens that it begins with in front of the id of its
last token, so a sorted array of integers is all that a vocabulary of n-grams needs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from sentiformer.text.corpus import Corpus

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
    def learn(cls, corpus: Corpus, *, max_n: int, min_count: int) -> "tuple[Self, csr_array]":
        """The n-grams, n up to `max_n`, that stand at least `min_count` times in a corpus.

        None is more frequent than what it begins with, so what extends a rare one is not looked at.

        Returns:
            The vocabulary, and what `count` says of the corpus.
        """
        walk, known = _Walk(corpus), []
        for _ in range(max_n):
            longer = walk.longer()
            keys, counts = np.unique(longer, return_counts=True)
            known.append(keys[counts >= min_count])
            walk.keep(longer, known[-1])
        return cls(known), walk.counts()

    def __len__(self) -> int:
        return sum(map(len, self.keys))

    def count(self, corpus: Corpus) -> "csr_array":
        """How often each n-gram stands in each text: (texts, n-grams), float32."""
        walk = _Walk(corpus)
        for known in self.keys:
            walk.keep(walk.longer(), known)
        return walk.counts()


class _Walk:
    """All places of a corpus at which a known n-gram begins, for n = 0, 1, 2, … in turn.

    Attributes:
        starts: where they begin, counted in tokens from the corpus' first.
        numbers: which n-gram each is; there is one 0-gram.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._tokens = np.concatenate([np.zeros(0, dtype=np.int32), *corpus.chunks()])
        self._texts = len(corpus)
        self._text_of = np.repeat(np.arange(len(corpus), dtype=np.int32), corpus.lengths)
        self._ends = np.cumsum(corpus.lengths)
        self._rows: list[np.ndarray] = []  # of each n so far, the text of each place
        self._columns: list[np.ndarray] = []  # and the number of its n-gram among those of all n
        self._width = 0  # n-grams so far
        self.starts = np.arange(len(self._tokens))
        self.numbers = np.zeros(len(self._tokens), dtype=np.int64)

    def longer(self) -> np.ndarray:
        """The keys of all (n+1)-grams, of which none reaches into the next text."""
        ends = self.starts + len(self._rows)
        inside = ends < self._ends[self._text_of[self.starts]]
        self.starts, self.numbers = self.starts[inside], self.numbers[inside]
        return (self.numbers << 31) | self._tokens[ends[inside]]

    def keep(self, keys: np.ndarray, known: np.ndarray) -> None:
        """Go on to those of the (n+1)-grams, of these keys, that are known."""
        places = np.searchsorted(known, keys)
        hit = np.append(known, -1)[places] == keys
        self.starts, self.numbers = self.starts[hit], places[hit]
        self._rows.append(self._text_of[self.starts])
        self._columns.append((self.numbers + self._width).astype(np.int32))
        self._width += len(known)

    def counts(self) -> "csr_array":
        """How often each n-gram so far stands in each text: (texts, n-grams), float32."""
        from scipy.sparse import csr_array

        row, column = np.concatenate(self._rows), np.concatenate(self._columns)
        ones = np.ones(len(row), dtype=np.float32)
        return csr_array((ones, (row, column)), shape=(self._texts, self._width))
