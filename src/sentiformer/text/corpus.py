"""Corpora: the texts of a split as type ids, in memory-mapped Arrow files, and the list of types.

A *type* is a distinct token. `types.txt` has one type per line, and its line number, from 0, is the
type id. `<split>.arrow` has a list of type ids and a label for each text. Texts become integers
once; a vocabulary of any size maps type ids to its word ids by one lookup.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from sentiformer.core.errors import UserError, listed
from sentiformer.core.files import corrupt, read_json, reading

SCHEMA = pa.schema([("type_ids", pa.list_(pa.int32())), ("label", pa.int32())])


@dataclass(frozen=True)
class Block:
    """Consecutive texts of a split.

    Attributes:
        type_ids: the tokens of all texts, concatenated, int32.
        lengths: number of tokens of each text.
        labels: label of each text.
    """

    type_ids: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def write_corpus(path: Path, blocks: Iterable[Block]) -> tuple[int, int]:
    """Write a split block by block; return its numbers of texts and tokens."""
    texts = tokens = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for block in blocks:
            offsets = np.concatenate([[0], np.cumsum(block.lengths)]).astype(np.int32)
            type_ids = pa.ListArray.from_arrays(
                pa.array(offsets), pa.array(block.type_ids.astype(np.int32))
            )
            labels = pa.array(block.labels.astype(np.int32))
            writer.write_batch(pa.record_batch([type_ids, labels], schema=SCHEMA))
            texts += len(block.lengths)
            tokens += len(block.type_ids)
    return texts, tokens


class Corpus:
    """One or more splits on disk, concatenated and mapped into memory.

    `corpus[i]` is the type ids of text i, int32.

    Args:
        paths: the files.
        types: the number of types; if given, every type id is checked to be below it.

    Attributes:
        labels: label of each text, (N,) int32.
        lengths: number of tokens of each text, (N,) int32.

    Raises:
        UserError: a file is missing or corrupt, or has an invalid type id.
    """

    def __init__(self, *paths: Path, types: int | None = None) -> None:
        table = pa.concat_tables(_read_split(path, types) for path in paths)
        chunks = table["type_ids"].chunks
        self._values = [chunk.values.to_numpy() for chunk in chunks]
        self._offsets = [chunk.offsets.to_numpy() for chunk in chunks]
        self._starts = np.cumsum([0] + [len(chunk) for chunk in chunks]).tolist()
        self.labels: np.ndarray = table["label"].to_numpy()
        empty = np.zeros(0, dtype=np.int32)
        self.lengths: np.ndarray = np.concatenate([empty, *map(np.diff, self._offsets)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:
        chunk = bisect_right(self._starts, index) - 1
        row = index - self._starts[chunk]
        start, end = self._offsets[chunk][row : row + 2]
        return self._values[chunk][start:end]

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the type ids of all texts in order, one block of texts at a time."""
        for values, offsets in zip(self._values, self._offsets, strict=True):
            yield values[offsets[0] : offsets[-1]]


def _read_split(path: Path, types: int | None) -> pa.Table:
    with reading(path, "tokenize", pa.ArrowException):
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        table.validate(full=True)
        table = table.cast(SCHEMA)
        for chunk in table["type_ids"].chunks if types is not None else ():
            ids = chunk.flatten().to_numpy()
            if len(ids) and not 0 <= ids.min() <= ids.max() < types:
                raise ValueError(
                    f"its type ids are from {ids.min()} to {ids.max()}, not below {types}"
                )
    return table


def nonempty_corpus(*paths: Path, types: int | None = None) -> Corpus:
    """Open splits that must have a text; see `Corpus`.

    Raises:
        UserError: they have no text, or a file is missing or corrupt.
    """
    corpus = Corpus(*paths, types=types)
    if not len(corpus):
        raise UserError(
            f"{paths[0]} has no text; raise its share in the section download of params.yaml"
        )
    return corpus


def require_all(labels: list[str], actual: np.ndarray, path: Path) -> None:
    """Check that every class has a text in a split.

    Args:
        labels: names of all classes.
        actual: classes of the texts of the split, (N,).
        path: the file of the split, for the message.

    Raises:
        UserError: a class has no text; the message names all such classes.
    """
    absent = [name for number, name in enumerate(labels) if number not in actual]
    if absent:
        raise UserError(
            f"{path} has no text labelled {listed(absent)}; give {path.stem} more texts"
        )


def read_types(tokens: Path) -> list[str]:
    """Read the types of the corpora in the folder `tokens`.

    Raises:
        UserError: a file is missing or corrupt, or their number is not that of `corpus.json`.
    """
    count = read_json(tokens / "corpus.json", made_by="tokenize")["types"]
    path = tokens / "types.txt"
    types = read_lines(path, made_by="tokenize")
    if len(types) != count:
        raise corrupt(path, "tokenize", f"it holds {len(types)} types, corpus.json says {count}")
    return types


def read_lines(path: Path, *, made_by: str) -> list[str]:
    """Read a file with one token per line.

    Raises:
        UserError: the file is missing or corrupt.
    """
    with reading(path, made_by):
        text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise corrupt(path, made_by, "it does not end with a line break")
    return text[:-1].split("\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write one token per line."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
