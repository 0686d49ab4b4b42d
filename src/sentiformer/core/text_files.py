"""Read texts from CSV, TSV, JSON, Parquet and plain text files of any size, row by row."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sentiformer.core.columns import Columns, guess, require_columns
from sentiformer.core.csv_rows import possible_headers, read_csv
from sentiformer.core.errors import UserError, first_line
from sentiformer.core.json_rows import json_keys, read_json
from sentiformer.core.text_lines import (
    BUFFER_BYTES,
    Say,
    format_of,
    open_file,
    open_lines,
    require_text,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

JSON = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv", *JSON, ".parquet")
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
INVISIBLE = re.compile(r"[\s\0\u00ad\u200b-\u200f\u2060\ufeff]*")  # a text of only these is none
Row: TypeAlias = tuple[str, tuple[object, ...]]


def read_texts(path: Path, column: str, say: Say = lambda line: None) -> Iterator[str | None]:
    """Yield the text in a column of each row of a file, or None for a row without one.

    None stands for an empty text and white space, for a value that is not a text, and for a row
    that is broken while the next ones are not; `say` gets a line about the broken ones. If
    `column` is `text`, the default, and the file has no such column, it is guessed.

    Raises:
        UserError: see `read_rows`.
    """
    columns: Columns = {column: "--column"}
    if format_of(path) in TABLES and path.is_file():  # a pipe can be read only once
        columns = guess_columns(path, columns, say)
    broken = 0
    for _, values in _read(path, columns, say):
        if isinstance(values, UserError):
            broken += 1
            if broken == 1:
                say(f"{values}; the row counts as one without a text")
            yield None
        else:
            yield plain_text(values[0])
    if broken > 1:
        say(f"{path}: {broken:,} rows are broken and count as rows without a text")


def read_rows(path: Path, columns: Columns, say: Say = lambda line: None) -> Iterator[Row]:
    """Yield each row of a file: its place, for error messages, and its values in some columns.

    Args:
        path: its suffix is the format: one of `TABLES`, or for a single column `.txt` with one text
            per line; then the column's name does not matter. All but Parquet can be compressed
            by gzip or zstd. Arrays of JSON are read as a whole; all else needs little memory.
        columns: the option that names each column, for error messages, by the column's name.
        say: gets a line about a separator that is not the usual one.

    Raises:
        UserError: the file does not have this format, does not have a column, or cannot be read.
    """
    for place, values in _read(path, columns, say):
        if isinstance(values, UserError):
            raise values
        yield place, values


def guess_columns(path: Path, columns: Columns, say: Say) -> Columns:
    """Find the columns of a file, also by similar or usual names (see `core/columns.py`).

    `say` gets a line about each that is not named by its option. If a column is not found, or
    there are several choices, it stays, and `read_rows` names what the file has.

    Raises:
        UserError: the file cannot be read.
    """
    found = max((guess(columns, names) for names in _headers(path, columns)), key=len, default={})
    for column, name in found.items():
        if name != column and len(found) == len(columns):
            say(
                f"{path} has no column {column!r}; {name!r} is read instead; {columns[column]} "
                "names another"
            )
    return {found.get(column, column): option for column, option in columns.items()}


def has_columns(path: Path, columns: Columns) -> bool:
    """Whether a file has all columns by these names."""
    return any(set(columns) <= set(names) for names in _headers(path, columns))


def _headers(path: Path, columns: Columns) -> list[list[str]]:
    """The columns of a file; those of CSV by each separator that is possible."""
    kind = format_of(path)
    if kind in (".csv", ".tsv"):
        return list(possible_headers(path).values())
    if kind in JSON:
        return [json_keys(path, columns)]
    if kind == ".parquet":
        with _parquet(path) as file:
            return [file.schema_arrow.names]
    return []


def _read(
    path: Path, columns: Columns, say: Say
) -> Iterator[tuple[str, tuple[object, ...] | UserError]]:
    """The rows of a file in any format, or the error of a row."""
    kind, lines = format_of(path), len(columns) == 1
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file")
    if kind in SPREADSHEETS:
        raise UserError(f"{path} is a spreadsheet; save it as CSV in UTF-8, and give that file")
    if kind in (".csv", ".tsv"):
        yield from read_csv(path, columns, say)
    elif kind in JSON:
        yield from read_json(path, columns, say)
    elif kind == ".parquet":
        yield from _read_parquet(path, columns)
    elif lines and (kind == ".txt" or _is_pipe(path)):
        for number, line in enumerate(open_lines(path), start=1):
            yield f"{path}, line {number}", (line.rstrip("\r\n"),)
    else:
        known = ", ".join([*TABLES, *([".txt"] if lines else [])])
        raise UserError(f"{path}: its suffix must be one of {known}, or such a one and .gz or .zst")


def _is_pipe(path: Path) -> bool:
    """Whether a path is no file on disk, as /dev/stdin or a shell's <(...)."""
    regular = path.is_file() and not str(path).startswith("/dev/")
    return path.exists() and not regular and not path.is_dir()


def batch_rows(
    batches: "Iterable[pa.RecordBatch]", columns: Columns
) -> Iterator[tuple[object, ...]]:
    """Yield the values of each row of Arrow batches in some columns."""
    for batch in batches:
        yield from zip(*(batch[column].to_pylist() for column in columns), strict=True)


def as_text(value: object, place: str) -> str:
    """Return a value of a row; raise a UserError if it is not a text of whole characters."""
    if not isinstance(value, str):
        raise UserError(f"{place}: the text is {value!r}, which is not a text; correct the row")
    require_whole_characters(value, f"{place}: the text")
    return value


def require_whole_characters(text: str, name: str) -> None:
    """Check that a text, called `name` in the error message, can be encoded as UTF-8.

    Raises:
        UserError: it contains half of a surrogate pair, which an escape in JSON, or bytes on a
            command line, can give.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{name} holds {text[error.start]!a}, which is no whole character; write it in UTF-8"
        ) from None


def plain_text(value: object) -> str | None:
    """The text of a cell; None if there is none or if it is not a text. A number is its digits."""
    if isinstance(value, str):
        return None if INVISIBLE.fullmatch(value) else value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number and not is_missing(value) else None


def is_missing(value: object) -> bool:
    """Whether a cell is empty: null, NaN, or a text of white space and invisible characters."""
    if isinstance(value, str):
        return INVISIBLE.fullmatch(value) is not None
    return value is None or (isinstance(value, float) and value != value)


@contextmanager
def _parquet(path: Path) -> "Iterator[pq.ParquetFile]":
    """Open a Parquet file; turn what is wrong with it into one line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_file(path) as raw:
        start = raw.peek(16)  # type: ignore[attr-defined]  # it is buffered
        if not start.startswith(b"PAR1"):
            require_text(start, path)
        try:
            # without these options a whole row group is in memory, and some files have only one
            yield pq.ParquetFile(raw, pre_buffer=False, buffer_size=BUFFER_BYTES)
        # the last two: bytes that are not UTF-8, and dates that Python cannot represent
        except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
            raise UserError(
                f"{path} is not a readable Parquet file: {first_line(error).rstrip('.')}; write or "
                "download it again"
            ) from None


def _read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    with _parquet(path) as file:
        require_columns(columns, file.schema_arrow.names, str(path))
        batches = file.iter_batches(1000, columns=list(columns))
        for number, values in enumerate(batch_rows(batches, columns), start=1):
            yield f"{path}, row {number}", values
