"""Co-occurrence counts of words and n-grams, and their pointwise mutual information.

V is the number of words, T that of words in a row, N that of n-grams of one length.
`text/ngrams.py` defines keys and numbers of n-grams.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array

from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.text.corpus import Corpus
from sentiformer.text.ngrams import ngram_keys, ngram_numbers

CHUNK_TOKENS = 4_000_000
SMOOTHING = 0.75  # exponent of a context word's frequency; it gives rare words less weight


@dataclass(frozen=True)
class WordStream:
    """The words of some corpora; it can be iterated several times."""

    paths: list[Path]
    ids_of_types: np.ndarray  # maps a type id to its word id
    vocab_size: int
    window: int  # largest distance of two words that co-occur

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the word ids of whole texts, about `CHUNK_TOKENS` at a time, (T,) int64.

        Unknown words are 0. A gap of `window` zeros is before, between and after the texts, so that
        nothing is counted across the end of a text.

        Raises:
            UserError: a file is missing or corrupt.
        """
        ids = np.where(self.ids_of_types < len(SPECIAL_TOKENS), 0, self.ids_of_types)
        gap = np.zeros(self.window, dtype=np.int64)
        for path in self.paths:
            corpus = Corpus(path, types=len(ids))
            chunk = np.cumsum(corpus.lengths) // CHUNK_TOKENS
            for rows in np.split(np.arange(len(corpus)), np.flatnonzero(np.diff(chunk)) + 1):
                texts = (ids[corpus[row]] for row in rows.tolist())
                yield np.concatenate([part for text in texts for part in (gap, text)] + [gap])


def count_words_near_words(stream: WordStream) -> csr_array:
    """Count how often two known words are at most a window apart: (V, V), symmetric, float32.

    Two words at a distance of n tokens count 1/n (Pennington et al. 2014, section 4.2).
    """
    total = csr_array((stream.vocab_size, stream.vocab_size), dtype=np.float32)
    for words in stream:
        known = words > 0
        for distance in range(1, stream.window + 1):
            places = np.flatnonzero(known[:-distance] & known[distance:])
            total += _counts(words[places], words[places + distance], distance, total.shape)
    return (total + total.T).tocsr()


def frequent_ngrams(
    stream: WordStream, limit: int, shorter: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Return the sorted keys of the `limit` most frequent n-grams, (N,) with N at most `limit`.

    N-grams that occur once are left out. If n-grams at the limit are equally frequent, those with
    smaller keys are kept. The result is sorted by key.
    `shorter` has the sorted keys of the known bigrams and so on, up to n-1; an n-gram is counted
    only if its first n-1 words are known.
    """
    keys, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for words in stream if limit else ():
        new_keys, new_counts = np.unique(_keys(words, stream, shorter), return_counts=True)
        keys, places = np.unique(np.concatenate([keys, new_keys]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([counts, new_counts])).astype(np.int64)
    frequent = np.flatnonzero((counts > 1) & (keys > 0))
    return np.sort(keys[frequent[np.argsort(-counts[frequent], kind="stable")[:limit]]])


def count_words_near_ngrams(
    stream: WordStream, keys: np.ndarray, shorter: Sequence[np.ndarray] = ()
) -> csr_array:
    """Count how often words are at most a window away from either end of n-grams: (N, V), float32.

    `keys` are the sorted keys of the n-grams, (N,), N > 0; for `shorter` see `frequent_ngrams`.
    """
    total = csr_array((len(keys), stream.vocab_size), dtype=np.float32)
    length = len(shorter) + 2
    for words in stream:
        known, found = words > 0, _keys(words, stream, shorter)
        ends = np.flatnonzero((found >= keys[0]) & (found <= keys[-1]))  # a fast first selection
        numbers = ngram_numbers(found[ends], keys)
        ends, rows = ends[numbers > 0], numbers[numbers > 0] - 1
        for distance in range(1, stream.window + 1):
            for places in (ends + distance, ends - length + 1 - distance):
                near = known[places]
                total += _counts(rows[near], words[places[near]], distance, total.shape)
    return total


def _keys(words: np.ndarray, stream: WordStream, shorter: Sequence[np.ndarray]) -> np.ndarray:
    """Return the keys of the n-grams that end at each word, (T,)."""
    numbers = words
    for known in shorter:
        numbers = ngram_numbers(ngram_keys(numbers, words, stream.vocab_size), known)
    return ngram_keys(numbers, words, stream.vocab_size)


def _counts(
    rows: np.ndarray, columns: np.ndarray, distance: int, shape: tuple[int, int]
) -> csr_array:
    """Return a matrix in which each pair of row and column adds 1 / distance."""
    weights = np.full(len(rows), 1 / distance, dtype=np.float32)
    return coo_array((weights, (rows, columns)), shape=shape).tocsr()


def context_probabilities(counts: csr_array) -> np.ndarray:
    """Return the smoothed P(context) of each word, (V,) float64 (Levy et al. 2015, section 3.1)."""
    smoothed = counts.sum(axis=0, dtype=np.float64) ** SMOOTHING
    return smoothed / smoothed.sum()


def positive_pmi(counts: csr_array, probabilities: np.ndarray) -> csr_array:
    """Return log(P(row, context) / (P(row) P(context))), (N, V), where it is positive.

    `counts` are co-occurrence counts, (N, V), and `probabilities` P(context), (V,).
    """
    counted = counts.tocoo()
    expected = counts.sum(axis=1, dtype=np.float64)[counted.row] * probabilities[counted.col]
    values = np.log(counted.data / expected).astype(np.float32)
    kept = values > 0
    places = (counted.row[kept], counted.col[kept])
    return csr_array((values[kept], places), shape=counts.shape)
