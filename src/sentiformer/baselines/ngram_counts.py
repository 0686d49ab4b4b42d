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


def count_ngrams(
    corpus: Corpus, known: Sequence[np.ndarray | None]
) -> tuple[list[np.ndarray], "csr_array"]:
    """Count n-grams, n = 1, 2, ..., in each text of a corpus.

    `known` has the sorted keys for each n. Where it has None, they are learned from the corpus: all
    that occur at least `MIN_COUNT` times. An n-gram is never more frequent than its first n-1
    words, so extensions of rare n-grams are not counted.

    Returns:
        The sorted keys for each n, and the counts, (texts, n-grams) float32, in their order.
    """
    from scipy.sparse import csr_array

    type_ids = np.concatenate([np.zeros(0, dtype=np.int64), *corpus.chunks()])
    vocabulary, rows, columns = find_ngrams(type_ids + 1, corpus.lengths, known)
    ones, shape = np.ones(len(rows), dtype=np.float32), (len(corpus), sum(map(len, vocabulary)))
    return vocabulary, csr_array((ones, (rows, columns)), shape=shape)


def find_ngrams(
    words: np.ndarray, lengths: np.ndarray, known: Sequence[np.ndarray | None]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Find n-grams in texts; where `known` has no keys for an n, learn them from the texts.

    `words` are the numbers of all words, concatenated, int64; `lengths`, (N,), those of each text.
    Returned are the keys for each n, and the text and the column of each n-gram that occurs.
    """
    keys = words = np.insert(words, np.cumsum(lengths) - lengths, 0)  # a 0 before each text
    text_of = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths + 1)
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
    return vocabulary, np.concatenate(rows), np.concatenate(columns)
