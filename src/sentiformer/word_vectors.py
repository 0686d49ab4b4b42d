"""Word vectors from the company that words keep: factors of their pointwise mutual information.

What word2vec fits by gradient steps is, up to a constant, a factorization of the matrix of the
pointwise mutual information of words and the words around them (Levy & Goldberg 2014); the matrix
can be counted, and its largest singular vectors computed, in seconds. Labels are never read.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sentiformer.config import PRETRAINING_SPLITS, SPECIAL_TOKENS, WordVectorsParams
from sentiformer.console import UserError, say
from sentiformer.corpus import Corpus, read_lines
from sentiformer.files import corrupt, missing, read_json, write_json
from sentiformer.vocab import UNKNOWN, Vocab

if TYPE_CHECKING:
    from scipy.sparse import csr_array

STAGE = "word_vectors"
FILE = f"{STAGE}.safetensors"
CHUNK_TOKENS = 4_000_000
SMOOTHING = 0.75  # exponent of a context's frequency; a rare context then says less
POWER_ITERATIONS = 2  # of the randomized factorization


def fit_word_vectors(params: WordVectorsParams, d_model: int, *, data: Path, folder: Path) -> None:
    """Write the vectors of the vocabulary's words, (V, D) float32, to `folder`, and `config.json`.

    `data` is the folder with what earlier stages wrote. Specials have vectors of 0. With a window
    of 0 there are no vectors, `config.json` alone.

    Raises:
        UserError: an input is missing or corrupt, or the vocabulary is too small for D.
    """
    tokens = data / "tokens"
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    splits = [split for split in PRETRAINING_SPLITS if split in about["splits"]]
    write_json(folder / "config.json", {"params": {STAGE: params.model_dump()}})
    if not params.window:
        say("word_vectors.window is 0: the first vectors of words are random")
        return
    words = Vocab.load(data / "vocab" / "vocab.txt")
    if len(words) <= d_model + len(SPECIAL_TOKENS):
        raise UserError(
            f"model.d_model is {d_model} and the vocabulary has {len(words)} words; for word "
            "vectors there must be more words: lower model.d_model, or set word_vectors.window to 0"
        )
    ids_of_types = words.ids_of_types(read_lines(tokens / "types.txt", made_by="tokenize"))
    counts = cooccurrences(
        (chunk for split in splits for chunk in token_chunks(tokens / f"{split}.arrow")),
        ids_of_types,
        len(words),
        params.window,
    )
    vectors = factorize(positive_pmi(counts), d_model)
    save_file({"word_vectors": vectors}, folder / FILE)
    say(f"{len(words):,} words, {counts.nnz:,} pairs that stand together, {d_model} dimensions")


def token_chunks(path: Path) -> Iterator[list[np.ndarray]]:
    """Yield the texts of a split as type ids, some `CHUNK_TOKENS` tokens at a time.

    Raises:
        UserError: the file is missing or corrupt.
    """
    corpus = Corpus(path)
    starts = np.cumsum(corpus.lengths) // CHUNK_TOKENS
    for rows in np.split(np.arange(len(corpus)), np.flatnonzero(np.diff(starts)) + 1):
        yield [corpus[row] for row in rows.tolist()]


def cooccurrences(
    chunks: Iterator[list[np.ndarray]], ids_of_types: np.ndarray, size: int, window: int
) -> "csr_array":
    """How often two words stand at most `window` tokens apart: (V, V), symmetric, float32.

    A pair at a distance of n tokens counts 1/n (Pennington et al. 2014, section 4.2). No pair
    reaches over a text's end; specials, which is to say unknown words, have no company.
    """
    from scipy.sparse import coo_array, csr_array

    total = csr_array((size, size), dtype=np.float32)
    gap = np.full(window, UNKNOWN, dtype=np.int32)
    for texts in chunks:
        words = np.concatenate([part for text in texts for part in (ids_of_types[text], gap)])
        known = words >= len(SPECIAL_TOKENS)
        for distance in range(1, window + 1):
            places = np.flatnonzero(known[:-distance] & known[distance:])
            pairs = (words[places], words[places + distance])
            weights = np.full(len(places), 1 / distance, dtype=np.float32)
            total += coo_array((weights, pairs), shape=(size, size)).tocsr()
    return (total + total.T).tocsr()


def positive_pmi(counts: "csr_array") -> "csr_array":
    """The pointwise mutual information where it is positive; counts of contexts are smoothed.

    log(P(w, c) / (P(w) P(c))) with P(c) in proportion to its count to the power `SMOOTHING`
    (Levy et al. 2015, section 3.1).
    """
    from scipy.sparse import csr_array

    pairs = counts.tocoo()
    of_word = counts.sum(axis=1, dtype=np.float64)
    of_context = of_word**SMOOTHING
    of_context *= of_word.sum() / of_context.sum()
    expected = of_word[pairs.row] * of_context[pairs.col] / of_word.sum()
    values = np.log(pairs.data / expected).astype(np.float32)
    kept = values > 0
    place = (pairs.row[kept], pairs.col[kept])
    return csr_array((values[kept], place), shape=counts.shape)


def factorize(matrix: "csr_array", dimensions: int) -> np.ndarray:
    """The left singular vectors times the roots of their values: (V, D), scaled for a model.

    Centred over the words that have any company, with deviation 1 / sqrt(D); the others are 0.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the bits do not depend on the number of cores
        left, values, _ = randomized_svd(
            matrix, dimensions, n_iter=POWER_ITERATIONS, random_state=0
        )
    vectors = left * np.sqrt(values)
    has_company = np.diff(matrix.indptr) > 0
    vectors -= vectors[has_company].mean(axis=0)
    vectors /= vectors[has_company].std() * np.sqrt(dimensions)
    vectors[~has_company] = 0
    return vectors.astype(np.float32)


def read_word_vectors(folder: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The vectors that stage word_vectors wrote to `folder`; None where its window was 0.

    Raises:
        UserError: a file is missing or corrupt, or the vectors are of another shape.
    """
    path = folder / FILE
    if not read_json(folder / "config.json", made_by=STAGE)["params"][STAGE]["window"]:
        return None
    try:
        vectors = load_file(path)["word_vectors"]
    except FileNotFoundError:
        raise missing(path, STAGE) from None
    except (SafetensorError, KeyError, OSError) as error:
        raise corrupt(path, STAGE, error) from None
    if vectors.shape != shape:
        raise corrupt(path, STAGE, f"its shape is {vectors.shape}, the model's {shape}")
    return vectors
