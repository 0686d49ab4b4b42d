"""Initial vectors of words, bigrams and trigrams, from their co-occurrence with words.

word2vec's gradient steps factorize, up to a constant, the matrix of the pointwise mutual
information (PMI) of words and their context words (Levy & Goldberg 2014). The matrix can be counted
and its largest singular vectors computed in seconds. A frequent bigram, such as "not good", has
context words of its own, and so has a trigram, such as "not very good"; the same factorization
gives them vectors in the space of the words. Labels are never read.
"""

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from sentiformer.console.output import say
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, write_json
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.process import ordered_map
from sentiformer.core.word_vectors import STAGE, Vectors, write_word_vectors
from sentiformer.features.cooccurrence import (
    WordStream,
    context_probabilities,
    count_words_near_ngrams,
    count_words_near_words,
    frequent_ngrams,
    positive_pmi,
)
from sentiformer.features.params import WordVectorsParams
from sentiformer.text.corpus import read_types
from sentiformer.text.vocab import Vocab

POWER_ITERATIONS = 2  # of the randomized factorization
ZERO = 1e-5  # a singular value below this share of the largest is 0 except for rounding
NGRAM_SCALE = 0.5  # the model adds an n-gram's vector to that of its last word
BLOCK_NGRAMS = 10_000  # number of n-grams with counts in memory at a time


def fit_word_vectors(
    params: WordVectorsParams, d_model: int, *, data: Path, folder: Path, workers: int = 1
) -> None:
    """Write vectors to `folder`, and `config.json` with the numbers of bigrams and trigrams.

    `data` has the results of earlier stages. With a window of 0 only `config.json` is written.
    Without bigrams there are no trigrams. The files do not depend on the number of `workers`.

    Raises:
        UserError: an input is missing or corrupt, or no two words co-occur.
    """
    tokens = data / "tokens"
    splits = read_json(tokens / "corpus.json", made_by="tokenize")["splits"]
    config = {"params": {STAGE: params.model_dump()}, "pairs": 0, "triples": 0}
    if not params.window:
        write_json(folder / "config.json", config)
        say("word_vectors.window is 0: the initial vectors of words are random")
        return
    vocab = Vocab.load(data / "vocab" / "vocab.txt")
    paths = [tokens / f"{split}.arrow" for split in PRETRAINING_SPLITS if split in splits]
    stream = WordStream(paths, vocab.encode(read_types(tokens)), len(vocab), params.window)
    vectors = make_vectors(stream, params, d_model, workers=workers)
    write_word_vectors(folder, vectors)
    counts = {"pairs": len(vectors.pairs), "triples": len(vectors.triples)}
    write_json(folder / "config.json", config | counts)
    shown = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    say(f"{len(vocab):,} words, {shown}; {d_model} dimensions")


def make_vectors(
    stream: WordStream, params: WordVectorsParams, d_model: int, *, workers: int = 1
) -> Vectors:
    """Compute the vectors of all words, and of the most frequent bigrams and trigrams.

    If there are fewer words than dimensions, the remaining numbers of each vector are 0.

    Raises:
        UserError: no two words co-occur.
    """
    dimensions = min(d_model, stream.vocab_size)
    space = _Space(stream, dimensions)

    def vectors(keys: np.ndarray, *shorter: np.ndarray) -> np.ndarray:
        def block_vectors(block: np.ndarray) -> np.ndarray:
            return NGRAM_SCALE * space.project(count_words_near_ngrams(stream, block, shorter))

        starts = range(0, len(keys), BLOCK_NGRAMS)
        blocks = (keys[start : start + BLOCK_NGRAMS] for start in starts)
        empty = np.zeros((0, dimensions), dtype=np.float32)
        return np.concatenate([empty, *ordered_map(block_vectors, blocks, workers=workers)])

    pair_keys = frequent_ngrams(stream, params.pairs)
    pairs = vectors(pair_keys)
    triple_keys = frequent_ngrams(stream, params.triples, [pair_keys])
    triples = vectors(triple_keys, pair_keys)
    words, pairs, triples = (
        np.pad(table, ((0, 0), (0, d_model - dimensions)))
        for table in (space.words, pairs, triples)
    )
    return Vectors(words, pairs, pair_keys, triples, triple_keys)


class _Space:
    """The space of the words' vectors.

    The vectors are centred and scaled to a standard deviation of 1 / sqrt(D). Words without
    co-occurring words have a vector of 0.

    Attributes:
        words: the vectors, (V, D).
    """

    def __init__(self, stream: WordStream, d_model: int) -> None:
        counts = count_words_near_words(stream)
        if not counts.nnz:
            raise UserError(
                "no text has two known words within word_vectors.window of each other; set it to 0"
            )
        self._contexts = context_probabilities(counts)
        pmi = positive_pmi(counts, self._contexts)
        del counts  # they need as much memory as pmi
        words, self._projection = factorize(pmi, d_model)
        used = words[np.diff(pmi.indptr) > 0]
        self._centre = used.mean(axis=0)
        self._scale = (used - self._centre).std() * np.sqrt(d_model)
        self.words = self._standardize(words, pmi)

    def project(self, counts: csr_array) -> np.ndarray:
        """Return the vectors of rows of co-occurrence counts, (N, V), as (N, D).

        They are shifted and scaled by the same numbers as the words; a row of zeros gives 0.
        """
        pmi = positive_pmi(counts, self._contexts)
        return self._standardize(pmi @ self._projection, pmi)

    def _standardize(self, vectors: np.ndarray, pmi: csr_array) -> np.ndarray:
        standardized = (vectors - self._centre) / self._scale
        return np.where(np.diff(pmi.indptr)[:, None] > 0, standardized, 0).astype(np.float32)


def factorize(matrix: csr_array, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Factorize a (V, V) matrix by its D largest singular values.

    Returns:
        The left singular vectors times the square roots of their values, (V, D), and a projection,
        (V, D), that maps a row of the matrix, or another such row, to its vector.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the result does not depend on the number of cores
        left, values, right = randomized_svd(
            matrix, dimensions, n_iter=POWER_ITERATIONS, random_state=0
        )
    roots = np.sqrt(values)
    is_zero = values < ZERO * values[0]  # the direction of such a value is only rounding
    return left * roots, right.T / np.where(is_zero, np.inf, roots)
