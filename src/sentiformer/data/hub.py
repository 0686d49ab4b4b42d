"""A data set of the Hugging Face Hub at a pinned commit, through `datasets.load_dataset`.

Mirrors (`HF_ENDPOINT`), the cache (`HF_HOME`), work without a network (`HF_HUB_OFFLINE=1`) and
proxies are those of that library. It trusts what it has received; here each file that the Hub
names by its SHA-256, as it does Parquet, is held against that, so that no damaged one goes further.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.errors import UserError, first_line, is_disk_full, is_out_of_memory, listed
from sentiformer.core.files import sha256
from sentiformer.core.names import UNLABELED
from sentiformer.core.text_files import require_columns
from sentiformer.data.params import DownloadParams
from sentiformer.data.streams import NAMES, Source, Stream, row_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, DatasetDict

SHA256 = re.compile("[0-9a-f]{64}")


def read_hub(params: DownloadParams) -> Source:
    """Download the data set, or find it in the cache, and open its splits.

    Raises:
        UserError: it cannot be had, is damaged, or lacks a split, or later a column.
    """
    name, revision = params.hub_dataset, params.hub_revision
    loaded = load(name, revision)
    _verify(loaded, name, revision)
    theirs = {split: [of for of in names if of in loaded] for split, names in NAMES.items()}
    present = {split: loaded[names[0]] for split, names in theirs.items() if names}
    if "train" not in present:
        raise UserError(
            f"download.hub_dataset is {name!r}: it has no split train but {listed(list(loaded))}; "
            "download its files and set download.source to files"
        )
    streams = {
        split: Stream(_rows(split, dataset, params), f"{name}, split {split}")
        for split, dataset in present.items()
    }
    labels = params.labels or _classes(present["train"], params)
    address = f"https://huggingface.co/datasets/{name}"
    origin = {"name": name, "revision": revision, "licence": f"see {address}"}
    citation = " ".join(present["train"].citation.split())
    return Source(streams, labels, {**origin, "citation": citation or "not stated"})


def load(name: str, revision: str) -> "DatasetDict":
    """All splits of a data set at a commit, from the Hub or the cache.

    Raises:
        UserError: they cannot be had, or what came cannot be read, for a file is damaged.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if Path(name).exists():
        raise UserError(f"the folder {name} hides the Hub's data set of that name; move it away")
    from datasets import load_dataset

    try:
        return load_dataset(name, revision=revision)
    except Exception as error:  # the client's errors have no class in common
        cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" else None
        cause = cause or error
        if is_disk_full(cause) or is_out_of_memory(cause):
            raise cause from None
        _refuse_damaged(name, revision)
        raise UserError(
            f"download.hub_dataset {name} at {revision[:12]} cannot be loaded "
            f"({first_line(cause)}); check name, revision and network (HF_ENDPOINT, "
            "HF_HUB_OFFLINE), then run it again"
        ) from None


def _verify(loaded: "DatasetDict", name: str, revision: str) -> None:
    """Raise where the data are of another commit or damaged."""
    prepared = Path(next(iter(loaded.values())).cache_files[0]["filename"]).parent
    if prepared.name != revision:
        raise UserError(
            f"download.hub_revision is {revision}, the cache holds {prepared.name}, and the Hub is "
            "out of reach; go on when it is back, or set download.hub_revision to the latter"
        )
    _refuse_damaged(name, revision, prepared)


def _refuse_damaged(name: str, revision: str, prepared: Path | None = None) -> None:
    """Raise where a file is not what the Hub names it by; it leaves the cache.

    So does what was `prepared` from it, if it could be read.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="dataset")
    for path in sorted((repository / "snapshots" / revision).rglob("*.*")):
        blob = path.resolve()
        if blob.is_file() and SHA256.fullmatch(blob.name) and sha256(blob) != blob.name:
            blob.unlink()
            if prepared:
                shutil.rmtree(prepared, ignore_errors=True)
            raise UserError(
                f"{path.name} of {name} arrived damaged (its SHA-256 is another than the Hub "
                "states); it was removed from the cache, run it again"
            )


def _rows(split: str, dataset: "Dataset", params: DownloadParams) -> Iterator[tuple[str, object]]:
    place = f"{params.hub_dataset}, split {split}"
    columns = {params.text_column: "download.text_column"}
    if split != UNLABELED:
        columns[params.label_column] = "download.label_column"
    require_columns(columns, dataset.column_names, place)
    classes = None if params.labels else _classes(dataset, params)
    number = 0
    for batch in _batches(dataset):
        try:
            rows = [batch[column].to_pylist() for column in columns]
        except UnicodeDecodeError:
            raise UserError(f"{place} holds bytes that are no UTF-8; use other data") from None
        for values in zip(*rows, strict=True):
            number += 1
            text, label = row_of(values, place, number)
            if classes and isinstance(label, int):
                if not 0 <= label < len(classes):
                    raise UserError(
                        f"{place}, row {number}: the label is {label}, none of its classes "
                        f"{listed(classes)}; use another split, or files"
                    )
                label = classes[label]
            yield text, label


def _batches(dataset: "Dataset") -> "Iterator[pa.RecordBatch]":
    """The rows as they lie on disk; `datasets` maps them into memory, where they would stay."""
    import pyarrow as pa

    for file in dataset.cache_files:
        with pa.OSFile(file["filename"]) as source, pa.ipc.open_stream(source) as batches:
            yield from batches


def _classes(dataset: "Dataset", params: DownloadParams) -> list[str] | None:
    """The class names that the data set declares, if it does."""
    feature: Any = dataset.features.get(params.label_column)
    return getattr(feature, "names", None)
