"""The texts of a source on disk, and tables in memory that describe them.

A table has a row for each text and the columns hash (`text_hash`), content (`content_hash`), label
(a number in the list of label names), source (a number in the list of sources) and
position (in the store of texts).
"""

import hashlib
import re
from array import array
from collections import Counter
from html import unescape
from itertools import groupby
from operator import itemgetter
from sys import intern
from typing import TYPE_CHECKING

from sentiformer.console.output import say
from sentiformer.core.names import UNLABELED
from sentiformer.data.labels import (
    NO_LABEL,
    is_hidden,
    number_labels,
    require_classes,
    require_one_type,
)
from sentiformer.data.source import Source, Stream
from sentiformer.data.text_store import TextStore

if TYPE_CHECKING:
    import pandas as pd

TAGS = "a|b|big|blockquote|br|center|code|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|q|s|small|span"
TAGS += "|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul"
MARKUP = re.compile(  # a tag with its attributes, a comment, or a number too long for an entity
    rf"</?(?:{TAGS})(?:[\s/][^<>]*)?>|<!--[^<>]*-->|&#\w{{10,}};?", re.IGNORECASE
)


def text_hash(text: str) -> int:
    """The hash that decides order and split; it ignores case, white space and `<br />`."""
    return _hash(text.lower().replace("<br />", " "))


def content_hash(text: str) -> int:
    """The hash that decides which texts are equal; it also ignores common tags and entities."""
    return _hash(unescape(MARKUP.sub(" ", text)).lower())


def _hash(text: str) -> int:
    """A hash of 64 bits that ignores white space."""
    plain = " ".join(text.split())
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "big")


def store_source(source: Source, store: TextStore) -> tuple["dict[str, pd.DataFrame]", list[str]]:
    """Write the texts of all splits to a store; return the table of each split and the label names.

    The label is -1 in `unlabeled`. A split without labels, such as a hidden test, is left out.

    Raises:
        UserError: a split has no texts or labels of two types, or the labels are not at least two
            classes.
    """
    import numpy as np

    tables: dict[str, pd.DataFrame] = {}
    found: dict[str, list[object]] = {}
    counts: Counter[object] = Counter()
    for split, stream in source.streams.items():
        table, labels = _store_split(stream, store)
        if split not in ("train", UNLABELED):
            if not any(map(is_hidden, found["train"])):
                table = _without_hidden_labels(table, labels, stream)
            if not len(table) and stream.left_out["no label"]:
                say(
                    f"{stream.name}: none of its {stream.left_out['no label']:,} texts has a "
                    f"label; it is left out, and {split} is held out of train"
                )
                continue
        require_one_type(stream.name, labels)
        if split == "train" and not source.labels:
            require_classes(stream.name, texts=len(table), labels=len(labels))
        if split != UNLABELED:
            counts.update({labels[c]: n for c, n in table["label"].value_counts().items()})
        tables[split], found[split] = table, labels
    numbers, names = number_labels(counts, source.labels)
    for split, table in tables.items():
        unlabeled = split == UNLABELED
        number_of = [NO_LABEL if unlabeled else numbers.get(str(n), NO_LABEL) for n in found[split]]
        table["label"] = np.array(number_of, dtype=np.int32)[table["label"]]
    return tables, names


def _store_split(stream: Stream, store: TextStore) -> tuple["pd.DataFrame", list[object]]:
    """Write the texts of a split to a store.

    Returns:
        the table, with labels as positions in a list of the split's own labels; and this list.
    """
    import numpy as np
    import pandas as pd

    hashes, contents, codes, first = array("Q"), array("Q"), array("i"), len(store)
    sources = array("B")
    numbers: dict[object, int] = {}
    for text, label, source in stream.rows:
        store.append(text)
        hashes.append(text_hash(text))
        contents.append(content_hash(text))
        sources.append(source)
        codes.append(numbers.setdefault(label, len(numbers)))
    columns = {
        "hash": np.array(hashes),
        "content": np.array(contents),
        "label": np.array(codes),
        "source": np.array(sources),
        "position": np.arange(first, len(store)),
    }
    return pd.DataFrame(columns), list(numbers)


def _without_hidden_labels(
    table: "pd.DataFrame", labels: list[object], stream: Stream
) -> "pd.DataFrame":
    """Leave out and count the rows with the label -1."""
    hidden = table["label"].isin([code for code, label in enumerate(labels) if is_hidden(label)])
    if hidden.any():
        stream.left_out["no label"] += int(hidden.sum())
    return table[~hidden].reset_index(drop=True)


def sort_by_hash(table: "pd.DataFrame", store: TextStore) -> "pd.DataFrame":
    """Sort by hash, text and label: a random order that does not depend on the order before."""
    import numpy as np

    table = table.sort_values("hash", kind="stable", ignore_index=True)
    columns = zip(table["hash"], table["position"], table["label"], table.index, strict=True)
    order = array("q")
    for _, group in groupby(columns, key=itemgetter(0)):
        rows = list(group)
        if len(rows) > 1:  # equal texts share memory
            rows.sort(key=lambda row: (intern(store[row[1]]), row[2]))
        order.extend(row[3] for row in rows)
    return table.take(np.array(order)).reset_index(drop=True)
