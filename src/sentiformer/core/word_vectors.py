"""The file of first vectors that stage word_vectors writes, and stages pretrain and train read."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sentiformer.core.files import corrupt, read_json, reading, write_tensors

STAGE = "word_vectors"
FILE = f"{STAGE}.safetensors"


class Vectors(NamedTuple):
    """First vectors, float32.

    Attributes:
        words: (V, D), those of specials 0.
        pairs: (N, D).
        pair_keys: (N,) int64, rising: which pairs they are, a first word times V plus a second.
        triples: (M, D).
        triple_keys: (M,) int64, rising: which triples they are, the number of a pair, from 1 on,
            times V plus a third word.
        regions: (V, R), what a word adds to the fixed vector of the words around a token.
    """

    words: np.ndarray
    pairs: np.ndarray
    pair_keys: np.ndarray
    triples: np.ndarray
    triple_keys: np.ndarray
    regions: np.ndarray


def write_word_vectors(folder: Path, vectors: Vectors) -> None:
    """Write the vectors; `config.json` beside them says how many n-grams there are."""
    write_tensors(folder / FILE, vectors._asdict())


def read_word_vectors(folder: Path, shape: tuple[int, int]) -> Vectors | None:
    """The vectors that stage word_vectors wrote to `folder`; None where its window was 0.

    Raises:
        UserError: a file is missing or corrupt, or the words' vectors are of another shape.
    """
    path, about = folder / FILE, read_json(folder / "config.json", made_by=STAGE)
    if not about["params"][STAGE]["window"]:
        return None
    with reading(path, STAGE, SafetensorError, TypeError):
        vectors = Vectors(**load_file(path))
    found = (*vectors.words.shape, len(vectors.pairs), len(vectors.triples))
    found += (vectors.regions.shape[1],)
    asked = (*shape, about["pairs"], about["triples"], about["regions"])
    if found != asked:
        known = f"its words, dimensions, pairs, triples and regions are {found}, not {asked}"
        raise corrupt(path, STAGE, known)
    return vectors
