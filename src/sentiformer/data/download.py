"""Write the texts of a source to `data/raw`: a Parquet file for each split and `dataset.json`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from sentiformer.console.output import say
from sentiformer.core.files import write_json
from sentiformer.data.bundled import read_bundled
from sentiformer.data.classes import leave_out_rare_classes, leave_out_unknown_classes
from sentiformer.data.hub import read_hub
from sentiformer.data.near_duplicates import count_matches, find_near_duplicates, write_matches
from sentiformer.data.params import DownloadParams
from sentiformer.data.quality import count_languages
from sentiformer.data.source import Source
from sentiformer.data.split_files import write_split
from sentiformer.data.splits import HELD_OUT, make_splits, remove_duplicates
from sentiformer.data.tables import store_source
from sentiformer.data.text_store import StoredTexts, TextStore
from sentiformer.data.user_files import read_files

if TYPE_CHECKING:
    import pandas as pd

UNBALANCED = 4  # report a class with more than this many times the texts of another


def download(params: DownloadParams, folder: Path, *, workers: int = 1) -> dict[str, Any]:
    """Write the splits of a source to a folder; return the content of `dataset.json`.

    `near_duplicates.csv` lists near-duplicates in different splits. `workers` processes guess the
    languages; the files do not depend on their number.

    Raises:
        UserError: the source cannot be read, or a split would have no text of a label.
    """
    source = read_source(params)
    with TemporaryFile(dir=folder) as file:
        store = TextStore(file)
        tables, labels = store_source(source, store)
        rows_read = _count_rows(source, tables)
        left_out = {split: stream.left_out for split, stream in source.streams.items()}
        labels = leave_out_rare_classes(tables, labels, params.min_texts, left_out)
        splits, removed = make_splits(tables, store, params.held_out, params.fold)
        del tables
        labels = leave_out_unknown_classes(splits, labels, removed, left_out)
        kept = _count_kept_duplicates(splits)
        texts = {s: StoredTexts(store, table["position"].to_numpy()) for s, table in splits.items()}
        facts = _write_splits(folder, texts, splits, (labels, source.sources), workers)
        _report_imbalance(facts["train"]["label_counts"])
        matches = find_near_duplicates(texts, folder)
        write_matches(folder / "near_duplicates.csv", matches, texts)
    dataset = {
        "origin": source.origin,
        "labels": labels,
        "sources": list(source.sources),
        "splits": facts,
        "rows_read": rows_read,
        "left_out": {split: dict(counts) for split, counts in left_out.items() if counts},
        "removed": removed,
        "kept": kept,
        "near_duplicates": count_matches(matches, splits),
        "params": {"download": params.model_dump()},
    }
    write_json(folder / "dataset.json", dataset)
    return dataset


def read_source(params: DownloadParams) -> Source:
    """Open the source that `params` names."""
    if params.source == "files":
        return read_files(params)
    if params.source == "hub":
        return read_hub(params)
    return read_bundled()


def _write_splits(
    folder: Path,
    texts: Mapping[str, Sequence[str]],
    tables: "Mapping[str, pd.DataFrame]",
    names: tuple[Sequence[str], Sequence[str]],
    workers: int,
) -> dict[str, dict[str, Any]]:
    """Write a Parquet file for each split; return the entries in `dataset.json`.

    `names` are those of the labels and of the sources.
    """
    languages = count_languages(texts, workers=workers)
    facts = {}
    for split, table in tables.items():
        facts[split] = write_split(folder / f"{split}.parquet", texts[split], table, *names)
        facts[split]["languages"] = languages[split]
    return facts


def _count_rows(source: Source, tables: "Mapping[str, pd.DataFrame]") -> dict[str, int]:
    """The number of rows of each split of a source, of which all rows were read."""
    return {
        split: len(tables.get(split, ())) + stream.left_out.total()
        for split, stream in source.streams.items()
    }


def _count_kept_duplicates(splits: "dict[str, pd.DataFrame]") -> dict[str, dict[str, int]]:
    """Count and report the duplicates in test and validation, which stay if they were given."""
    kept = {split: remove_duplicates(splits[split])[1] for split in HELD_OUT}
    for split, found in kept.items():
        if any(found.values()):
            say(
                f"{split} is left unchanged: {found['duplicates']:,} of its texts are duplicates, "
                f"{found['contradictions']:,} also occur with another label"
            )
    return kept


def _report_imbalance(counts: dict[str, int]) -> None:
    rare, common = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[common] > UNBALANCED * counts[rare]:
        say(
            f"train is unbalanced: {counts[common]:,} texts have the label {common}, "
            f"{counts[rare]:,} {rare}; train.class_weights: balanced weights all classes equally"
        )
