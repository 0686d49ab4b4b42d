"""Rows of CSV and TSV files, as RFC 4180 defines them, with the line where each begins."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sentiformer.core.columns import Columns, looks_like_header, require_columns
from sentiformer.core.errors import UserError
from sentiformer.core.text_lines import COMPRESSED, Say, format_of, open_lines

if TYPE_CHECKING:
    import _csv

MAX_FIELD_CHARACTERS = 2**31 - 1  # the default of the module csv is 131,072
MAX_HEADER_LINES = 100
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SEPARATOR_LINE = re.compile("sep=(.)\r?\n?")  # Excel's first line
Values: TypeAlias = tuple[str | None, ...]


class Record(NamedTuple):
    """A row: the line where it begins, its cells, and its lines as they stand in the file."""

    start: int
    cells: list[str]
    lines: list[str]


class Header(NamedTuple):
    """The first record of a file."""

    names: dict[str, list[str]]  # the names of the columns by each separator that is possible
    lines: list[str]  # as they stand in the file
    skipped: int  # lines before it


def read_csv(path: Path, columns: Columns, say: Say) -> Iterator[tuple[str, Values | UserError]]:
    """Yield each row's place and its values in some columns; blank lines are left out.

    A value is None if the row has too few cells. If it has too many, its error is yielded.

    Raises:
        UserError: a column is missing, or a quote is misplaced.
    """
    lines = open_lines(path)
    header = _read_header(path, lines)
    separator = _separator(header, columns)
    names = header.names[separator]
    hint = "" if looks_like_header(names) else _hint(path, names, separator)
    require_columns(columns, names, str(path), hint)
    if separator != next(iter(header.names)):
        say(f"{path}: its columns are separated by {SEPARATORS[separator]}")
    indices = [names.index(column) for column in columns]
    records = _records(path, lines, header, separator)
    next(records)
    for record in records:
        place, cells = f"{path}, line {record.start}", record.cells
        if problem := _problem(record, names):
            yield place, UserError(f"{place}: {problem}")
        else:
            yield place, tuple(cells[i] if i < len(cells) else None for i in indices)


def _plain(cell: str) -> str:
    return cell.strip("\ufeff \t").casefold()


def _problem(record: Record, names: list[str]) -> str:
    """What is wrong with a record, or nothing."""
    if [_plain(cell) for cell in record.cells] == [_plain(name) for name in names]:
        return "it is the header again, as in joined files; remove the line"
    if any(cell.strip() for cell in record.cells[len(names) :]):
        return _escaped_quote(record.lines) or (
            f"{len(record.cells):,} cells, the header has {len(names):,}; put a text with the "
            "separator or a line break in quotes"
        )
    return ""


def possible_headers(path: Path) -> dict[str, list[str]]:
    """The names of the columns by each separator that is possible; the first is the usual one."""
    return _read_header(path, open_lines(path)).names


def _read_header(path: Path, lines: Iterator[str]) -> Header:
    """Read the first record that is not blank."""
    given, skipped, first = _first_record(lines)
    if not first:
        raise UserError(f"{path} has only blank lines; write or download it again, or remove it")
    if first[0].lstrip().startswith(('{"', "[")):
        raise UserError(f"{path} seems to be JSON; rename it so that it ends in .jsonl")
    usual = "\t" if format_of(path) == ".tsv" else "".join(SEPARATORS)
    names, problem = {}, ""
    for sign in given or usual:
        try:
            names[sign] = next(_cells(first, sign, first))
        except csv.Error as error:
            problem = _misplaced_quote(path, skipped + 1, first, str(error))
    if not names:
        raise UserError(problem)
    return Header(names, first, skipped)


def _first_record(lines: Iterator[str]) -> tuple[str, int, list[str]]:
    """The separator that Excel's first line names, the number of lines skipped, and the record."""
    given, skipped, quotes = "", 0, 0
    record: list[str] = []
    for line in lines:
        named = SEPARATOR_LINE.fullmatch(line)
        if not record and (named or not line.strip()):
            given, skipped = named[1] if named else given, skipped + 1
            continue
        record.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0 or len(record) == MAX_HEADER_LINES:
            break
    return given, skipped, record


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
    """Yield each record; the header is the first."""
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
            yield Record(start, cells, raw)


def _escaped_quote(lines: list[str]) -> str:
    """The message for a quote that is escaped by a backslash, or nothing if there is none."""
    if any('\\"' in line for line in lines):
        return (
            'a quote is escaped by a backslash (\\"); write it as two quotes (""), in each such '
            """line, for instance with `sed 's/\\\\"/""/g'`"""
        )
    return ""


def _misplaced_quote(path: Path, start: int, raw: list[str], error: str) -> str:
    """The message for the record that begins in line `start`."""
    place, end = f"{path}, line {start}", start + len(raw) - 1
    if problem := _escaped_quote(raw):
        return f"{place}: {problem}"
    if "end of data" in error:
        opened, inside = start, False
        for number, line in enumerate(raw, start=start):
            quotes = line.replace('""', "").count('"')
            before, inside = inside, inside != (quotes % 2 == 1)
            if inside and quotes > before:
                opened = number
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
    """How to name the columns of a file whose first row seems to be data."""
    new = [f"column{number}" for number in range(1, len(names) + 1)]
    by_length = sorted(range(len(names)), key=lambda index: len(names[index]))
    new[by_length[0]] = "label"
    new[by_length[-1]] = "text"
    header = separator.join(new).replace("\t", "\\t")
    packed = path.suffix.lower() if path.suffix.lower() in COMPRESSED else ""
    pack = {"": "", ".gz": " | gzip", ".zst": " | zstd -c"}[packed]
    named = f"named{format_of(path)}{packed}"
    return (
        " (the first row is taken as the header, but seems to be data; name the columns, for "
        f"instance with `(printf '{header}\\n'{pack}; cat {quote(str(path))}) > {named}`)"
    )
