"""Rows of CSV and TSV files, as RFC 4180 defines them, with the line where each begins."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sentiformer.core.columns import Columns, looks_like_name, require_columns
from sentiformer.core.errors import UserError
from sentiformer.core.text_lines import COMPRESSED, bare_name, open_lines

if TYPE_CHECKING:
    import _csv

MAX_FIELD_CHARACTERS = 2**31 - 1  # the default of the module csv is 131,072
MAX_HEADER_LINES = 100
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SEPARATOR_LINE = re.compile("sep=(.)\r?\n?")  # Excel's first line
SHOWN_CELLS = 5
Values: TypeAlias = tuple[str | None, ...]
Record: TypeAlias = tuple[str, list[str]]


class Header(NamedTuple):
    """The first record of a file."""

    names: dict[str, list[str]]  # the names of the columns by each separator that is possible
    lines: list[str]  # as they stand in the file
    skipped: int  # lines before it


def read_csv(
    path: Path, columns: Columns, say: Callable[[str], None]
) -> Iterator[tuple[str, Values | UserError]]:
    """Yield each row's place and its values in some columns; blank lines are left out.

    A value is None if the row has too few cells. If it has too many, its error is yielded.

    Raises:
        UserError: a column is missing, or a quote is misplaced.
    """
    lines = open_lines(path)
    header = _read_header(path, lines)
    separator = _separator(header, columns)
    names = header.names[separator]
    require_columns(columns, names, str(path), _hint(path, names, separator))
    if separator != next(iter(header.names)):
        say(f"{path}: its columns are separated by {SEPARATORS[separator]}")
    indices = [names.index(column) for column in columns]
    records = _records(path, lines, header, separator)
    next(records)
    for place, cells in records:
        if any(cell.strip() for cell in cells[len(names) :]):
            yield (
                place,
                UserError(
                    f"{place}: {len(cells):,} cells, the header has {len(names):,}; put a text "
                    "with the separator or a line break in quotes"
                ),
            )
        else:
            yield place, tuple(cells[i] if i < len(cells) else None for i in indices)


def possible_headers(path: Path) -> dict[str, list[str]]:
    """The names of the columns by each separator that is possible; the first is the usual one."""
    return _read_header(path, open_lines(path)).names


def _read_header(path: Path, lines: Iterator[str]) -> Header:
    """Read the first record that is not blank."""
    separators, skipped = list(SEPARATORS), 0
    found: list[str] = []
    if bare_name(path).endswith(".tsv"):
        separators = ["\t"]
    for line in lines:
        if not found and (given := SEPARATOR_LINE.fullmatch(line)):
            separators = [given[1]]
        if not found and (given or not line.strip()):
            skipped += 1
            continue
        found.append(line)
        even = sum(text.count('"') for text in found) % 2 == 0
        if even or len(found) == MAX_HEADER_LINES:
            break
    names = {}
    for sign in separators:
        try:
            names[sign] = next(_cells(found, sign, found), [])
        except csv.Error as error:
            problem = _misplaced_quote(path, skipped + 1, found, str(error))
    if not names:
        raise UserError(problem)
    return Header(names, found, skipped)


def _cells(lines: Iterable[str], separator: str, header: list[str]) -> "_csv.Reader":
    """A reader of cells; it skips the space after a separator if the header has one after each."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    first = "".join(header)
    spaced = first.count(separator) == first.count(f"{separator} ")
    return csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=spaced)


def _separator(header: Header, columns: Columns) -> str:
    """The first separator that gives the columns, or else the one that gives most of any name."""
    names = header.names
    fits = [sign for sign in names if set(columns) <= set(names[sign])]
    return fits[0] if fits else max(names, key=lambda sign: len(names[sign]))


def _records(path: Path, lines: Iterable[str], header: Header, separator: str) -> Iterator[Record]:
    """Yield the place and the cells of each record; those of the header are the first."""
    raw: list[str] = []  # the lines of the record

    def remembered() -> Iterator[str]:
        for line in chain(header.lines, lines):
            raw.append(line)
            yield line

    rows = _cells(remembered(), separator, header.lines)
    while True:
        start = header.skipped + rows.line_num + 1
        raw.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(_misplaced_quote(path, start, raw, str(error))) from None
        if cells:
            yield f"{path}, line {start}", cells


def _misplaced_quote(path: Path, start: int, raw: list[str], error: str) -> str:
    """The message for the record that begins in line `start`."""
    place, end = f"{path}, line {start}", start + len(raw) - 1
    if any('\\"' in line for line in raw):
        return (
            f'{place}: a quote is escaped by a backslash (\\"); write it as two quotes (""), in '
            'each such line, for instance with `sed \'s/\\\\"/""/g\'`'
        )
    if "end of data" in error:
        opened, inside = start, False
        for number, line in enumerate(raw, start=start):
            if line.count('"') % 2:
                opened, inside = (opened if inside else number), not inside
        return (
            f"{path}, line {opened}: a quote opens in this line and is never closed; close it, or "
            'write a quote inside a text as two quotes ("")'
        )
    if "expected after" in error:
        error = "text follows a closing quote"
    to = f" (the record ends in line {end})" if end > start else ""
    return (
        f"{place}: {error}{to}; put the whole text in quotes, and write a quote inside it as two "
        'quotes ("")'
    )


def _hint(path: Path, names: Sequence[str], separator: str) -> str:
    """How to name columns, for the message that one is missing."""
    hint = " (the first row is taken as the header"
    sizes = [len(name) for name in names]
    if all(map(looks_like_name, names)) or len(set(sizes)) == 1:
        return f"{hint}; if it is data, write a line with names above it)"
    new = [f"column{number}" for number in range(1, len(names) + 1)]
    new[sizes.index(min(sizes))], new[sizes.index(max(sizes))] = "label", "text"
    if path.suffix.lower() in COMPRESSED or separator == "\t":
        return f"{hint}; if it is data, write a line above it such as {' '.join(new)})"
    command = f"(echo '{separator.join(new)}'; cat {path}) > named.csv"
    return f"{hint}; if it is data, name the columns, for instance `{command}`)"
