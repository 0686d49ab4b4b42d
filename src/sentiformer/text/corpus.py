"""The text as integers: memory-mapped Arrow files of type ids, and the table of types.

A *type* is a distinct token. `types.txt` holds one a line, and the line's number is its type id;
`<split>.arrow` holds a list of type ids and a label for each text. Text becomes integers once, and
a vocabulary of any size is later one gather over the type ids.
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
    """Some consecutive texts of a split.

    Attributes:
        type_ids: all tokens of the texts in a row, int32.
        lengths: tokens of each text.
        labels: label of each text.
    """

    type_ids: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def write_corpus(path: Path, blocks: Iterable[Block]) -> tuple[int, int]:
    """Write a split, a block at a time; return its numbers of texts and tokens."""
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
    """Splits on disk, one after another, mapped into memory.

    `corpus[i]` is the int32 type ids of text i.

    Args:
        paths: the files.
        types: how many types there are, where somebody will look the ids up.

    Raises:
        UserError: a file is missing or corrupt, or holds an id of no type.
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
        """Yield the type ids of all texts in order, some texts at a time."""
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
                    f"it holds types from {ids.min()} to {ids.max()}, not below {types}"
                )
    return table


def nonempty_corpus(path: Path, *, types: int | None = None) -> Corpus:
    """Open a split that must hold a text; see `Corpus`.

    Raises:
        UserError: it holds none, or the file is missing or corrupt.
    """
    corpus = Corpus(path, types=types)
    if not len(corpus):
        raise UserError(f"{path} holds no text; raise its share in the section download")
    return corpus


def require_all(labels: list[str], actual: np.ndarray, path: Path) -> None:
    """Raise where a class has no text in the split at `path`, whose labels are `actual`.

    Raises:
        UserError: it names the classes.
    """
    absent = [name for number, name in enumerate(labels) if number not in actual]
    if absent:
        raise UserError(
            f"{path} has no text labelled {listed(absent)}; give {path.stem} more texts"
        )


def read_types(tokens: Path) -> list[str]:
    """Read the types of the corpora in a folder.

    Raises:
        UserError: a file is missing or corrupt, or there are not as many as `corpus.json` says.
    """
    count = read_json(tokens / "corpus.json", made_by="tokenize")["types"]
    path = tokens / "types.txt"
    types = read_lines(path, made_by="tokenize")
    if len(types) != count:
        raise corrupt(path, "tokenize", f"it holds {len(types)} types, corpus.json says {count}")
    return types


def read_lines(path: Path, *, made_by: str) -> list[str]:
    """Read a file of one token a line.

    Raises:
        UserError: the file is missing or corrupt.
    """
    with reading(path, made_by):
        text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise corrupt(path, made_by, "it does not end with a line break")
    return text[:-1].split("\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write one token a line."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
