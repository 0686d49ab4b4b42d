"""A data set of the Hugging Face Hub at a fixed commit, loaded with `datasets.load_dataset`."""

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.console.output import say
from sentiformer.core.columns import Columns, require_columns
from sentiformer.core.errors import UserError, is_disk_full, is_out_of_memory, listed
from sentiformer.core.hub import Repository
from sentiformer.core.text_files import batch_rows
from sentiformer.data.label_spelling import loose_key
from sentiformer.data.labels import NO_LABEL
from sentiformer.data.params import DownloadParams, split_hub_name
from sentiformer.data.source import SPLIT_NAMES, Source, columns_of, label_of, open_stream

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder, DatasetDict

PARQUET_BRANCH = "refs/convert/parquet"  # where the Hub itself keeps Parquet copies of data sets


def read_hub(params: DownloadParams) -> Source:
    """Load the data set from the Hub or the cache, and open its splits.

    Raises:
        UserError: as `load`, or it has no split train, or `download.labels` do not fit its names;
            or, when the rows are read, a row is wrong.
    """
    name = "/".join(filter(None, split_hub_name(params.hub_dataset)))
    loaded = load(params)
    present = {
        split: next(known for known in names if known in loaded)
        for split, names in SPLIT_NAMES.items()
        if any(known in loaded for known in names)
    }
    if "train" not in present:
        raise UserError(
            f"download.hub_dataset {name} has no split train, but {listed(list(loaded))}; "
            "download its files and set download.source to files"
        )
    if unused := [split for split in loaded if split not in present.values()]:
        say(f"unused splits of {name}: {listed(unused)}")
    train = loaded[present["train"]]
    declared = getattr(train.features.get(params.label_column), "names", None)
    classes, labels = _class_names(params.labels, declared)
    streams = {}
    for split, known in present.items():
        place, columns = f"{name}, split {known}", columns_of(split, params)
        records = _records(loaded[known], columns, classes, place)
        streams[split] = open_stream(records, columns, place, train=split == "train")
    origin = {
        "name": name,
        "revision": params.hub_revision,
        "licence": f"see https://huggingface.co/datasets/{split_hub_name(name)[0]}",
        "citation": " ".join(train.citation.split()) or "not stated",
    }
    return Source(streams, labels, origin)


def load(params: DownloadParams) -> "DatasetDict":
    """Load all splits of a data set at a commit, from the Hub or the cache.

    Raises:
        UserError: the data set cannot be loaded, or is damaged, or the cache has another commit.
    """
    revision = params.hub_revision
    name, configuration = split_hub_name(params.hub_dataset)
    at = f"download.hub_dataset {name} with download.hub_revision {revision}"
    repository = Repository("dataset", name, revision, at)
    repository.require_commit()
    if Path(name).exists():
        raise UserError(
            f"the folder {name} has the same name as the data set of the Hub; move it away"
        )
    try:
        builder = _builder(name, configuration, params)
        builder.download_and_prepare()
        loaded: DatasetDict = builder.as_dataset()
    except Exception as error:  # the errors of the client have no common class
        cause = (type(error).__name__ == "DatasetGenerationError" and error.__cause__) or error
        if is_disk_full(cause) or is_out_of_memory(cause):
            raise cause from None
        repository.check_files()
        raise UserError(_explain(cause, repository, configuration)) from None
    others = [other for other in builder.builder_configs if other != builder.config.name]
    if others and not configuration:
        say(f"{name}: the configuration is {builder.config.name}; others are {listed(others)}")
    prepared = Path(next(iter(loaded.values())).cache_files[0]["filename"]).parent
    if prepared.name != revision:
        raise UserError(
            f"download.hub_revision is {revision}, but the cache holds {prepared.name} and the Hub "
            "cannot be reached; try again later, or set download.hub_revision to the cached one"
        )
    try:
        repository.check_files()
    except UserError:
        shutil.rmtree(prepared, ignore_errors=True)  # it was made from the damaged file
        raise
    return loaded


def _explain(error: BaseException, data_set: Repository, configuration: str | None) -> str:
    """The line for an error of `datasets` when it loads a data set."""
    message, at = str(error), f"download.hub_dataset {data_set.name}"
    if found := re.search(r"(?:available configs|Available): \[(.*)\]", message):
        names = re.findall(r"'([^']*)'", found[1])
        problem = f"no configuration {configuration!r}" if configuration else "no default"
        example = f"write for example {data_set.name}/{names[0]}"
        return f"{at} has {problem}, but {listed(names)}; {example}"
    if "scripts are no longer supported" not in message:
        return data_set.explain(error)
    copy = data_set.ask(PARQUET_BRANCH)
    files = [file.rfilename for file in (copy and copy.siblings) or ()]
    folders = sorted({path.split("/")[0] for path in files if path.endswith(".parquet")})
    if folders:
        copies = " or ".join(f"{data_set.name}/{folder}" for folder in folders[:20])
        fix = (
            f"the Hub has a copy of it in Parquet: set download.hub_revision to {copy.sha} and "
            f"download.hub_dataset to {copies}"
        )
    else:
        fix = (
            f"the Hub has no Parquet copy of it (branch {PARQUET_BRANCH}); use another data set, "
            "or download its files and set download.source to files"
        )
    return f"{at} is a script, which the library datasets does not run; {fix}"


def _builder(name: str, configuration: str | None, params: DownloadParams) -> "DatasetBuilder":
    """Open a configuration of a data set; a folder of it also is one.

    The two columns of a CSV are read as text, and only an empty cell is a missing value. By default
    pandas makes numbers of texts where it can, and missing values of `NA` and `None`.
    """
    from datasets import Value, load_dataset_builder
    from datasets.packaged_modules.csv.csv import CsvConfig

    place: dict[str, Any] = {"path": name, "revision": params.hub_revision}
    try:
        builder = load_dataset_builder(name=configuration, **place)
    except ValueError as error:
        if not configuration or "not found. Available" not in str(error):
            raise
        try:
            return load_dataset_builder(data_dir=configuration, **place)
        except Exception:  # there is no such folder
            raise error from None
    if isinstance(builder.config, CsvConfig):
        features = builder.info.features or {}
        columns = (params.text_column, params.label_column)
        readers = {c: str for c in columns if features.get(c) in (None, Value("string"))}
        options = {"converters": readers, "keep_default_na": False, "na_values": [""]}
        builder = load_dataset_builder(name=configuration, **options, **place)
    return builder


def _records(
    dataset: "Dataset", columns: Columns, classes: Sequence[str] | None, place: str
) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield the place of each row and its values; a label is the name of its class, if known."""
    require_columns(columns, dataset.column_names, place)
    try:
        batches = dataset.with_format("arrow").iter(1000)
        for number, (text, *label) in enumerate(batch_rows(batches, columns), start=1):
            row = f"{place}, row {number}"
            yield row, (text, *(_class_name(value, classes, row) for value in label))
    except UnicodeDecodeError:
        raise UserError(f"{place} holds bytes that are not UTF-8; use other data") from None


def _class_name(value: object, classes: Sequence[str] | None, place: str) -> object:
    """The name of the class with this number; another value as it is. None is no label."""
    try:
        label = label_of(value)
    except TypeError:  # not a label: the row is left out
        return value
    if not classes or not isinstance(label, int):
        return label
    if label == NO_LABEL:  # hidden, or not known
        return None
    if not 0 <= label < len(classes):
        raise UserError(
            f"{place}: the label {label} is not the number of a class ({listed(classes)}); use "
            "another split, or files"
        )
    return classes[label]


def _class_names(
    given: list[str] | None, declared: list[str] | None
) -> tuple[list[str] | None, list[str] | None]:
    """Return the name of each class number of the data set, and all names in their final order.

    If the names of `download.labels` are those of the data set, they only give the order. New names
    replace those of the data set in the order of the numbers.

    Raises:
        UserError: it is not clear which class a given name means.
    """
    if not given or not declared:
        return declared, given or declared
    ours, theirs = list(map(loose_key, given)), list(map(loose_key, declared))
    if set(ours) <= set(theirs) or set(theirs) <= set(ours):
        return declared, given
    moved = any(name in theirs and theirs[n : n + 1] != [name] for n, name in enumerate(ours))
    if moved or len(ours) != len(theirs):
        raise UserError(
            f"download.labels are {listed(given)}, but the data set calls its classes "
            f"{listed(declared)}; use these names in any order, or a new name for each in this "
            "order, or set it to null"
        )
    changed = [f"{old} → {new}" for old, new in zip(declared, given, strict=True) if old != new]
    say(f"classes with a new name from download.labels: {listed(changed)}")
    return given, given
