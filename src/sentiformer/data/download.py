"""Write the texts of a source to `data/raw`: a Parquet file for each split and `dataset.json`."""

from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sentiformer.console.output import say
from sentiformer.core.files import write_json
from sentiformer.data.bundled import read_bundled
from sentiformer.data.classes import leave_out_rare_classes, leave_out_unknown_classes
from sentiformer.data.hub import read_hub
from sentiformer.data.near_duplicates import count_matches, find_near_duplicates, write_matches
from sentiformer.data.params import DownloadParams
from sentiformer.data.source import Source
from sentiformer.data.split_files import write_split
from sentiformer.data.splits import HELD_OUT, make_splits, remove_duplicates
from sentiformer.data.tables import store_source
from sentiformer.data.text_store import StoredTexts, TextStore
from sentiformer.data.user_files import read_files

UNBALANCED = 4  # report a class with more than this many times the texts of another


def download(params: DownloadParams, folder: Path) -> dict[str, Any]:
    """Write the splits of a source to a folder; return the content of `dataset.json`.

    `near_duplicates.csv` lists near-duplicates in different splits.

    Raises:
        UserError: the source cannot be read, or a split would have no text of a label.
    """
    source = read_source(params)
    with TemporaryFile(dir=folder) as file:
        store = TextStore(file)
        tables, labels = store_source(source, store)
        left_out = {split: stream.left_out for split, stream in source.streams.items()}
        labels = leave_out_rare_classes(tables, labels, params.min_texts, left_out)
        splits, removed = make_splits(tables, store, params.held_out)
        del tables
        labels = leave_out_unknown_classes(splits, labels, removed, left_out)
        for split in HELD_OUT:
            _report_duplicates(split, remove_duplicates(splits[split])[1])
        texts = {s: StoredTexts(store, table["position"].to_numpy()) for s, table in splits.items()}
        facts = {
            split: write_split(
                folder / f"{split}.parquet", texts[split], table, labels, source.sources
            )
            for split, table in splits.items()
        }
        _report_imbalance(facts["train"]["label_counts"])
        matches = find_near_duplicates(texts)
        write_matches(folder / "near_duplicates.csv", matches, texts)
    dataset = {
        "origin": source.origin,
        "labels": labels,
        "sources": list(source.sources),
        "splits": facts,
        "removed": removed,
        "left_out": {split: dict(counts) for split, counts in left_out.items() if counts},
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


def _report_duplicates(split: str, found: dict[str, int]) -> None:
    """Report the duplicates in a split of the source; a held-out split has no duplicates."""
    if any(found.values()):
        say(
            f"{split} is left unchanged: {found['duplicates']:,} of its texts are duplicates, "
            f"{found['contradictions']:,} also occur with another label"
        )


def _report_imbalance(counts: dict[str, int]) -> None:
    rare, common = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[common] > UNBALANCED * counts[rare]:
        say(
            f"train is unbalanced: {counts[common]:,} texts have the label {common}, "
            f"{counts[rare]:,} {rare}; train.class_weights: balanced weights all classes equally"
        )
