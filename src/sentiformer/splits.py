"""Splits without leaks: texts held out by their hash, and none of test in another split.

Nor is one of validation in train: a model must not see what judges it, not even without its label.
Splits that a source lacks are held out of train by a hash of the text, so that they are the same on
every machine and in every order of rows.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.config import UNLABELED, DownloadParams
from sentiformer.console import UserError, listed
from sentiformer.spool import Spool, blocks
from sentiformer.tables import NO_LABEL

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SPLITS = ("train", "validation", "test")
BLOCK_CHARACTERS = 2**24  # in memory at a time
DIGEST_BYTES = 32
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


def without_duplicates(
    table: "pd.DataFrame", texts: Spool
) -> tuple["pd.DataFrame", dict[str, int]]:
    """Keep one of equal texts, and none where equal texts have different labels.

    Texts are equal when their `content_hash` is. The rows come back in the order of their hashes.

    Returns:
        the rows kept; and how many went for which reason.
    """
    table = by_hash(table, texts)
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
    train, removed = without_duplicates(tables["train"], texts)
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
        unlabeled, repeated = without_duplicates(tables[UNLABELED], texts)
        removed["unlabeled_duplicates"] = repeated["duplicates"]
        splits[UNLABELED], removed["unlabeled_leaked"] = without(
            unlabeled, splits["validation"], splits["test"]
        )
    return splits, removed


def hold_out(
    table: "pd.DataFrame",
    params: DownloadParams,
    missing: tuple[str, ...] = ("test", "validation"),
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


def digest(text: str, label: int) -> bytes:
    """What a labelled text adds to the fingerprint of its split."""
    return hashlib.sha256(f"{label}\0{text}".encode()).digest()


def fingerprint(digests: bytearray) -> str:
    """Name a set of labelled texts by content, whatever the order of its rows and its source.

    Args:
        digests: the `digest` of each, one after the other; they are sorted here.
    """
    import numpy as np

    np.frombuffer(digests, dtype=f"S{DIGEST_BYTES}").sort()
    return hashlib.sha256(digests).hexdigest()


def write_split(
    path: Path, texts: Iterable[str], numbers: "np.ndarray", labels: Sequence[str]
) -> dict[str, Any]:
    """Write a split as Parquet; return what `dataset.json` says of it.

    Args:
        texts: N of them.
        numbers: (N,) the label of each as a number in `labels`, or -1.
        labels: the label names.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    digests, size = bytearray(), 0
    with pq.ParquetWriter(path, schema) as writer:
        rows = zip(texts, map(int, numbers), strict=True)
        for block in blocks(rows, characters=BLOCK_CHARACTERS):
            for text, label in block:
                digests += digest(text, label)
                size += len(text.encode())
            columns = [pa.array(column) for column in zip(*block, strict=True)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
    counts = np.bincount(numbers[numbers != NO_LABEL], minlength=len(labels)).tolist()
    return {
        "rows": len(numbers),
        "bytes": size,
        "label_counts": dict(zip(labels, counts, strict=True)),
        "fingerprint": fingerprint(digests),
    }


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
