"""Labels as they are found, and their numbers in the list of label names.

A label is a text or a whole number where it lives; in a split it is its number in `labels`. A text
without a label has the number -1, as data sets of the Hub have it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from unicodedata import normalize

from sentiformer.console import say
from sentiformer.core.errors import UserError, listed
from sentiformer.core.text_files import require_whole_characters

NO_LABEL = -1
MANY_LABELS, NO_CLASSES = 100, 0.9  # labels beyond both, the latter a share of the texts
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # characters, and ends of lines


def require_rows(where: str, counts: Mapping[object, int]) -> None:
    """Check what a split has given.

    Args:
        where: what it is called in an error text.
        counts: how many rows have each label.

    Raises:
        UserError: there is no row, or some labels are texts and some are numbers.
    """
    if not counts:
        raise UserError(f"{where}: there is no text; give it some")
    kinds: Counter[str] = Counter()
    for label, count in counts.items():
        kinds[type(label).__name__] += count
    if len(kinds) > 1:
        found = " and ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        raise UserError(f"{where}: its labels are {found}; make them all text or all numbers")


def require_classes(where: str, *, texts: int, labels: int) -> None:
    """Refuse labels that are no classes, as where they are read from the column of the texts.

    Raises:
        UserError: nearly each of many texts has a label of its own.
    """
    if labels > max(MANY_LABELS, NO_CLASSES * texts):
        raise UserError(
            f"{where}: its {texts:,} texts have {labels:,} different labels; name the column of "
            "the classes in download.label_column"
        )


def number_labels(
    found: Iterable[object], names: list[str] | None
) -> tuple[dict[str, int], list[str]]:
    """Number the labels of all splits by the list of label names.

    Labels that all stand in `names` are names. Other whole numbers count from 0 in `names`.
    Without `names`, these are the labels themselves: numbers by size, or texts by spelling.

    Args:
        found: the distinct labels, texts or integers.
        names: the label names in their order, if they are given.

    Returns:
        the number of each label, by its spelling; and the label names.

    Raises:
        UserError: a label is not among the names, a name cannot be shown, or there is only one.
    """
    known = {str(label) for label in found}
    whole = all(_is_whole(label) for label in known)
    if names is None:
        names = sorted(known, key=int) if whole else sorted(known)
    if len(names) < 2:
        raise UserError(
            f"download.label_column holds only the label {names[0]!r}; a classifier needs two"
        )
    for name in names:
        require_whole_characters(name, "a label")
        if CONTROL.search(name):
            raise UserError(
                f"the label {name!r} has a line break or a control character; take it out"
            )
    numbers = {name: number for number, name in enumerate(names)}
    if not known <= numbers.keys() and whole:
        numbers = {str(number): number for number in range(len(names))}
    strange = sorted(known - numbers.keys())
    if strange:
        counted = f", which numbers count from 0, to {len(names) - 1}" if whole else ""
        raise UserError(
            f"download.labels are {listed(names)}{counted}; the data have {listed(strange)}, too; "
            "name all labels, or set it to null"
        )
    _say_alike(names)
    return numbers, names


def _say_alike(names: list[str]) -> None:
    """Name labels that a slip of the pen may have parted."""
    alike = defaultdict(list)
    for name in names:
        alike[" ".join(normalize("NFKC", name).casefold().split())].append(name)
    for those in alike.values():
        if len(those) > 1:
            shown = ", ".join(map(repr, those))
            say(f"the labels {shown} differ in case or white space alone; are they one class?")


def _is_whole(label: str) -> bool:
    try:
        return str(int(label)) == label
    except ValueError:
        return False
