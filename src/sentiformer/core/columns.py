"""Columns of a table: found by name, or guessed where there is one choice."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from sentiformer.core.errors import UserError, listed

Columns: TypeAlias = Mapping[str, str]  # the option that names a column, by the column's name
SHOWN_CHARACTERS = 30  # of a cell in a message
NAME_CHARACTERS, NAME_WORDS = 40, 4  # a header's cell with more is probably a text
WORDS = {  # the last word of a column's name, if the column has the default name of the option
    "text": "text texts review reviews sentence content body comment comments message tweet "
    "document utterance phrase title headline description summary abstract question post",
    "label": "label labels class classes category categories sentiment stars rating topic target "
    "intent emotion polarity genre",
}
OTHER_WORDS = (  # a column that is certainly neither
    "id ids index key uuid number no date time day year timestamp created updated url link user "
    "author name source language lang country city length count size split fold ip at score "
    "confidence likes useful helpful images"
)
INDEX = ("Unnamed: ", "__index_level_")  # the beginnings of names that pandas gives to an index
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")  # also those of camelCase


def require_columns(columns: Columns, present: Sequence[str], place: str, hint: str = "") -> None:
    """Check that each column occurs exactly once among those that are `present`.

    Raises:
        UserError: a column is missing or occurs several times; `hint` ends the message.
    """
    for column, option in columns.items():
        if column not in present:
            near = difflib.get_close_matches(column, present, n=1)
            meant = f"did you mean {shortened(near[0])!r}? " if near else ""
            known = listed([shortened(name) for name in present]) or "none"
            raise UserError(
                f"{place} has no column {column!r}; {meant}{option} takes one of: {known}{hint}"
            )
        if list(present).count(column) > 1:
            raise UserError(f"{place} has several columns {column!r}; rename all but one")


def guess(columns: Columns, present: Sequence[str]) -> dict[str, str]:
    """Find each column among those that are `present`; return the names that were found.

    A column that is absent may be one whose name differs only in case and white space. A column
    `text` or `label`, the defaults, may also be the only one with a usual name for it, or the
    other one of two columns. A column is not found if there are several choices.
    """
    found = {column: column for column in columns if column in present}
    named = [name for name in present if name.strip() and not name.startswith(INDEX)]
    for column in columns:
        same = [name for name in named if _plain(name) == _plain(column)]
        if column not in found and len(same) == 1:
            found[column] = same[0]
    if looks_like_header(present):
        for rule in (_by_word, _other_of_two):
            for column in [column for column in columns if column in WORDS and column not in found]:
                taken = found.values()
                if name := rule(column, [name for name in named if name not in taken], named):
                    found[column] = name
    return found


def _by_word(column: str, free: Sequence[str], named: Sequence[str]) -> str | None:
    """The only free column whose name ends in a usual word.

    Of more than two columns, each must have a known purpose: another one may hold the texts.
    """
    fits = [name for name in free if _last_word(name) in WORDS[column].split()]
    known = {*OTHER_WORDS.split(), *" ".join(WORDS.values()).split()}
    if column == "text" and len(named) > 2 and any(_last_word(n) not in known for n in free):
        return None
    return fits[0] if len(fits) == 1 else None


def _other_of_two(column: str, free: Sequence[str], named: Sequence[str]) -> str | None:
    """The column of two that is left when the other one has a known purpose."""
    known = {word for other, words in WORDS.items() if other != column for word in words.split()}
    fits = [name for name in free if _last_word(name) not in known | set(OTHER_WORDS.split())]
    return fits[0] if len(fits) == 1 and len(named) == 2 else None


def looks_like_header(cells: Sequence[str]) -> bool:
    """Whether the cells of a first row can be the names of columns.

    A single one with white space inside may be a text without a header.
    """
    named = [cell for cell in cells if cell.strip() and not cell.startswith(INDEX)]
    return all(map(looks_like_name, cells)) and (len(named) > 1 or " " not in "".join(named))


def looks_like_name(cell: str) -> bool:
    """Whether a cell of the first row can be the name of a column, and is no number or text."""
    words = len(cell.split()) <= NAME_WORDS and len(cell) <= NAME_CHARACTERS
    return words and not re.search(r"[,;|\t]|^\s*[-+]?\d[\d.:/-]*\s*$", cell)


def shortened(cell: str) -> str:
    """The beginning of a cell on one line, for a message."""
    line = " ".join(cell.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 1]}…"


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def _last_word(name: str) -> str:
    words = WORD.findall(name)
    return words[-1].lower() if words else ""
