"""Corpora: the texts of a split as type ids, in memory-mapped Arrow files, and the list of types.

A *type* is a distinct token. `types.txt` has one type per line, and its line number, from 0, is the
type id. `<split>.arrow` has a list of type ids and a label for each text. Texts become integers
once; a vocabulary of any size maps type ids to its word ids by one lookup.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sentiformer.core.errors import UserError, listed
from sentiformer.core.files import corrupt, read_json, reading

if TYPE_CHECKING:
    import pyarrow as pa


STAGES = {"tokens": "tokenize", "teacher": "teach"}  # that write corpora, by their folder in data/


class Block(NamedTuple):
    """Consecutive texts of a split."""

    type_ids: np.ndarray  # the tokens of all texts, concatenated
    lengths: np.ndarray  # number of tokens of each text
    labels: np.ndarray  # label of each text


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema([("type_ids", pa.list_(pa.int32())), ("label", pa.int32())])


def write_corpus(path: Path, blocks: Iterable[Block]) -> int:
    """Write a split block by block; return its number of tokens."""
    import pyarrow as pa

    tokens, schema = 0, _schema()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for block in blocks:
            offsets = np.concatenate([[0], np.cumsum(block.lengths)]).astype(np.int32)
            type_ids = pa.ListArray.from_arrays(offsets, block.type_ids.astype(np.int32))
            columns = [type_ids, pa.array(block.labels.astype(np.int32))]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            tokens += len(block.type_ids)
    return tokens


class Corpus:
    """Splits on disk, one after the other, mapped into memory.

    `corpus[i]` is the type ids of text i, int32.

    If the number of `types` is given, every type id is checked to be below it.

    Attributes:
        labels: label of each text, (N,) int32.
        lengths: number of tokens of each text, (N,) int32.

    Raises:
        UserError: a file is missing or corrupt, or has an invalid type id.
    """

    def __init__(self, *paths: Path, types: int | None = None) -> None:
        import pyarrow as pa
        from pyarrow.compute import list_value_length

        table = pa.concat_tables(_read_split(path, types) for path in paths)
        self._texts = table["type_ids"]
        self.labels: np.ndarray = table["label"].to_numpy()
        self.lengths: np.ndarray = list_value_length(self._texts).to_numpy()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._texts[index].values.to_numpy()

    def tokens(self, index: int, types: Sequence[str]) -> list[str]:
        """The tokens of text `index`; `types` are those of the corpus, see `read_types`."""
        return [types[number] for number in self[index].tolist()]

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the type ids of all texts in order, one block of texts at a time."""
        for chunk in self._texts.chunks:
            yield chunk.flatten().to_numpy()


def _read_split(path: Path, types: int | None) -> "pa.Table":
    import pyarrow as pa

    with reading(path, STAGES.get(path.parent.name, "tokenize"), pa.ArrowException):
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        table.validate(full=True)
        table = table.cast(_schema())
        for chunk in table["type_ids"].chunks if types is not None else ():
            ids = chunk.flatten().to_numpy()
            if len(ids) and not 0 <= ids.min() <= ids.max() < types:
                raise ValueError(
                    f"its type ids are from {ids.min()} to {ids.max()}, not below {types}"
                )
    return table


def nonempty_corpus(*paths: Path, types: int | None = None) -> Corpus:
    """Open splits that must have a text; see `Corpus`, which raises the other errors.

    Raises:
        UserError: they have no text.
    """
    corpus = Corpus(*paths, types=types)
    if not len(corpus):
        raise UserError(
            f"{paths[0]} has no text; raise its share in the section download of params.yaml"
        )
    return corpus


def require_all(labels: list[str], actual: np.ndarray, path: Path) -> None:
    """Check that each class, by its name in `labels`, is in `actual`, the classes of a split.

    Raises:
        UserError: a class has no text; the message names `path` and all such classes.
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
    """Read a file with one token per line; a missing or corrupt one raises UserError."""
    with reading(path, made_by):
        text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        raise corrupt(path, made_by, "it does not end with a line break")
    return text[:-1].split("\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write one token per line."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
