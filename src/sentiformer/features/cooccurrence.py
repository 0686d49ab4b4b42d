"""What company words keep, and n-grams of them: counted, and as mutual information.

Texts stand one after another in an array, before, between and after them a gap of unknown words as
wide as the window, so that nothing reaches over an end. V words; a pair's key is its first word
times V, plus its second; a triple's is the number of a known pair times V, plus its third word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.text.corpus import Corpus
from sentiformer.text.vocab import UNKNOWN

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CHUNK_TOKENS = 4_000_000
SMOOTHING = 0.75  # exponent of a context's frequency; a rare context then says less


@dataclass(frozen=True)
class Texts:
    """The texts of some splits as words, to be gone through again and again.

    Attributes:
        paths: the corpora.
        ids_of_types: maps a type id to its vocabulary id.
        size: V.
        window: tokens on each side that are a word's company.
    """

    paths: list[Path]
    ids_of_types: np.ndarray
    size: int
    window: int

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield int32 words of whole texts, some `CHUNK_TOKENS` tokens at a time.

        Raises:
            UserError: a file is missing or corrupt.
        """
        gap = np.full(self.window, UNKNOWN, dtype=np.int32)
        for path in self.paths:
            corpus = Corpus(path, types=len(self.ids_of_types))
            starts = np.cumsum(corpus.lengths) // CHUNK_TOKENS
            for rows in np.split(np.arange(len(corpus)), np.flatnonzero(np.diff(starts)) + 1):
                texts = (self.ids_of_types[corpus[row]] for row in rows.tolist())
                yield np.concatenate([part for text in texts for part in (gap, text)] + [gap])


def company_of_words(texts: Texts) -> "csr_array":
    """How often two words stand at most a window apart: (V, V), symmetric, float32.

    A pair at a distance of n tokens counts 1/n (Pennington et al. 2014, section 4.2). Specials,
    which is to say unknown words, have no company.
    """
    total = _nothing((texts.size, texts.size))
    for words in texts:
        known = words >= len(SPECIAL_TOKENS)
        for distance in range(1, texts.window + 1):
            places = np.flatnonzero(known[:-distance] & known[distance:])
            total += _counts(words[places], words[places + distance], distance, total.shape)
    return (total + total.T).tocsr()


def frequent_ngrams(texts: Texts, limit: int, shorter: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The rising int64 keys of the `limit` most frequent n-grams, N at most; see `ngram_keys`.

    One that stands once is none; of equally frequent ones the smaller key comes first.
    """
    keys, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for words in texts if limit else ():
        more, of_more = np.unique(ngram_keys(words, texts.size, shorter), return_counts=True)
        keys, places = np.unique(np.concatenate([keys, more]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([counts, of_more])).astype(np.int64)
        keys, counts = keys[keys >= 0], counts[keys >= 0]
    kept = np.flatnonzero(counts > 1)
    return np.sort(keys[kept[np.argsort(-counts[kept], kind="stable")[:limit]]])


def company_of_ngrams(
    texts: Texts, keys: np.ndarray, shorter: Sequence[np.ndarray] = ()
) -> "csr_array":
    """How often words stand at most a window away from either end of some n-grams: (N, V)."""
    total = _nothing((len(keys), texts.size))
    reach = len(shorter) + 1  # from an n-gram's end to its beginning
    for words in texts:
        known, found = words >= len(SPECIAL_TOKENS), ngram_keys(words, texts.size, shorter)
        ends = np.flatnonzero((found >= keys[0]) & (found <= keys[-1]))
        numbers = np.searchsorted(keys, found[ends])
        hit = keys[numbers] == found[ends]
        numbers, ends = numbers[hit], ends[hit]
        for distance in range(1, texts.window + 1):
            for places in (ends + distance, ends - reach - distance):
                beside = known[places]
                company = words[places[beside]]
                total += _counts(numbers[beside], company, distance, total.shape)
    return total


def ngram_keys(words: np.ndarray, size: int, shorter: Sequence[np.ndarray]) -> np.ndarray:
    """(T,) int64 keys of the n-gram that each word ends; -1 where a part of it is unknown.

    `shorter` are the keys of the known pairs, triples and so on that it goes on from: of pairs,
    which go on from words, none.
    """
    known = words >= len(SPECIAL_TOKENS)
    numbers = np.where(known, words, 0).astype(np.int64)  # of what each word ends; 0: unknown
    if shorter:
        *before, of_known = shorter
        found = ngram_keys(words, size, before)
        places = np.searchsorted(of_known, found)
        numbers = np.where(np.append(of_known, -2)[places] == found, places + 1, 0)
    keys = np.full(len(words), -1, dtype=np.int64)
    keys[1:] = np.where((numbers[:-1] > 0) & known[1:], numbers[:-1] * size + words[1:], -1)
    return keys


def _nothing(shape: tuple[int, int]) -> "csr_array":
    from scipy.sparse import csr_array

    return csr_array(shape, dtype=np.float32)


def _counts(
    rows: np.ndarray, columns: np.ndarray, distance: int, shape: tuple[int, int]
) -> "csr_array":
    """A matrix with 1 / distance added at each row and column."""
    from scipy.sparse import coo_array

    weights = np.full(len(rows), 1 / distance, dtype=np.float32)
    return coo_array((weights, (rows, columns)), shape=shape).tocsr()


def context_chances(company: "csr_array") -> np.ndarray:
    """(V,) how likely a word is as context, its count smoothed (Levy et al. 2015, section 3.1)."""
    chances = company.sum(axis=0, dtype=np.float64) ** SMOOTHING
    return chances / chances.sum()


def positive_pmi(company: "csr_array", chances: np.ndarray) -> "csr_array":
    """The pointwise mutual information of rows and contexts where it is positive.

    log(P(w, c) / (P(w) P(c))), with P(c) as given.
    """
    from scipy.sparse import csr_array

    pairs = company.tocoo()
    expected = company.sum(axis=1, dtype=np.float64)[pairs.row] * chances[pairs.col]
    values = np.log(pairs.data / expected).astype(np.float32)
    kept = values > 0
    place = (pairs.row[kept], pairs.col[kept])
    return csr_array((values[kept], place), shape=company.shape)
