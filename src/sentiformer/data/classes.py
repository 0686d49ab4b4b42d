"""The classes of a data set: those without enough texts are left out, said and counted."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, listed
from sentiformer.data.labels import NO_LABEL
from sentiformer.data.splits import HELD_OUT

if TYPE_CHECKING:
    import pandas as pd

RARE, UNKNOWN = "rare class", "class not in train"  # reasons why a row is left out
LeftOut = Mapping[str, Counter[str]]  # numbers of rows by split and reason


def leave_out_rare_classes(
    tables: "dict[str, pd.DataFrame]", labels: list[str], min_texts: int, left_out: LeftOut
) -> list[str]:
    """Remove the classes with fewer than `min_texts` texts in all splits of a source together.

    The tables are changed, and the rows are counted in `left_out`.

    Returns:
        the names of the other classes.

    Raises:
        UserError: fewer than two classes are left.
    """
    texts = _count(tables, labels)
    rare = [number for number in range(len(labels)) if texts[number] < min_texts]
    if not rare:
        return labels
    names = _named(rare, labels, texts)
    if len(labels) - len(rare) < 2:
        raise UserError(
            "a classifier needs two classes, but too many have fewer texts than "
            f"download.min_texts, which is {min_texts:,}: {names}; add texts"
            + (", or lower it" if min_texts > 1 else "")
        )
    say(f"classes with fewer texts than download.min_texts ({min_texts:,}) are left out: {names}")
    return _without(rare, tables, labels, left_out, RARE)


def leave_out_unknown_classes(
    splits: "dict[str, pd.DataFrame]",
    labels: list[str],
    removed: Mapping[str, int],
    left_out: LeftOut,
) -> list[str]:
    """Remove the classes that train has no text of; report those that another split lacks.

    The splits are changed, and the rows are counted in `left_out`.

    Returns:
        the names of the other classes.

    Raises:
        UserError: train has fewer than two classes, or another split has no text.
    """
    known = set(splits["train"]["label"])
    unknown = [number for number in range(len(labels)) if number not in known]
    names = _named(unknown, labels, _count(splits, labels))
    reasons = ("duplicates", "contradictions", "leaked")
    counts = ", ".join(f"{reason} {removed[reason]:,}" for reason in reasons if removed[reason])
    counts = f" (removed: {counts})" if counts else ""
    if len(known) < 2:
        raise UserError(f"train has no text labelled {names}{counts}; add texts with this label")
    if unknown:
        say(
            f"classes without a text in train{counts} are left out of test and validation, with "
            f"their number of texts there: {names}"
        )
        labels = _without(unknown, splits, labels, left_out, UNKNOWN)
    for split in HELD_OUT:
        if not len(splits[split]):
            others = f"; its classes are {names}" if left_out.get(split, Counter())[UNKNOWN] else ""
            raise UserError(
                f"the split {split} has no text of a class of train{counts}{others}; add texts, or "
                "correct the labels"
            )
    _report_absent(splits, labels)
    return labels


def _report_absent(splits: "dict[str, pd.DataFrame]", labels: Sequence[str]) -> None:
    """Report the classes that test or validation has no text of."""
    texts = _count(splits, labels)
    for split in HELD_OUT:
        present = set(splits[split]["label"])
        if absent := [number for number in range(len(labels)) if number not in present]:
            say(
                f"{split} has no text of {len(absent):,} of the {len(labels):,} classes, so that "
                f"it does not judge them (texts in brackets): {_named(absent, labels, texts)}; "
                "download.min_texts leaves out classes with few texts"
            )


def _named(numbers: Collection[int], labels: Sequence[str], texts: Sequence[int]) -> str:
    """The names of classes, each with its number of texts."""
    return listed([f"{labels[number]} ({texts[number]:,})" for number in numbers])


def _count(tables: "Mapping[str, pd.DataFrame]", labels: Sequence[str]) -> list[int]:
    """The number of texts of each class."""
    counts: Counter[int] = Counter()
    for table in tables.values():
        counts.update(table["label"].value_counts().to_dict())
    return [counts[number] for number in range(len(labels))]


def _without(
    classes: Collection[int],
    tables: "dict[str, pd.DataFrame]",
    labels: Sequence[str],
    left_out: LeftOut,
    reason: str,
) -> list[str]:
    """Remove classes from tables, number the others anew, and return their names."""
    kept = [number for number in range(len(labels)) if number not in classes]
    renumbered = {number: new for new, number in enumerate(kept)} | {NO_LABEL: NO_LABEL}
    for split, table in tables.items():
        rows = table[table["label"].isin(renumbered)].reset_index(drop=True)
        rows["label"] = rows["label"].map(renumbered).astype("int32")
        if len(rows) < len(table):
            left_out[split][reason] += len(table) - len(rows)
        tables[split] = rows
    return [labels[number] for number in kept]
