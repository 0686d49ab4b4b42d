"""Labels of a source, and their numbers in the list of label names.

Labels of a source are texts or whole numbers. In a split, a label is its number in the list of
label names; a text without a label has -1, as on the Hub.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from unicodedata import normalize

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, listed
from sentiformer.core.text_files import require_whole_characters

NO_LABEL = -1
MAX_CLASSES, MAX_CLASS_SHARE = 100, 0.9  # more labels than both, the latter a share of the texts
WHOLE_NUMBER = re.compile("0|-?[1-9][0-9]{0,99}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # control characters and line breaks


def require_one_type(name: str, labels: Iterable[object]) -> None:
    """Check the labels of the split `name`.

    Raises:
        UserError: there are no labels, or some are texts and others numbers.
    """
    examples = {type(label): repr(label) for label in labels}
    if not examples:
        raise UserError(f"{name}: there is no text; add texts")
    if len(examples) > 1:
        found = " and ".join(examples.values())
        raise UserError(
            f"{name}: it has labels of two types, such as {found}; make them all text or all "
            "numbers"
        )


def require_classes(name: str, *, texts: int, labels: int) -> None:
    """Check that labels are classes, and not for example the texts themselves.

    Raises:
        UserError: nearly each of many texts has a label of its own.
    """
    if labels > max(MAX_CLASSES, MAX_CLASS_SHARE * texts):
        raise UserError(
            f"{name}: its {texts:,} texts have {labels:,} different labels; name the column of "
            "the classes in download.label_column"
        )


def number_labels(
    found: Iterable[object], names: list[str] | None
) -> tuple[dict[str, int], list[str]]:
    """Return the number of each label, by its spelling, and the label names in their order.

    If all labels are in `names`, they are names. Otherwise whole numbers are positions in `names`,
    from 0. Without `names`, the labels are sorted, by value if all are whole numbers.

    Raises:
        UserError: a label is not one of the names, there is only one label, or a name contains a
            line break, a control character or half of a surrogate pair.
    """
    known = {str(label) for label in found}
    whole = all(map(WHOLE_NUMBER.fullmatch, known))
    names = names or (sorted(known, key=int) if whole else sorted(known))
    if len(names) < 2:
        raise UserError(
            f"download.label_column has only the label {names[0]!r}; a classifier needs two"
        )
    _check_names(names)
    numbers = {name: number for number, name in enumerate(names)}
    if whole and not known <= numbers.keys():
        numbers = {str(number): number for number in range(len(names))}
    if unknown := sorted(known - numbers.keys()):
        counted = f", numbered from 0 to {len(names) - 1}" if whole else ""
        raise UserError(
            f"download.labels are {listed(names)}{counted}; the data also have {listed(unknown)}; "
            "name all labels, or set it to null"
        )
    return numbers, names


def _check_names(names: list[str]) -> None:
    """Check the characters of label names; report names that differ only by a likely mistake."""
    similar = defaultdict(list)
    for name in names:
        require_whole_characters(name, "a label")
        if CONTROL.search(name):
            raise UserError(
                f"the label {name!r} has a line break or a control character; remove it"
            )
        similar[" ".join(normalize("NFKC", name).casefold().split())].append(name)
    for group in similar.values():
        if len(group) > 1:
            shown = ", ".join(map(repr, group))
            say(f"the labels {shown} differ only in case or white space; are they one class?")
