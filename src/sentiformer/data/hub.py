"""A data set of the Hugging Face Hub at a fixed commit, loaded with `datasets.load_dataset`.

That library handles mirrors (`HF_ENDPOINT`), the cache (`HF_HOME`), work without a network
(`HF_HUB_OFFLINE=1`) and proxies. It does not check the content of files, which this module does:
the Hub names large files, such as Parquet, by their SHA-256.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.errors import UserError, first_line, is_disk_full, is_out_of_memory, listed
from sentiformer.core.files import sha256
from sentiformer.core.text_files import batch_rows, require_columns
from sentiformer.data.params import DownloadParams
from sentiformer.data.source import SPLIT_NAMES, Row, Source, Stream, checked_row, columns_of

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SHA256 = re.compile("[0-9a-f]{64}")


def read_hub(params: DownloadParams) -> Source:
    """Load the data set from the Hub or the cache, and open its splits.

    Raises:
        UserError: as `load`, or it has no split train; or, when the rows are read, a row is wrong.
    """
    name, revision = params.hub_dataset, params.hub_revision
    loaded = load(name, revision)
    present = {}
    for split, names in SPLIT_NAMES.items():
        if found := [known for known in names if known in loaded]:
            present[split] = loaded[found[0]]
    if "train" not in present:
        raise UserError(
            f"download.hub_dataset {name} has no split train, but {listed(list(loaded))}; "
            "download its files and set download.source to files"
        )
    streams = {
        split: Stream(_rows(split, dataset, params), f"{name}, split {split}")
        for split, dataset in present.items()
    }
    labels = params.labels or _classes(present["train"], params)
    origin = {
        "name": name,
        "revision": revision,
        "licence": f"see https://huggingface.co/datasets/{name}",
        "citation": " ".join(present["train"].citation.split()) or "not stated",
    }
    return Source(streams, labels, origin)


def load(name: str, revision: str) -> "DatasetDict":
    """Load all splits of a data set at a commit, from the Hub or the cache.

    Raises:
        UserError: the data set cannot be loaded, or is damaged, or the cache has another commit.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if Path(name).exists():
        raise UserError(
            f"the folder {name} has the same name as the data set of the Hub; move it away"
        )
    from datasets import load_dataset

    try:
        loaded = load_dataset(name, revision=revision)
    except Exception as error:  # the errors of the client have no common class
        cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" else None
        cause = cause or error
        if is_disk_full(cause) or is_out_of_memory(cause):
            raise cause from None
        _check_files(name, revision)
        raise UserError(
            f"download.hub_dataset {name} at {revision[:12]} cannot be loaded "
            f"({first_line(cause)}); check name, revision and network (HF_ENDPOINT, "
            "HF_HUB_OFFLINE), then run it again"
        ) from None
    prepared = Path(next(iter(loaded.values())).cache_files[0]["filename"]).parent
    if prepared.name != revision:
        raise UserError(
            f"download.hub_revision is {revision}, but the cache holds {prepared.name} and the Hub "
            "cannot be reached; try again later, or set download.hub_revision to the cached one"
        )
    _check_files(name, revision, prepared)
    return loaded


def _check_files(name: str, revision: str, prepared: Path | None = None) -> None:
    """Raise an error if a file differs from the SHA-256 that the Hub states; remove that file.

    The folder `prepared` holds the Arrow files made from it, and is removed as well.
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
                f"{path.name} of {name} is damaged (its SHA-256 differs from the one that the Hub "
                "states); it was removed from the cache, run the stage again"
            )


def _rows(split: str, dataset: "Dataset", params: DownloadParams) -> Iterator[Row]:
    place = f"{params.hub_dataset}, split {split}"
    columns = columns_of(split, params)
    require_columns(columns, dataset.column_names, place)
    classes = None if params.labels else _classes(dataset, params)
    try:
        batches = dataset.with_format("arrow").iter(1000)
        for number, values in enumerate(batch_rows(batches, columns), start=1):
            text, label, _ = checked_row(values, f"{place}, row {number}")
            if classes and isinstance(label, int):
                if not 0 <= label < len(classes):
                    raise UserError(
                        f"{place}, row {number}: the label {label} is not the number of a class "
                        f"({listed(classes)}); use another split, or files"
                    )
                label = classes[label]
            yield Row(text, label)
    except UnicodeDecodeError:
        raise UserError(f"{place} holds bytes that are not UTF-8; use other data") from None


def _classes(dataset: "Dataset", params: DownloadParams) -> list[str] | None:
    """The class names that the data set declares, or None."""
    feature: Any = dataset.features.get(params.label_column)
    return getattr(feature, "names", None)
