"""Texts in a temporary file, so that the stage download needs little memory."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BLOCK_CHARACTERS = 2**24
ROW_CHARACTERS = 100  # memory of a row's Python objects without the text, in characters


class TextStore:
    """Texts that are kept in a file on disk; `store[position]` reads one.

    The file must be empty, and open for reading and writing.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        """Write a text at the next position. Append no text after one was read."""
        self._ends.append(self._ends[-1] + self._file.write(text.encode()))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, position: int) -> str:
        start, end = self._ends[position : position + 2]
        self._file.seek(start)
        return self._file.read(end - start).decode()


class StoredTexts(Sequence[str]):
    """The texts at (N,) positions of a store; each is read when it is accessed."""

    def __init__(self, store: TextStore, positions: "np.ndarray") -> None:
        self._store, self._positions = store, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices
        return self._store[self._positions[index]]


def blocks(rows: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """Cut rows of text and label into lists of about `BLOCK_CHARACTERS` characters."""
    block: list[tuple[str, int]] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row[0]) + ROW_CHARACTERS
        if size >= BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block
