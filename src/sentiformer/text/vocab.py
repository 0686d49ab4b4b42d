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
    """The words that a model knows; the line number of a word in `vocab.txt`, from 0, is its id.

    Args:
        tokens: the words, special tokens first.
        path: the file that they come from, for messages.
        made_by: the stage that wrote the file, for messages.

    Raises:
        UserError: the special tokens are not the first, or a token occurs twice.
    """

    def __init__(
        self, tokens: list[str], path: Path = Path("vocab.txt"), *, made_by: str = "build_vocab"
    ) -> None:
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise corrupt(path, made_by, f"it does not begin with {SPECIAL_TOKENS}")
        self.tokens = tokens
        if len(set(tokens)) != len(tokens):
            raise corrupt(path, made_by, "a token occurs twice")
        words = enumerate(tokens[len(SPECIAL_TOKENS) :], start=len(SPECIAL_TOKENS))
        self._ids = {token: i for i, token in words}

    @classmethod
    def load(cls, path: Path) -> "Vocab":
        """Read `vocab.txt`."""
        return cls(read_lines(path, made_by="build_vocab"), path)

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
    """Return special tokens and the most frequent types, `max_size` at most; ties by spelling.

    Args:
        counts: number of occurrences of each type.
        types: the types.
        max_size: largest size, special tokens included.
    """
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
    coverage = {
        "size": len(vocab),
        "max_size": params.max_size,
        "unknown_share": {
            split: round(float(n[unknown].sum() / max(1, n.sum())), 6)
            for split, n in counts.items()
        },
    }
    write_json(folder / "coverage.json", coverage)
    return coverage


def count_words(corpus: Corpus, ids_of_types: np.ndarray, words: int) -> np.ndarray:
    """Count each word in a corpus, (V,); the counts of special tokens are 0.

    Args:
        corpus: the texts.
        ids_of_types: maps a type id to its word id.
        words: V.
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
