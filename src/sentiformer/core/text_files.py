"""Read texts from CSV, JSONL, Parquet and plain text files of any size, row by row."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sentiformer.core.errors import ICONV, UserError, first_line, listed

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FIELD_CHARACTERS = 2**31 - 1  # the default of the module csv is 131,072
BUFFER_BYTES = 2**20
UTF_16 = "it is UTF-16; convert it, for instance with `iconv -f utf-16 -t utf-8`"
OTHER_FORMATS = {  # first bytes of files that are not UTF-8
    b"\x1f\x8b": "it is compressed by gzip; decompress it",
    b"PK\x03\x04": "it is a zip archive, for example of Excel; unpack it, or export it as CSV",
    b"\xff\xfe": UTF_16,
    b"\xfe\xff": UTF_16,
}
Columns: TypeAlias = Mapping[str, str]
Row: TypeAlias = tuple[str, tuple[object, ...]]


def read_texts(path: Path, column: str) -> Iterator[str]:
    """Yield the texts in a column of a file; see `read_rows`."""
    for place, (value,) in read_rows(path, {column: "--column"}):
        yield as_text(value, place)


def read_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield each row of a file: its place, for error messages, and its values in some columns.

    Args:
        path: its suffix is the format: `.csv`, `.jsonl`, `.parquet`, or for a single column `.txt`
            with one text per line; then the column's name does not matter.
        columns: the option that names each column, for error messages, by the column's name.

    Raises:
        UserError: the file does not have this format, does not have a column, or cannot be read.
    """
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if len(columns) == 1:
        readers[".txt"] = _read_lines
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: its suffix must be one of {', '.join(readers)}")
    if not path.is_file():
        raise UserError(f"{path} is not a file; check the path")
    try:
        yield from reader(path, columns)
    except UnicodeDecodeError as error:
        with path.open("rb") as file:
            start = file.read(4)
        reason = f"byte {error.object[error.start]:#04x} is not UTF-8; convert the file, for "
        reason += f"instance with `{ICONV}`"
        known = (text for magic, text in OTHER_FORMATS.items() if start.startswith(magic))
        raise UserError(f"{path}: {next(known, reason)}") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read; check its permissions") from None


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


def require_columns(columns: Columns, present: list[str], place: str) -> None:
    """Check that each column occurs exactly once among those that are `present`.

    Raises:
        UserError: a column is missing or occurs several times.
    """
    for column, option in columns.items():
        if column not in present:
            known = listed(present) or "none"
            if len(present) == 1 and re.search(r"[;\t|]", known):
                known += " (the columns of a CSV must be separated by commas)"
            raise UserError(f"{place} has no column {column!r}; {option} takes one of: {known}")
        if present.count(column) > 1:
            raise UserError(f"{place} has several columns {column!r}; rename all but one")


def _read_csv(path: Path, columns: Columns) -> Iterator[Row]:
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            require_columns(columns, list(rows.fieldnames or []), str(path))
            for row in rows:
                if None in row:
                    raise csv.Error("more cells than the header; a text with a comma needs quotes")
                yield f"{path}, line {rows.line_num}", tuple(row[column] for column in columns)
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: {error}; correct the line") from None


def _read_jsonl(path: Path, columns: Columns) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{place} is not JSON ({error}); correct the line") from None
            if not isinstance(row, dict):
                keys = ", ".join(f'"{column}": …' for column in columns)
                raise UserError(f"{place} is not a JSON object; write {{{keys}}}")
            require_columns(columns, list(row), place)
            yield place, tuple(row[column] for column in columns)


def _read_parquet(path: Path, columns: Columns) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # without these options a whole row group is in memory, and some files have only one
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES)
        require_columns(columns, file.schema_arrow.names, str(path))
        batches = file.iter_batches(1000, columns=list(columns))
        for number, values in enumerate(batch_rows(batches, columns), start=1):
            yield f"{path}, row {number}", values
    # the last two: bytes that are not UTF-8, and dates that Python cannot represent
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {first_line(error)}") from None


def _read_lines(path: Path, columns: Columns) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            yield f"{path}, line {number}", (line.rstrip("\n"),)
