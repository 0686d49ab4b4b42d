"""Labels of a source, and their numbers in the list of label names.

Labels of a source are texts or whole numbers. In a split, a label is its number in the list of
label names; a text without a label has -1, as on the Hub.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, listed
from sentiformer.core.text_files import require_whole_characters
from sentiformer.data.label_spelling import clean, exact_key, loose_key, number_value

NO_LABEL = -1
MAX_CLASSES, MAX_CLASS_SHARE = 100, 0.9  # more labels than both, the latter a share of the texts
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
BOOLEANS = ("false", "true")
Key: TypeAlias = Fraction | str  # equal for the spellings of one class


def canonical_label(value: object) -> int | str | None:
    """Return a value of a label column in one form for all file formats; None is no label.

    A whole number is an int, also if it is stored as float or decimal; another number is its text;
    a boolean is `true` or `false`. Missing values and texts that show nothing are None.

    Raises:
        TypeError: the value is of another type, such as a list or a date.
    """
    if value is None or value != value:  # NaN
        return None
    if isinstance(value, bool):
        return BOOLEANS[value]
    if isinstance(value, float | Decimal):
        return int(value) if value == value // 1 else str(value)
    if isinstance(value, str):
        return value if exact_key(value) else None
    if isinstance(value, int):
        return value
    raise TypeError(type(value).__name__)


def require_one_type(name: str, labels: Collection[object]) -> None:
    """Check the labels of the split `name`.

    Raises:
        UserError: there are no labels, or some are numbers and others texts that are no numbers.
    """
    if not labels:
        raise UserError(f"{name}: there is no text; add texts")
    numbers = [label for label in labels if isinstance(label, int)]
    words = [label for label in labels if isinstance(label, str) and number_value(label) is None]
    if numbers and words:
        raise UserError(
            f"{name}: it has labels of two types, such as {numbers[0]!r} and {words[0]!r}; make "
            "them all text or all numbers"
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


def is_hidden(label: object) -> bool:
    """Whether a label is -1, which stands for a hidden label unless it is a class of train."""
    return number_value(str(label)) == NO_LABEL


def number_labels(
    found: Mapping[object, int], names: Sequence[str] | None
) -> tuple[dict[str, int], list[str]]:
    """Return the number of each label, by its spelling, and the label names in their order.

    Spellings that surely mean the same are one class; that is reported, and so are spellings that
    perhaps mean the same. With `names`, the latter also are one class if one of them is a name.
    If the labels are not in `names`, whole numbers are positions in `names`, from 0, and false and
    true are the first and the second of two. Without `names`, the labels are sorted, by value if
    all are numbers.

    Args:
        found: the number of texts of each label.

    Raises:
        UserError: a label is not one of the names, there is only one label, or a name contains a
            control character or half of a surrogate pair.
    """
    counts: Counter[str] = Counter()
    for label, count in found.items():
        counts[str(label)] += count
    keys = _class_keys(counts)
    own_names = _name_classes(keys)
    names = list(own_names.values() if names is None else map(clean, names))
    if len(names) < 2:
        raise UserError(
            f"download.label_column has only the label {names[0]!r}; a classifier needs two"
        )
    _check_names(names)
    numbers = {key: number for number, key in enumerate(own_names)}
    if names != list(own_names.values()):
        numbers = _match_names(keys, names)
    number_of = {spelling: numbers[key] for spelling, key in keys.items()}
    _report_joined(counts, number_of, names)
    _report_similar(counts, number_of, names)
    return number_of, names


def _class_keys(spellings: Collection[str]) -> dict[str, Key]:
    """The key of the class of each spelling."""
    values = {spelling: number_value(spelling) for spelling in spellings}
    if None not in values.values():
        return {spelling: value for spelling, value in values.items() if value is not None}
    keys = {spelling: exact_key(spelling) for spelling in spellings}
    lower = {spelling: key.lower() for spelling, key in keys.items()}
    return dict(lower if set(lower.values()) <= set(BOOLEANS) else keys)


def _name_classes(keys: Mapping[str, Key]) -> dict[Key, str]:
    """The name of each class without given names, in the order of the keys."""
    spellings = defaultdict(set)
    for spelling, key in keys.items():
        spellings[key].add(clean(spelling))
    names = {}
    for key in sorted(spellings):  # all are texts, or all are numbers
        name = min(spellings[key], key=lambda text: (len(text), text))
        if isinstance(key, Fraction) and key.denominator == 1:
            name = name if re.fullmatch("-?[0-9]+", name) else str(key)
        elif len(spellings[key]) > 1 and key in BOOLEANS:
            name = str(key)
        names[key] = name
    return names


def _match_names(keys: Mapping[str, Key], names: Sequence[str]) -> dict[Key, int]:
    """The number of each class in the list of given names."""
    numeric = all(isinstance(key, Fraction) for key in keys.values())
    values = [number_value(name) for name in names]
    numbers: dict[Key, int] = {}
    similar: dict[str, list[int]] = defaultdict(list)
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        key = value if numeric and value is not None else exact_key(name)
        if key in numbers:
            raise UserError(f"download.labels name {name!r} twice; name each label once")
        numbers[key] = number
        similar[loose_key(name)].append(number)
    for spelling, key in keys.items():
        if len(alike := similar[loose_key(spelling)]) == 1:
            numbers.setdefault(key, alike[0])
    positions = ""
    if not {*keys.values()} <= numbers.keys() and set(values) == {None}:
        numbers |= _positions({*keys.values()}, names)
        positions = f", numbered from 0 to {len(names) - 1}" if numeric else ""
    if unknown := sorted(spelling for spelling, key in keys.items() if key not in numbers):
        raise UserError(
            f"download.labels are {listed(names)}{positions}; the data also have "
            f"{listed(unknown)}; name all labels, or set it to null"
        )
    return numbers


def _positions(keys: set[Key], names: Sequence[str]) -> dict[Key, int]:
    """The number of each name by its position, or by false and true."""
    if keys <= set(BOOLEANS) and len(names) == len(BOOLEANS):
        return {word: number for number, word in enumerate(BOOLEANS)}
    positions: dict[Key, int] = {Fraction(number): number for number in range(len(names))}
    if keys <= positions.keys() and Fraction(0) not in keys:
        raise UserError(
            f"download.labels are {listed(names)}, numbered from 0, but the lowest label of the "
            f"data is {min(keys)}; write names in the data instead of numbers, or set "
            "download.labels to null"
        )
    return positions


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        require_whole_characters(name, "a label")
        if CONTROL.search(name):
            raise UserError(f"the label {name!r} has a control character; remove it")
        if name == "?":
            raise UserError("the label '?' means that a model has no answer; give it another name")


def _report_joined(
    counts: Mapping[str, int], number_of: Mapping[str, int], names: Sequence[str]
) -> None:
    """Report spellings that are one class."""
    spellings: dict[int, list[str]] = defaultdict(list)
    for spelling in sorted(counts):
        spellings[number_of[spelling]].append(f"{spelling!r} ({counts[spelling]:,})")
    joined = [
        f"{listed(group)} as {names[number]!r}"
        for number, group in sorted(spellings.items())
        if len(group) > 1
    ]
    if joined:
        say(f"spellings that are one class, with their number of texts: {listed(joined, '; ')}")


def _report_similar(
    counts: Mapping[str, int], number_of: Mapping[str, int], names: Sequence[str]
) -> None:
    """Report classes whose names differ only by a likely mistake."""
    texts: Counter[int] = Counter()
    for spelling, count in counts.items():
        texts[number_of[spelling]] += count
    similar = defaultdict(list)
    for number, name in enumerate(names):
        similar[loose_key(name)].append(f"{name!r} ({texts[number]:,})")
    groups = [listed(group) for group in similar.values() if len(group) > 1]
    if groups:
        say(
            "labels that differ only in case, dashes, quotes or the like, with their number of "
            f"texts: {listed(groups, '; ')}; are they one class? A list download.labels with only "
            "one of them joins them"
        )
