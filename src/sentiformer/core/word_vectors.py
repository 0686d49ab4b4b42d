"""The file of vectors that stage word_vectors writes, and stages pretrain and train read."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sentiformer.core.files import corrupt, read_json, reading, write_tensors

STAGE = "word_vectors"
FILE = f"{STAGE}.safetensors"


class Vectors(NamedTuple):
    """Initial vectors, float32, and sorted int64 keys; `text/ngrams.py` defines keys.

    V is the number of words, N that of bigrams, M that of trigrams, D the dimensions.
    """

    words: np.ndarray  # (V, D); those of special tokens are 0
    pairs: np.ndarray  # of bigrams, (N, D)
    pair_keys: np.ndarray  # (N,)
    triples: np.ndarray  # of trigrams, (M, D)
    triple_keys: np.ndarray  # (M,)


def write_word_vectors(folder: Path, vectors: Vectors) -> None:
    """Write the vectors; `config.json` in the same folder has their numbers."""
    write_tensors(folder / FILE, vectors._asdict())


def read_word_vectors(folder: Path, shape: tuple[int, int]) -> Vectors | None:
    """Read the vectors from a folder; None if the window of stage word_vectors was 0.

    `shape` is the expected V and D.

    Raises:
        UserError: a file is missing or corrupt, or holds vectors of other numbers or dimensions.
    """
    config = read_json(folder / "config.json", made_by=STAGE)
    if not config["params"][STAGE]["window"]:
        return None
    path = folder / FILE
    with reading(path, STAGE, SafetensorError, TypeError):
        vectors = Vectors(**load_file(path))
    found = (*vectors.words.shape, len(vectors.pairs), len(vectors.triples))
    expected = (*shape, config["pairs"], config["triples"])
    if found != expected:
        reason = f"its words, dimensions, pairs and triples are {found}, not {expected}"
        raise corrupt(path, STAGE, reason)
    return vectors
