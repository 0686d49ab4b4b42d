"""Splits without leaks: test shares no text with another split, nor validation with train.

This includes texts without a label, from which a model could also learn. A split that the source
does not have is held out of train by a hash of the text, so that neither the machine nor the order
of rows changes it. The folds of a cross-validation hold out other intervals of the hash. The
columns of the tables are described in `tables.py`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentiformer.core.names import SPLITS, UNLABELED
from sentiformer.data.params import number_of_folds
from sentiformer.data.tables import sort_by_hash
from sentiformer.data.text_store import TextStore

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = ("test", "validation")  # the splits that no model is trained on


def make_splits(
    tables: "dict[str, pd.DataFrame]", store: TextStore, share: float, fold: int = 0
) -> tuple["dict[str, pd.DataFrame]", dict[str, int]]:
    """Make the splits of a source, with no text in two of them.

    Test stays as the source has it. Validation loses the texts of test; train and the unlabelled
    texts lose those of both, and their duplicates. `share` is the part of train that becomes each
    of validation and test that the source does not have; `fold` is described in `hold_out`.

    Returns:
        the table of each split; and how many rows were removed for which reason.
    """
    train, removed = remove_duplicates(sort_by_hash(tables["train"], store))
    given = {split: sort_by_hash(tables[split], store) for split in HELD_OUT if split in tables}
    train, leaked = remove_leaks(train, *given.values())
    if len(given) == 2:
        given["validation"], leaked_validation = remove_leaks(given["validation"], given["test"])
        leaked += leaked_validation
    missing = [split for split in HELD_OUT if split not in given]
    made = hold_out(train, missing, share, fold) | given
    splits = {split: made[split] for split in SPLITS}
    removed |= {"leaked": leaked, "unlabeled_duplicates": 0, "unlabeled_leaked": 0}
    if UNLABELED in tables:
        unlabeled, repeated = remove_duplicates(sort_by_hash(tables[UNLABELED], store))
        removed["unlabeled_duplicates"] = repeated["duplicates"]
        splits[UNLABELED], removed["unlabeled_leaked"] = remove_leaks(
            unlabeled, splits["validation"], splits["test"]
        )
    return splits, removed


def remove_duplicates(table: "pd.DataFrame") -> tuple["pd.DataFrame", dict[str, int]]:
    """Keep the first of equal texts; remove all of them if their labels differ.

    Texts are equal when their `content_hash` is.

    Returns:
        the remaining rows; and how many rows were removed for which reason.
    """
    distinct = table.drop_duplicates(["content", "label"])
    kept = distinct[~distinct["content"].duplicated(keep=False)]
    removed = {
        "duplicates": len(table) - len(distinct),
        "contradictions": len(distinct) - len(kept),
    }
    return kept.reset_index(drop=True), removed


def remove_leaks(table: "pd.DataFrame", *others: "pd.DataFrame") -> tuple["pd.DataFrame", int]:
    """Remove the texts that also occur in other tables; return the rest and the number removed."""
    leaked = table["content"].isin(())
    for other in others:
        leaked |= table["content"].isin(other["content"])
    kept = table[~leaked].reset_index(drop=True)
    return kept, len(table) - len(kept)


def hold_out(
    table: "pd.DataFrame", missing: Sequence[str], share: float, fold: int = 0
) -> dict[str, "pd.DataFrame"]:
    """Split a table, sorted by hash, by thresholds on the hash, so that another row moves no text.

    The range of the hash, [0, 2^64), is divided into `number_of_folds(share)` intervals of `share`;
    the last one ends at 2^64. The first missing split gets interval number `fold`, the second one
    the next interval, and train the rest. After the last interval comes the first. So each text is
    in test in exactly one fold.

    In small data a split can be without a label. First train, then test, then validation then takes
    the text with the lowest hash from the split that has most texts of this label; train also takes
    the last one. Only such a text can move when rows are added, and be in test in another fold too.
    """
    import numpy as np

    names, hashes = (*missing, "train"), table["hash"].to_numpy()
    split_of = np.full(len(table), len(missing))
    for number in range(len(missing)):
        start, end = _interval((fold + number) % number_of_folds(share), share)
        split_of[(start <= hashes) & (hashes < end)] = number
    for label in table["label"].unique():
        rows = np.flatnonzero(table["label"] == label)
        for number in (len(missing), *range(len(missing))):
            counts = np.bincount(split_of[rows], minlength=len(names))
            needed = number == len(missing) or counts.max() > 1  # train always
            if needed and not counts[number]:
                split_of[rows[split_of[rows] == counts.argmax()][0]] = number
    return {split: table[split_of == number] for number, split in enumerate(names)}


def _interval(number: int, share: float) -> tuple[int, int]:
    """The first value of an interval of the hash, and the value after its last one."""
    is_last = number + 1 == number_of_folds(share)
    return int(share * number * 2**64), 2**64 if is_last else int(share * (number + 1) * 2**64)
