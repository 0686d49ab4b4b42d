"""Objects of JSON files: one on each line (JSON Lines), or an array of them."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias

from sentiformer.core.columns import Columns, require_columns
from sentiformer.core.errors import UserError
from sentiformer.core.text_lines import Say, open_lines

PEEKED_ROWS = 1000  # the keys of these are the columns
Item: TypeAlias = tuple[str, dict[str, Any] | UserError]  # its place, and the object or its error
Values: TypeAlias = tuple[object, ...]


def read_json(path: Path, columns: Columns, say: Say) -> Iterator[tuple[str, Values | UserError]]:
    """Yield each row's place and its values in some columns; an absent value is None.

    JSON Lines need little memory. An array, also one under a key of a single object, is read as
    a whole. Of a row that is not an object, the error is yielded.

    Raises:
        UserError: none of the first rows has one of the columns, or the first is not JSON.
    """
    items = _objects(path, columns, say)
    first = list(islice(items, PEEKED_ROWS))
    keys = _keys(first)
    if first and not keys and isinstance(first[0][1], UserError):
        raise first[0][1]
    if first:
        require_columns(columns, keys, str(path))
    for place, item in chain(first, items):
        if isinstance(item, UserError):
            yield place, item
        else:
            yield place, tuple(item.get(column) for column in columns)


def json_keys(path: Path, columns: Columns) -> list[str]:
    """The keys of the first objects."""
    return _keys(islice(_objects(path, columns, lambda line: None), PEEKED_ROWS))


def _keys(items: Iterable[Item]) -> list[str]:
    return list(dict.fromkeys(key for _, item in items if isinstance(item, dict) for key in item))


def _objects(path: Path, columns: Columns, say: Say) -> Iterator[Item]:
    """Yield the objects of a file of JSON Lines, or of one that is a single JSON value."""
    numbered = enumerate(open_lines(path), start=1)
    head, values = _two_lines(numbered)
    lines = chain(head, numbered)
    array = "".join(line for _, line in head).lstrip().startswith("[")
    if array or not any(isinstance(v, dict) for v in values) or _is_table(values, columns):
        yield from _rows_of(path, columns, "".join(line for _, line in lines), say)
        return
    for number, line in lines:
        if line.strip():
            yield _checked(_parse(line), f"{path}, line {number}", columns)


def _two_lines(numbered: Iterator[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[Any]]:
    """The lines up to the second that is not blank, and the values of the two."""
    head, values = [], []
    for number, line in numbered:
        head.append((number, line))
        if line.strip():
            values.append(_parse(line))
            if len(values) == 2:
                break
    return head, values


def _is_table(values: list[Any], columns: Columns) -> bool:
    """Whether the only line of a file is no row, but an object that holds the rows."""
    cells = [values[0].get(column) for column in columns] if len(values) == 1 else [""]
    return not any(isinstance(cell, str | int | float) for cell in cells)


def _rows_of(path: Path, columns: Columns, text: str, say: Say) -> Iterator[Item]:
    """Yield the objects of a file that is one array, or one object with an array of them."""
    value = _parse(text)
    if isinstance(value, dict):
        value = _array_of(path, value, say)
    if isinstance(value, list):
        for number, row in enumerate(value, start=1):
            yield _checked(row, f"{path}, row {number}", columns)
    elif text.strip():
        yield _checked(value, f"{path}, line {getattr(value, 'lineno', 1)}", columns)


def _array_of(path: Path, value: dict[str, Any], say: Say) -> list[Any]:
    """The rows of an object: its only array of objects; or the object, if it holds plain values."""
    arrays = {
        key: rows
        for key, rows in value.items()
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)
    }
    if len(arrays) == 1:
        [(key, rows)] = arrays.items()
        say(f"{path}: the rows are the array {key!r}")
        return rows
    if any(isinstance(inner, list | dict) for inner in value.values()):
        raise UserError(
            f"{path}: it is one JSON object without exactly one array of rows; write an array of "
            "objects, in pandas with `to_json(orient='records')`"
        )
    return [value]


def _parse(text: str) -> Any:
    """The value of a JSON text, or the error if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return error


def _checked(value: Any, place: str, columns: Columns) -> Item:
    """The item of a JSON value, or of the error if it is none."""
    if isinstance(value, dict):
        return place, value
    if isinstance(value, ValueError | RecursionError):
        reason = getattr(value, "msg", value)
        if reason == "Extra data":
            reason = "text follows the first value; write one value on each line, or an array"
        return place, UserError(f"{place} is not JSON ({reason}); correct the line")
    keys = ", ".join(f'"{column}": …' for column in columns)
    return place, UserError(f"{place} is not a JSON object; write {{{keys}}}")
