"""Texts from CSV, JSONL, Parquet and plain files, a few at a time."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from sentiformer.core.errors import ICONV, UserError, first_line, listed

FIELD_CHARACTERS = 2**31 - 1  # csv refuses a long field otherwise
BUFFER_BYTES = 2**20
UTF_16 = "it is UTF-16; convert it, for instance with `iconv -f utf-16 -t utf-8`"
NO_TEXT = {  # how files begin that are no UTF-8, and what they are
    b"\x1f\x8b": "it is packed by gzip; unpack it",
    b"PK\x03\x04": "it is a zip archive, as of Excel; unpack it, or export it as CSV",
    b"\xff\xfe": UTF_16,
    b"\xfe\xff": UTF_16,
}
Columns: TypeAlias = Mapping[str, str]
Row: TypeAlias = tuple[int, tuple[object, ...]]


def read_texts(path: Path, column: str) -> Iterator[str]:
    """Yield the texts of a file, whatever its size.

    Args:
        path: its ending says what it is: `.csv`, `.jsonl`, `.parquet`, or `.txt` (a text a line).
        column: the column or key that holds the text; a `.txt` has none.

    Raises:
        UserError: the file cannot be read as what its ending says, or has no such column.
    """
    for number, (value,) in read_rows(path, {column: "--column"}):
        yield as_text(value, path, number)


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield the number of each row of a file and its values in some columns.

    Args:
        path: as in `read_texts`; a `.txt` has one column, whatever its name.
        columns: the name of each column, and the option that chose it, for the error text.

    Raises:
        UserError: the file cannot be read as what its ending says, or lacks a column.
    """
    readers: dict[str, Callable[[Path, Columns], Iterator[Row]]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    if len(columns) == 1:
        readers[".txt"] = _read_lines
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: its ending must be one of {', '.join(readers)}")
    if not path.is_file():
        raise UserError(f"{path} is no file; check the path")
    try:
        yield from reader(path, columns)
    except UnicodeDecodeError as error:
        with path.open("rb") as file:
            start = file.read(4)
        reason = f"byte {error.object[error.start]:#04x} is no UTF-8; convert it, for instance "
        reason += f"with `{ICONV}`"
        known = (what for magic, what in NO_TEXT.items() if start.startswith(magic))
        raise UserError(f"{path}: {next(known, reason)}") from None
    except PermissionError:
        raise UserError(f"{path} may not be read; check its permissions") from None


def as_text(value: object, place: object, number: int) -> str:
    """The value of a row, which must be a text.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, str):
        raise UserError(f"{place}, row {number}: the text is {value!r}, not a text; mend the row")
    return value


def require_whole_characters(text: str, what: str) -> None:
    """Check that a text can be written as UTF-8.

    An escape in JSON, or bytes on a command line, can give half of a surrogate pair.

    Args:
        what: what holds the characters, for the error text.

    Raises:
        UserError: a character of it cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{what} holds {text[error.start]!a}, which is no whole character; write it in UTF-8"
        ) from None


def _read_csv(path: Path, columns: Columns) -> Iterator[Row]:
    csv.field_size_limit(FIELD_CHARACTERS)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            require_columns(columns, list(rows.fieldnames or []), str(path))
            for row in rows:
                if None in row:
                    raise csv.Error("more cells than the header; a text with a comma needs quotes")
                yield rows.line_num, tuple(row[column] for column in columns)
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: {error}; mend the line") from None


def _read_jsonl(path: Path, columns: Columns) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is no JSON ({error}); mend it") from None
            if not isinstance(row, dict):
                keys = ", ".join(f'"{column}": …' for column in columns)
                raise UserError(f"{path}, line {number} is no JSON object; write {{{keys}}}")
            require_columns(columns, list(row), f"{path}, line {number}")
            yield number, tuple(row[column] for column in columns)


def _read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # otherwise a row group is read whole, and some writers make one of all rows
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES)
        require_columns(columns, file.schema_arrow.names, str(path))
        number = 0
        for batch in file.iter_batches(1000, columns=list(columns)):
            for values in zip(*(batch[column].to_pylist() for column in columns), strict=True):
                number += 1
                yield number, values
    # bytes that are no UTF-8, a date of the year 30,000
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise UserError(f"{path} is no readable Parquet file: {first_line(error)}") from None


def _read_lines(path: Path, columns: Columns) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            yield number, (line.rstrip("\n"),)


def require_columns(columns: Columns, present: list[str], place: str) -> None:
    """Check that each column that an option names is there, once.

    Raises:
        UserError: one is missing, or stands there several times.
    """
    for column, option in columns.items():
        if column not in present:
            known = listed(present) or "none"
            if len(present) == 1 and re.search(r"[;\t|]", known):
                known += " (commas part the columns of a CSV)"
            raise UserError(f"{place} has no column {column!r}; {option} takes one of: {known}")
        if present.count(column) > 1:
            raise UserError(f"{place} has several columns {column!r}; name them differently")
