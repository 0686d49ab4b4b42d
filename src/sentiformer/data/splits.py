"""Splits without leaks: texts held out by their hash, and none of test in another split.

Nor is one of validation in train: a model must not see what judges it, not even without its label.
Splits that a source lacks are held out of train by a hash of the text, so that they are the same on
every machine and in every order of rows.

The texts wait on disk. A table in memory holds hashes, a label and the place of each, and all that
is decided is decided there.
"""

import hashlib
import re
from array import array
from html import unescape
from operator import itemgetter
from typing import TYPE_CHECKING

from sentiformer.core.errors import UserError, listed
from sentiformer.core.names import SPLITS, UNLABELED
from sentiformer.data.labels import NO_LABEL, number_labels, require_classes, require_rows
from sentiformer.data.params import DownloadParams
from sentiformer.data.streams import Source, Stream
from sentiformer.data.text_store import BLOCK_CHARACTERS, Spool, blocks

if TYPE_CHECKING:
    import pandas as pd

TAGS = "a|b|big|blockquote|br|center|code|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|q|s|small|span"
TAGS += "|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul"
MARKUP = re.compile(  # a tag with its attributes, a comment, or what only looks like an entity
    rf"</?(?:{TAGS})(?:[\s/][^<>]*)?>|<!--[^<>]*-->|&#\w{{10,}};?", re.IGNORECASE
)


def text_hash(text: str) -> int:
    """The hash that gives a text its place; case, white space and line breaks do not change it."""
    return _hash(text.lower().replace("<br />", " "))


def content_hash(text: str) -> int:
    """The hash by which texts are equal: common tags and entities of HTML do not change it, too."""
    return _hash(unescape(MARKUP.sub(" ", text)).lower())


def _hash(text: str) -> int:
    """64 bits of a text, whatever its white space."""
    plain = " ".join(text.split())
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "big")


def spool_rows(stream: Stream, spool: Spool) -> tuple["pd.DataFrame", list[object]]:
    """Write the texts of a split to `spool`.

    Returns:
        a row a text with columns hash and content, its `text_hash` and `content_hash`; label, a
        number in the list of labels; and place, its number in `spool`; and the list of labels.

    Raises:
        UserError: the stream holds no texts and labels.
    """
    import numpy as np
    import pandas as pd

    hashes, contents, codes, first = array("Q"), array("Q"), array("i"), len(spool)
    numbers: dict[object, int] = {}
    for block in blocks(stream.rows, characters=BLOCK_CHARACTERS):
        hashed = [(text_hash(text), text, label) for text, label in block]
        # sorted, so that reading by hash later goes forward on the disk, once through each block
        for text_hashed, text, label in sorted(hashed, key=itemgetter(0)):
            spool.append(text)
            hashes.append(text_hashed)
            contents.append(content_hash(text))
            codes.append(numbers.setdefault(label, len(numbers)))
    counts = np.bincount(np.array(codes), minlength=len(numbers)).tolist()
    require_rows(stream.where, dict(zip(numbers, counts, strict=True)))
    columns = {
        "hash": np.array(hashes),
        "content": np.array(contents),
        "label": np.array(codes),
        "place": np.arange(first, len(spool)),
    }
    return pd.DataFrame(columns), list(numbers)


def spool_source(source: Source, spool: Spool) -> tuple["dict[str, pd.DataFrame]", list[str]]:
    """Write the texts of all splits to `spool`.

    Returns:
        the table of each split, as `spool_rows` gives it, but with numbers in the list of label
        names as labels, -1 in `unlabeled`; and the label names.

    Raises:
        UserError: a split holds no texts and labels, or its labels are no two or more classes.
    """
    import numpy as np

    tables, found = {}, {}
    for split, stream in source.streams.items():
        tables[split], found[split] = spool_rows(stream, spool)
        if split == "train" and not source.labels:
            require_classes(stream.where, texts=len(tables[split]), labels=len(found[split]))
    labelled = [label for split, of in found.items() if split != UNLABELED for label in of]
    numbers, names = number_labels(labelled, source.labels)
    for split, table in tables.items():
        unlabeled = split == UNLABELED
        number_of = [NO_LABEL if unlabeled else numbers[str(label)] for label in found[split]]
        table["label"] = np.array(number_of, dtype=np.int32)[table["label"]]
    return tables, names


def by_hash(table: "pd.DataFrame", texts: Spool) -> "pd.DataFrame":
    """Sort by hash, text and label: as good as shuffled, whatever the order before."""
    import numpy as np

    table = table.sort_values("hash", kind="stable", ignore_index=True)
    order = table.index.to_numpy().copy()
    _, starts, counts = np.unique(table["hash"], return_index=True, return_counts=True)
    places, labels = table["place"].to_numpy(), table["label"].to_numpy()
    for start, count in zip(starts[counts > 1], counts[counts > 1], strict=True):
        once: dict[str, str] = {}  # each text in memory once, however often it stands there
        keys = {}
        for row in range(start, start + count):
            text = texts[places[row]]
            keys[row] = (once.setdefault(text, text), labels[row])
        order[start : start + count] = sorted(keys, key=keys.__getitem__)
    return table.take(order).reset_index(drop=True)


def without_duplicates(table: "pd.DataFrame") -> tuple["pd.DataFrame", dict[str, int]]:
    """Keep the first of equal texts, and none where equal texts have different labels.

    Texts are equal when their `content_hash` is.

    Returns:
        the rows kept; and how many went for which reason.
    """
    once = table.drop_duplicates(["content", "label"])
    agreed = once[~once["content"].duplicated(keep=False)]
    removed = {"duplicates": len(table) - len(once), "contradictions": len(once) - len(agreed)}
    return agreed.reset_index(drop=True), removed


def without(table: "pd.DataFrame", *others: "pd.DataFrame") -> tuple["pd.DataFrame", int]:
    """Remove the texts that stand in other tables, too, and say how many rows went."""
    leaked = table["content"].isin(())
    for other in others:
        leaked |= table["content"].isin(other["content"])
    kept = table[~leaked].reset_index(drop=True)
    return kept, len(table) - len(kept)


def split_up(
    tables: "dict[str, pd.DataFrame]", texts: Spool, params: DownloadParams
) -> tuple["dict[str, pd.DataFrame]", dict[str, int]]:
    """Make the splits of what a source gives, so that no text stands on two sides.

    Test stays as the source has it. Validation loses what stands in test, train and the unlabelled
    what stands in either; these two lose their duplicates as well.

    Args:
        tables: columns hash, content, label, place for each split; see `spool_rows`.
        texts: where the places are.

    Returns:
        the same columns for each split; and how many rows went for which reason.
    """
    train, removed = without_duplicates(by_hash(tables["train"], texts))
    given = {s: by_hash(tables[s], texts) for s in ("validation", "test") if s in tables}
    train, leaked = without(train, *given.values())
    if len(given) == 2:
        given["validation"], leaked_validation = without(given["validation"], given["test"])
        leaked += leaked_validation
    missing = tuple(split for split in ("test", "validation") if split not in given)
    made = hold_out(train, params, missing) | given
    splits = {split: made[split] for split in SPLITS}
    removed |= {"leaked": leaked, "unlabeled_duplicates": 0, "unlabeled_leaked": 0}
    if UNLABELED in tables:
        unlabeled, repeated = without_duplicates(by_hash(tables[UNLABELED], texts))
        removed["unlabeled_duplicates"] = repeated["duplicates"]
        splits[UNLABELED], removed["unlabeled_leaked"] = without(
            unlabeled, splits["validation"], splits["test"]
        )
    return splits, removed


def hold_out(
    table: "pd.DataFrame",
    params: DownloadParams,
    missing: tuple[str, ...],
) -> dict[str, "pd.DataFrame"]:
    """Split each label's rows, which are in the order of their hashes: the missing, then train.

    Every label gives the same share to each split, to the row.
    """
    import numpy as np

    names = ("train", *missing)
    split_of = np.zeros(len(table), dtype=np.int8)
    for label in table["label"].unique():
        rows = np.flatnonzero(table["label"] == label)
        start = 0
        for number, split in enumerate(missing, start=1):
            share = max(1, round(len(rows) * getattr(params, f"{split}_fraction")))
            split_of[rows[start : start + share]] = number
            start += share
    return {split: table[split_of == number] for number, split in enumerate(names)}


def require_labels(
    labels: list[str], splits: "dict[str, pd.DataFrame]", removed: dict[str, int]
) -> None:
    """Check that train, validation and test have each label.

    Args:
        labels: the label names.
        splits: column label, a number in `labels`, of each.
        removed: how many rows went for which reason.

    Raises:
        UserError: a split lacks one.
    """
    for split in SPLITS:
        absent = sorted(set(range(len(labels))) - set(splits[split]["label"]))
        if absent:
            names = listed([labels[label] for label in absent])
            reasons = ("duplicates", "contradictions", "leaked")
            gone = ", ".join(f"{of} {removed[of]:,}" for of in reasons if removed[of])
            raise UserError(
                f"the split {split} has no text labelled {names}"
                + (f" (removed: {gone})" if gone else "")
                + "; give it more rows"
            )
