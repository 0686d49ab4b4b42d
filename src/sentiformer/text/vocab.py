"""The vocabulary: special tokens, then the most frequent types of train, one per line."""

from pathlib import Path
from typing import Any

import numpy as np

from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json, write_json
from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.text.corpus import Corpus, read_lines, read_types, write_lines
from sentiformer.text.params import BuildVocabParams

PAD, UNKNOWN = range(len(SPECIAL_TOKENS))


class Vocab:
    """The words that a model knows, special tokens first; the position of a word is its id."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        words = enumerate(tokens[len(SPECIAL_TOKENS) :], start=len(SPECIAL_TOKENS))
        self._ids = {token: i for i, token in words}

    @classmethod
    def load(cls, path: Path, *, made_by: str = "build_vocab") -> "Vocab":
        """Read the `vocab.txt` that the stage `made_by` wrote.

        Raises:
            UserError: it is missing, does not begin with the special tokens, or has a token twice.
        """
        tokens = read_lines(path, made_by=made_by)
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise corrupt(path, made_by, f"it does not begin with {SPECIAL_TOKENS}")
        if len(set(tokens)) != len(tokens):
            raise corrupt(path, made_by, "a token occurs twice")
        return cls(tokens)

    def save(self, path: Path) -> None:
        """Write `vocab.txt`."""
        write_lines(path, self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: list[str]) -> np.ndarray:
        """Return the ids of tokens, int32; the name of a special token is an unknown word."""
        find = self._ids.get
        return np.array([find(token, UNKNOWN) for token in tokens], dtype=np.int32)


def most_frequent(counts: np.ndarray, types: list[str], max_size: int) -> list[str]:
    """Return special tokens and the most frequent types, `max_size` at most; ties by spelling."""
    seen = [i for i in np.flatnonzero(counts).tolist() if types[i] not in SPECIAL_TOKENS]
    seen.sort(key=lambda i: (-counts[i], types[i]))
    return [*SPECIAL_TOKENS, *(types[i] for i in seen[: max_size - len(SPECIAL_TOKENS)])]


def build_vocab(params: BuildVocabParams, tokens: Path, folder: Path) -> dict[str, Any]:
    """Write `vocab.txt` and `coverage.json` to `folder`; return the content of the latter.

    Only train decides on the vocabulary. The coverage has each split's share of unknown tokens.

    Raises:
        UserError: a file of `tokens` is missing or corrupt, or train has no token.
    """
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    types = read_types(tokens)
    counts = {
        split: _count(Corpus(tokens / f"{split}.arrow", types=len(types)), len(types))
        for split in about["splits"]
    }
    vocab = Vocab(most_frequent(counts["train"], types, params.max_size))
    if len(vocab) == len(SPECIAL_TOKENS):
        raise UserError(f"{tokens / 'train.arrow'} has no token; train needs texts with words")
    vocab.save(folder / "vocab.txt")
    unknown = vocab.encode(types) == UNKNOWN
    shares = {split: n[unknown].sum() / max(1, n.sum()) for split, n in counts.items()}
    coverage = {
        "size": len(vocab),
        "max_size": params.max_size,
        "unknown_share": {split: round(float(share), 6) for split, share in shares.items()},
    }
    write_json(folder / "coverage.json", coverage)
    return coverage


def count_words(corpus: Corpus, ids_of_types: np.ndarray, words: int) -> np.ndarray:
    """Count each word in a corpus, (V,); the counts of special tokens are 0.

    V is `words`, and `ids_of_types` maps a type id to its word id.
    """
    counts = np.bincount(ids_of_types, _count(corpus, len(ids_of_types)), minlength=words)
    counts[: len(SPECIAL_TOKENS)] = 0
    return counts


def _count(corpus: Corpus, types: int) -> np.ndarray:
    """Count each type in a corpus, (types,) int64."""
    counts = np.zeros(types, dtype=np.int64)
    for type_ids in corpus.chunks():
        counts += np.bincount(type_ids, minlength=types)
    return counts
