"""N-grams of the baselines: learned from train, and counted in each text.

The words are the types that occur at least `MIN_COUNT` times in train, in the order of their ids.
`text/ngrams.py` defines keys and numbers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sentiformer.text.corpus import Corpus
from sentiformer.text.ngrams import ngram_keys, ngram_numbers

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MIN_COUNT = 2  # occurrences in train of an n-gram that is kept


def learn_ngrams(corpus: Corpus, max_n: int) -> tuple[list[np.ndarray], "csr_array"]:
    """Find the n-grams, n = 1 to `max_n`, that occur at least `MIN_COUNT` times in a corpus.

    An n-gram is never more frequent than its first n-1 words, so extensions of rare n-grams are
    not counted.

    Returns:
        The sorted keys for each n, and the counts of `count_ngrams` for this corpus.
    """
    return _count(corpus, [None] * max_n)


def count_ngrams(corpus: Corpus, known: Sequence[np.ndarray]) -> "csr_array":
    """Count known n-grams in each text: (texts, n-grams), float32.

    `known` has the sorted keys for n = 1, 2, .... Columns are in the order of the keys.
    """
    return _count(corpus, known)[1]


def _count(
    corpus: Corpus, known: Sequence[np.ndarray | None]
) -> tuple[list[np.ndarray], "csr_array"]:
    """Count n-grams in each text; where `known` has no keys for an n, learn them from the texts."""
    from scipy.sparse import csr_array

    # Words are type ids plus 1, with a 0 before each text.
    type_ids = np.concatenate([np.zeros(0, dtype=np.int64), *corpus.chunks()])
    keys = words = np.insert(type_ids + 1, np.cumsum(corpus.lengths) - corpus.lengths, 0)
    text_of = np.repeat(np.arange(len(corpus), dtype=np.int32), corpus.lengths + 1)
    vocabulary: list[np.ndarray] = []
    rows, columns, width = [], [], 0
    for known_keys in known:
        if known_keys is None:
            distinct, counts = np.unique(keys, return_counts=True)
            known_keys = distinct[(counts >= MIN_COUNT) & (distinct > 0)]
        numbers = ngram_numbers(keys, known_keys)
        words = words if vocabulary else numbers
        vocabulary.append(known_keys)
        ends = np.flatnonzero(numbers)
        rows.append(text_of[ends])
        columns.append((numbers[ends] - 1 + width).astype(np.int32))
        width += len(known_keys)
        keys = ngram_keys(numbers, words, 1 + len(vocabulary[0]))
    row, column = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(len(row), dtype=np.float32)
    return vocabulary, csr_array((ones, (row, column)), shape=(len(corpus), width))
