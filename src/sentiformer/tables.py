"""Labelled texts as tables: what a source gives, labels as numbers, and files of the user's own.

A label is a text or a whole number where it lives; in a table it is its number in `labels`. A text
without a label has the number -1, as data sets of the Hub have it.
"""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sentiformer.config import DownloadParams
from sentiformer.console import UserError
from sentiformer.textfiles import as_text, read_rows

if TYPE_CHECKING:
    import pandas as pd

NO_LABEL = -1
ENDINGS = (".csv", ".jsonl", ".parquet")
NAMES = {  # how the files of a split begin in a folder
    "train": ("train",),
    "validation": ("validation",),
    "test": ("test",),
    "unlabeled": ("unsupervised", "unlabeled"),
}


class Source(NamedTuple):
    """What a source gives.

    Attributes:
        tables: columns text, label for each split that it has; train is always there.
        labels: the label names in the order of their numbers.
        origin: name, licence and citation, and what else finds it again.
    """

    tables: "dict[str, pd.DataFrame]"
    labels: list[str]
    origin: dict[str, Any]


def read_files(params: DownloadParams) -> Source:
    """Read the files that `params` names; a folder gives each split that is not named itself.

    DVC does not know these files: where they change and their names do not, `dvc repro -f download`
    reads them again, and the fingerprints in `dataset.json` tell whether a text differs.

    Raises:
        UserError: a path matches nothing, or a file does not hold texts and labels.
    """
    tables = {}
    for split, paths in find_files(params).items():
        labelled = split != "unlabeled"
        columns = {params.text_column: "download.text_column"}
        if labelled:
            columns[params.label_column] = "download.label_column"
        rows = (
            row_of(values, path, number)
            for path in paths
            for number, values in read_rows(path, columns)
        )
        tables[split] = table_of(
            rows,
            where=f"download.{split}, {paths[0]}" + (" and more" if paths[1:] else ""),
        )
    tables, labels = number_labels(tables, params.labels)
    return Source(
        tables,
        labels,
        {"name": f"files {params.train}", "licence": "not stated", "citation": "not stated"},
    )


def find_files(params: DownloadParams) -> dict[str, list[Path]]:
    """The files of each split, in the order of their paths.

    Raises:
        UserError: a path that `params` names matches nothing.
    """
    named = {split: getattr(params, split) for split in NAMES}
    found = {split: _matches(split, pattern) for split, pattern in named.items() if pattern}
    folder = Path(params.train or "").expanduser()
    if folder.is_dir():
        inside = {split: _files_in(folder, split) for split in NAMES}
        found = {split: paths for split, paths in inside.items() if paths} | found
    return {split: found[split] for split in NAMES if split in found}


def _matches(split: str, pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        paths = _files_in(path, split)
        sought = f"{'|'.join(NAMES[split])}*{{{','.join(ENDINGS)}}}"
        missing = f"no file of that folder is named {sought}"
    else:
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207, Path's takes no absolute one
        paths = [path] if path.exists() else sorted(map(Path, names))
        missing = "no file is there; paths begin at the project's root"
    if not paths:
        raise UserError(f"download.{split} is {pattern!r}: {missing}")
    return paths


def _files_in(folder: Path, split: str) -> list[Path]:
    """The files of a split in a folder laid out as on the Hub, `train-00000-of-00001.parquet`."""
    return sorted(
        path
        for path in folder.rglob("*.*")
        if path.suffix.lower() in ENDINGS and path.stem.split("-")[0] in NAMES[split]
    )


def row_of(values: Sequence[object], place: object, number: int) -> tuple[str, object]:
    """Text and label of a row that holds both, or the text alone; then the label is None.

    Raises:
        UserError: the text is no text, or the label neither a text nor a whole number.
    """
    text = as_text(values[0], place, number)
    if not text.isascii():
        _require_whole_characters(text, place, number)
    if len(values) == 1:
        return text, None
    label = values[1]
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        raise UserError(
            f"{place}, row {number}: the label is {label!r}, neither a text nor a whole number; "
            "mend the row, or name files without labels in download.unlabeled"
        )
    return text, label


def _require_whole_characters(text: str, place: object, number: int) -> None:
    """Raise where a text holds half of a surrogate pair, which an escape in JSON can write."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place}, row {number}: the text holds {text[error.start]!a}, which is no whole "
            "character; write it in UTF-8"
        ) from None


def table_of(rows: Iterable[tuple[str, object]], *, where: str) -> "pd.DataFrame":
    """Columns text and label, which holds the label as it is, or None in all rows.

    Raises:
        UserError: there is no row, or some labels are texts and some are numbers.
    """
    import pandas as pd

    texts, labels = [], []
    for text, label in rows:
        texts.append(text)
        labels.append(label)
    if not texts:
        raise UserError(f"{where}: there is no text; give it some")
    kinds = Counter(type(label).__name__ for label in labels)
    if len(kinds) > 1:
        counts = " and ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        raise UserError(f"{where}: its labels are {counts}; make them all text or all numbers")
    return pd.DataFrame({"text": texts, "label": pd.Series(labels, dtype=object)})


def number_labels(
    tables: "dict[str, pd.DataFrame]", names: list[str] | None
) -> "tuple[dict[str, pd.DataFrame], list[str]]":
    """Replace the labels of tables by their numbers in the list of label names.

    Labels that all stand in `names` are names. Other whole numbers count from 0 in `names`.
    Without `names`, these are the labels themselves: numbers by size, or texts by spelling.

    Args:
        tables: columns text and label; the label is a text, an integer, or None in `unlabeled`.
        names: the label names in their order, if they are given.

    Returns:
        the tables with integers as labels, -1 in `unlabeled`; and the label names.

    Raises:
        UserError: a label is not among the names, or there is only one.
    """
    labelled = [table["label"].astype(str) for name, table in tables.items() if name != "unlabeled"]
    known = {label for labels in labelled for label in labels.unique()}
    whole = all(_is_whole(label) for label in known)
    if names is None:
        names = sorted(known, key=int) if whole else sorted(known)
    if len(names) < 2:
        raise UserError(
            f"download.label_column holds only the label {names[0]!r}; a classifier needs two"
        )
    numbers = {name: number for number, name in enumerate(names)}
    if not known <= numbers.keys() and whole:
        numbers = {str(number): number for number in range(len(names))}
    strange = sorted(known - numbers.keys())
    if strange:
        raise UserError(
            f"download.labels are {', '.join(names)}; the data have {', '.join(strange[:5])}, too; "
            "name all labels, or set it to null"
        )
    numbered = {}
    for split, table in tables.items():
        of_split = table["label"].astype(str).map(numbers) if split != "unlabeled" else NO_LABEL
        numbered[split] = table.assign(label=of_split).astype({"label": "int64"})
    return numbered, names


def _is_whole(label: str) -> bool:
    try:
        return str(int(label)) == label
    except ValueError:
        return False
