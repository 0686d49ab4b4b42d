"""A source of labelled texts: one stream of rows for each split that it has."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sentiformer.core.columns import Columns
from sentiformer.core.errors import UserError
from sentiformer.core.names import UNLABELED
from sentiformer.core.text_files import as_text, is_missing, plain_text
from sentiformer.data.labels import BOOLEANS, canonical_label
from sentiformer.data.params import DownloadParams

SPLIT_NAMES = {  # names of each split on the Hub and of its files and folders; the first one wins
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
    UNLABELED: ("unsupervised", UNLABELED, "unlabelled"),
}
NO_TEXT, NOT_A_TEXT = "no text", "not a text"  # the reasons to leave a row out
NO_LABEL, SEVERAL_LABELS, NOT_A_LABEL = "no label", "several labels", "not a label"
NUMBER = re.compile(r"\s*[-+]?[\d.,]+\s*")


class Row(NamedTuple):
    """A text and its label: a text, a whole number or None."""

    text: str
    label: object
    source: int = 0  # its position in the list `Source.sources`


@dataclass(frozen=True)
class Stream:
    """The rows of a split, which can be read once."""

    rows: Iterator[Row]
    name: str  # of the split, for error messages
    left_out: Counter[str] = field(default_factory=Counter)  # rows that were read, by the reason


class Source(NamedTuple):
    """The splits of a source, always with train, and where they come from."""

    streams: dict[str, Stream]
    labels: list[str] | None  # the names in the order of their numbers, if they are known
    origin: dict[str, Any]  # name, licence and citation, and what else identifies the data
    sources: Sequence[str] = ("texts",)  # names of the sources of rows; the first is the headline


def columns_of(split: str, params: DownloadParams) -> dict[str, str]:
    """The columns to read of a split, each with the parameter that names it."""
    columns = {params.text_column: "download.text_column"}
    if split != UNLABELED:
        columns[params.label_column] = "download.label_column"
    return columns


def open_stream(
    records: Iterable[tuple[str, Sequence[object]]], columns: Columns, name: str, *, train: bool
) -> Stream:
    """Open the rows of a split, and count those that are left out.

    When all rows were read, a UserError says that no row of train is usable, or of another split
    for another reason than hidden labels; or that all texts are numbers.

    Args:
        records: the place of each row, for error messages, and its values in `columns`.
        columns: the parameter that names each column.
        train: whether it is the split train.
    """
    left_out: Counter[str] = Counter()
    rows = _checked(usable_rows(records, left_out), columns, name, left_out, train)
    return Stream(rows, name, left_out)


def _checked(
    rows: Iterator[Row], columns: Columns, name: str, left_out: Counter[str], train: bool
) -> Iterator[Row]:
    count = numbers = 0
    for row in rows:
        count += 1
        numbers += NUMBER.fullmatch(row.text) is not None
        yield row
    options = " and ".join(f"{option} ({column})" for column, option in columns.items())
    hidden = left_out.keys() == {NO_LABEL} and not train
    if not count and left_out and not hidden:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in left_out.items())
        raise UserError(f"{name}: no row can be used ({reasons}); check {options}")
    if count and numbers == count:
        raise UserError(f"{name}: each of the {count:,} texts is a number; check {options}")


def usable_rows(
    records: Iterable[tuple[str, Sequence[object]]], left_out: Counter[str]
) -> Iterator[Row]:
    """Yield the rows that have a text and, if they have two values, a label; count the others.

    Args:
        records: the place of each row, for error messages, and its text and label.
        left_out: counts the rows that are left out, by the reason.

    Raises:
        UserError: a text contains half of a surrogate pair.
    """
    for place, values in records:
        reason = _defect(values)
        if reason:
            left_out[reason] += 1
        else:
            yield checked_row(values, place)


def checked_row(values: Sequence[object], place: str) -> Row:
    """The row of a text and its label, which is None if there are no labels.

    Raises:
        UserError: the text is not a text, or there is no label.
        TypeError: the label is neither a text nor a number.
    """
    text = as_text(plain_text(values[0]) or values[0], place)
    if len(values) == 1:
        return Row(text, None)
    label = label_of(values[1])
    if label is None:
        raise UserError(
            f"{place}: the label is {values[1]!r}, neither a text nor a whole number; correct the "
            "label, or put texts without labels in files of their own (download.unlabeled)"
        )
    return Row(text, label)


def label_of(cell: object) -> int | str | None:
    """The label of a cell as `canonical_label` spells it; of a list, its only label.

    Texts such as TRUE and False are spelled as booleans are: true and false.

    Raises:
        TypeError: the cell is of another type, such as a date or a list of several.
    """
    if isinstance(cell, list | tuple) and len(cell) < 2:
        cell = cell[0] if cell else None
    if isinstance(cell, str) and cell.strip().lower() in BOOLEANS:
        return cell.strip().lower()
    return canonical_label(cell)


def _defect(values: Sequence[object]) -> str:
    """Why a row cannot be used, or nothing."""
    if plain_text(values[0]) is None:
        return NO_TEXT if is_missing(values[0]) else NOT_A_TEXT
    try:
        labelled = len(values) == 1 or label_of(values[1]) is not None
    except TypeError:
        return SEVERAL_LABELS if isinstance(values[1], list | tuple) else NOT_A_LABEL
    return "" if labelled else NO_LABEL
