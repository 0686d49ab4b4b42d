"""Texts from CSV, JSONL, Parquet and plain files, a few at a time."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from sentiformer.console import UserError

FIELD_CHARACTERS = 2**31 - 1  # csv refuses a long field otherwise


def read_texts(path: Path, column: str) -> Iterator[str]:
    """Yield the texts of a file, whatever its size.

    Args:
        path: its ending says what it is: `.csv`, `.jsonl`, `.parquet`, or `.txt` (a text a line).
        column: the column or key that holds the text; a `.txt` has none.

    Raises:
        UserError: the file cannot be read as what its ending says, or has no such column.
    """
    readers: dict[str, Callable[[Path, str], Iterator[str]]] = {
        ".csv": _read_csv,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
        ".txt": _read_lines,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: its ending must be one of {', '.join(readers)}")
    if not path.is_file():
        raise UserError(f"{path} is no file; check the path")
    try:
        yield from reader(path, column)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: byte {error.object[error.start]:#04x} is no UTF-8; convert it, for instance "
            "with `iconv -t utf-8`"
        ) from None
    except PermissionError:
        raise UserError(f"{path} may not be read; check its permissions") from None


def _read_csv(path: Path, column: str) -> Iterator[str]:
    csv.field_size_limit(FIELD_CHARACTERS)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            _require(column, list(rows.fieldnames or []), path)
            for row in rows:
                if None in row:
                    raise csv.Error("more cells than the header; a text with a comma needs quotes")
                yield _text(row[column], path, rows.line_num)
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num}: {error}; mend the line") from None


def _read_jsonl(path: Path, column: str) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is no JSON ({error}); mend it") from None
            if not isinstance(row, dict):
                raise UserError(f'{path}, line {number} is no JSON object; write {{"{column}": …}}')
            _require(column, list(row), path, number)
            yield _text(row[column], path, number)


def _read_parquet(path: Path, column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        _require(column, file.schema_arrow.names, path)
        number = 0
        for batch in file.iter_batches(1000, columns=[column]):
            for value in batch[0].to_pylist():
                number += 1
                yield _text(value, path, number)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no readable Parquet file: {reason}") from None


def _read_lines(path: Path, column: str) -> Iterator[str]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            yield line.rstrip("\n")


def _require(column: str, columns: list[str], path: Path, line: int | None = None) -> None:
    if column not in columns:
        place = f"{path}, line {line}" if line else str(path)
        known = ", ".join(columns) or "none"
        raise UserError(f"{place} has no column {column!r}; --column takes one of: {known}")


def _text(value: object, path: Path, number: int) -> str:
    if not isinstance(value, str):
        raise UserError(f"{path}, row {number}: the text is {value!r}, not a text; mend the row")
    return value
