"""Labels of a source, and their numbers in the list of label names.

A source has labels that are texts or whole numbers. In a split, a label is its number in the list
of label names, and a text without a label has the number -1, as in data sets of the Hub.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from unicodedata import normalize

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, listed
from sentiformer.core.text_files import require_whole_characters

NO_LABEL = -1
MAX_CLASSES, MAX_CLASS_SHARE = 100, 0.9  # more labels than both, the latter a share of the texts
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # control characters and line breaks


def require_one_type(name: str, counts: Mapping[object, int]) -> None:
    """Check that a split has texts, and that its labels are all texts or all numbers.

    Args:
        name: what the error message calls the split.
        counts: the number of rows of each label.

    Raises:
        UserError: there is no row, or the labels have two types.
    """
    if not counts:
        raise UserError(f"{name}: there is no text; add texts")
    types: Counter[str] = Counter()
    for label, count in counts.items():
        types[type(label).__name__] += count
    if len(types) > 1:
        found = " and ".join(f"{count:,} {kind}" for kind, count in sorted(types.items()))
        raise UserError(f"{name}: its labels are {found}; make them all text or all numbers")


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
    """Number the labels of all splits.

    If all labels are in `names`, they are names. Otherwise whole numbers are positions in `names`,
    from 0. Without `names`, the labels are sorted, by value if all are whole numbers.

    Args:
        found: the distinct labels, texts or integers.
        names: the label names in their order, if they are given.

    Returns:
        the number of each label, by its spelling; and the label names.

    Raises:
        UserError: a label is not one of the names, there is only one label, or a name contains a
            line break, a control character or half of a surrogate pair.
    """
    known = {str(label) for label in found}
    whole = all(_is_whole(label) for label in known)
    if names is None:
        names = sorted(known, key=int) if whole else sorted(known)
    if len(names) < 2:
        raise UserError(
            f"download.label_column has only the label {names[0]!r}; a classifier needs two"
        )
    _check_names(names)
    numbers = {name: number for number, name in enumerate(names)}
    if not known <= numbers.keys() and whole:
        numbers = {str(number): number for number in range(len(names))}
    unknown = sorted(known - numbers.keys())
    if unknown:
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


def _is_whole(label: str) -> bool:
    try:
        return str(int(label)) == label
    except ValueError:
        return False
