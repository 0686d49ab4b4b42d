"""Texts on disk while their splits are made, so that memory holds no more of each than a number."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    import numpy as np

Row = TypeVar("Row", bound=tuple[Any, ...])
BLOCK_CHARACTERS = 2**24  # in memory at a time
ROW_WEIGHT = 100  # characters that the objects of a row weigh beside its text, about


class Spool:
    """Texts in a file without a name; `spool[number]` reads one back.

    Args:
        folder: on its disk the file lies, until it is closed or the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115, closed in __exit__
        self._ends = array("q", [0])

    def append(self, text: str) -> None:
        """Write a text, which gets the next number; all are written before one is read."""
        self._ends.append(self._ends[-1] + self._file.write(text.encode()))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        start, end = self._ends[number : number + 2]
        self._file.seek(start)
        return self._file.read(end - start).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class SpooledTexts(Sequence[str]):
    """Some texts of a spool in an order of their own, each read when it is asked for.

    Args:
        spool: where the texts are.
        numbers: the number there of each text, (N,).
    """

    def __init__(self, spool: Spool, numbers: "np.ndarray") -> None:
        self._spool, self._numbers = spool, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices
        return self._spool[self._numbers[index]]


def blocks(rows: Iterable[Row], *, characters: int) -> Iterator[list[Row]]:
    """Cut rows, each of which begins with its text, into lists of about as many characters."""
    block: list[Row] = []
    weight = 0
    for row in rows:
        block.append(row)
        weight += len(row[0]) + ROW_WEIGHT
        if weight >= characters:
            yield block
            block, weight = [], 0
    if block:
        yield block
