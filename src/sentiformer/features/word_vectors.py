"""First vectors of words, of pairs and of triples of words, from the company that they keep.

What word2vec fits by gradient steps is, up to a constant, a factorization of the matrix of the
pointwise mutual information of words and the words around them (Levy & Goldberg 2014); the matrix
can be counted, and its largest singular vectors computed, in seconds. A frequent pair, such as
"not good", has company of its own, which gives it a place among the words, and so has a triple,
such as "not very good". Labels are never read.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sentiformer.console import say
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, write_json
from sentiformer.core.names import PRETRAINING_SPLITS, SPECIAL_TOKENS
from sentiformer.core.process import ordered_map
from sentiformer.core.word_vectors import STAGE, Vectors, write_word_vectors
from sentiformer.features.cooccurrence import (
    Texts,
    company_of_ngrams,
    company_of_words,
    context_chances,
    frequent_ngrams,
    positive_pmi,
)
from sentiformer.features.params import WordVectorsParams
from sentiformer.text.corpus import read_types
from sentiformer.text.vocab import Vocab

if TYPE_CHECKING:
    from scipy.sparse import csr_array

POWER_ITERATIONS = 2  # of the randomized factorization
NGRAM_SCALE = 0.5  # an n-gram's vector is added to its last word's
NGRAMS_AT_ONCE = 10_000  # whose company is held in memory


def fit_word_vectors(
    params: WordVectorsParams, d_model: int, *, data: Path, folder: Path, workers: int = 1
) -> dict[str, float]:
    """Write vectors to `folder`, and `config.json`, which counts the pairs and triples.

    `data` is the folder with what earlier stages wrote. With a window of 0 there are no vectors,
    `config.json` alone; without pairs there are no triples. Up to `workers` processes share the
    pairs and the triples, and no byte depends on how many.

    Returns:
        What they took, in seconds; nothing where there are none.

    Raises:
        UserError: an input is missing or corrupt, the vocabulary is too small for D or R, or no
            word has company.
    """
    tokens = data / "tokens"
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    config = {"params": {STAGE: params.model_dump()}, "pairs": 0, "triples": 0, "regions": 0}
    if not params.window:
        write_json(folder / "config.json", config)
        say("word_vectors.window is 0: the first vectors of words are random")
        return {}
    started = time.perf_counter()
    vocab = Vocab.load(data / "vocab" / "vocab.txt")
    sizes = {"model.d_model": d_model, "word_vectors.regions": params.regions}
    for name, size in sizes.items():
        if len(vocab) <= size + len(SPECIAL_TOKENS):
            raise UserError(
                f"{name} is {size} and the vocabulary has {len(vocab)} words; for word vectors "
                f"there must be more words: lower {name}, or set word_vectors.window to 0"
            )
    ids_of_types = vocab.encode(read_types(tokens))
    paths = [tokens / f"{split}.arrow" for split in PRETRAINING_SPLITS if split in about["splits"]]
    texts = Texts(paths, ids_of_types, len(vocab), params.window)
    vectors = make_vectors(texts, params, d_model, workers=workers)
    write_word_vectors(folder, vectors)
    known = {"pairs": len(vectors.pairs), "triples": len(vectors.triples)}
    write_json(folder / "config.json", config | known | {"regions": params.regions})
    each = ", ".join(f"{count:,} {name}" for name, count in known.items())
    say(f"{len(vocab):,} words, {each}; {d_model} dimensions")
    return {STAGE: time.perf_counter() - started}


def make_vectors(
    texts: Texts, params: WordVectorsParams, d_model: int, *, workers: int = 1
) -> Vectors:
    """The vectors of all words, and of the most frequent pairs and triples.

    Words are centred and scaled to a deviation of 1 / sqrt(D), and n-grams with them, which are
    then shortened by `NGRAM_SCALE`. What has no company has a vector of 0. Regions have more, or
    fewer, singular vectors of the same matrix, centred.

    Raises:
        UserError: no word has company.
    """
    company = company_of_words(texts)
    if not company.nnz:
        raise UserError(
            "no text has two known words within word_vectors.window of each other; set it to 0"
        )
    chances = context_chances(company)
    pmi = positive_pmi(company, chances)
    del company  # each as large as the texts; none of the processes below needs either
    words, projection = factorize(pmi, d_model)
    has_company = np.diff(pmi.indptr) > 0
    regions = factorize(pmi, params.regions)[0] if params.regions else words[:, :0]
    del pmi
    regions = np.where(has_company[:, None], regions - regions[has_company].mean(axis=0), 0)
    centre = words[has_company].mean(axis=0)
    scale = (words[has_company] - centre).std() * np.sqrt(d_model)

    def standardized(vectors: np.ndarray, has_company: np.ndarray) -> np.ndarray:
        return np.where(has_company[:, None], (vectors - centre) / scale, 0).astype(np.float32)

    def ngrams(limit: int, *shorter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        def vectors_of(some: np.ndarray) -> np.ndarray:
            pmi = positive_pmi(company_of_ngrams(texts, some, shorter), chances)
            return NGRAM_SCALE * standardized(pmi @ projection, np.diff(pmi.indptr) > 0)

        keys = frequent_ngrams(texts, limit, shorter)
        starts = range(0, len(keys), NGRAMS_AT_ONCE)
        parts = (keys[start : start + NGRAMS_AT_ONCE] for start in starts)
        vectors = [np.zeros((0, d_model), dtype=np.float32)]
        vectors += ordered_map(vectors_of, parts, workers=workers)
        return np.concatenate(vectors), keys

    pairs, pair_keys = ngrams(params.pairs)
    triples, triple_keys = ngrams(params.triples, pair_keys)
    words = standardized(words, has_company)
    return Vectors(words, pairs, pair_keys, triples, triple_keys, regions.astype(np.float32))


def factorize(matrix: "csr_array", dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """The left singular vectors times the roots of their values, (V, D), and a projection.

    The projection, (V, D), takes a row of the matrix to its vector, and other rows beside them.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the bits do not depend on the number of cores
        left, values, right = randomized_svd(
            matrix, dimensions, n_iter=POWER_ITERATIONS, random_state=0
        )
    roots = np.sqrt(values)
    return left * roots, right.T / np.maximum(roots, np.finfo(np.float32).tiny)
