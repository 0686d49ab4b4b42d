"""A source of labelled texts: one stream of rows for each split that it has."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sentiformer.core.errors import UserError
from sentiformer.core.names import UNLABELED
from sentiformer.core.text_files import as_text
from sentiformer.data.params import DownloadParams

SPLIT_NAMES = {  # names of each split on the Hub and of its files and folders; the first one wins
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
    UNLABELED: ("unsupervised", UNLABELED),
}


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


def checked_row(values: Sequence[object], place: str) -> Row:
    """Check a row's text and its label, which is None if there are no labels.

    Raises:
        UserError: the text is not a text, or the label is neither a text nor a whole number.
    """
    text = as_text(values[0], place)
    if len(values) == 1:
        return Row(text, None)
    label = values[1]
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        raise UserError(
            f"{place}: the label is {label!r}, neither a text nor a whole number; correct the "
            "label, or put texts without labels in files of their own (download.unlabeled)"
        )
    return Row(text, label)
