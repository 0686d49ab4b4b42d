"""Labelled texts as they stream from a source, labels as numbers, and files of the user's own.

A label is a text or a whole number where it lives; in a split it is its number in `labels`. A text
without a label has the number -1, as data sets of the Hub have it.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sentiformer.config import UNLABELED, DownloadParams, project_root
from sentiformer.console import UserError, listed
from sentiformer.textfiles import as_text, read_rows, require_whole_characters

NO_LABEL = -1
MANY_LABELS, NO_CLASSES = 100, 0.9  # labels beyond both, the latter a share of the texts
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # characters, and ends of lines
ENDINGS = (".csv", ".jsonl", ".parquet")
NAMES = {  # how the files of a split, or their folders, are named; the first three as on the Hub
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
    UNLABELED: ("unsupervised", UNLABELED),
}


class Stream(NamedTuple):
    """The rows of a split, which can be read once.

    Attributes:
        rows: text and label of each; the label is a text, an integer, or None if there are none.
        where: what the split is called in an error text.
    """

    rows: Iterator[tuple[str, object]]
    where: str


class Source(NamedTuple):
    """What a source gives.

    Attributes:
        streams: each split that it has; train is always there.
        labels: the label names in the order of their numbers, if they are known.
        origin: name, licence and citation, and what else finds it again.
    """

    streams: dict[str, Stream]
    labels: list[str] | None
    origin: dict[str, Any]


def read_files(params: DownloadParams) -> Source:
    """Open the files that `params` names; a folder gives each split that is not named itself.

    DVC does not know these files: where they change and their names do not, `dvc repro -f download`
    reads them again, and the fingerprints in `dataset.json` tell whether a text differs.

    Raises:
        UserError: a path matches nothing, or later a file does not hold texts and labels.
    """
    streams = {}
    for split, paths in find_files(params).items():
        columns = {params.text_column: "download.text_column"}
        if split != UNLABELED:
            columns[params.label_column] = "download.label_column"
        where = f"download.{split}, {paths[0]}" + (" and more" if paths[1:] else "")
        streams[split] = Stream(_rows_of(paths, columns), where)
    return Source(
        streams,
        params.labels,
        {"name": f"files {params.train}", "licence": "not stated", "citation": "not stated"},
    )


def _rows_of(paths: list[Path], columns: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for path in paths:
        for number, values in read_rows(path, columns):
            yield row_of(values, path, number)


def find_files(params: DownloadParams) -> dict[str, list[Path]]:
    """The files of each split, in the order of their paths.

    Raises:
        UserError: a path that `params` names matches nothing.
    """
    named = {split: getattr(params, split) for split in NAMES}
    found = {split: _matches(split, pattern) for split, pattern in named.items() if pattern}
    folder = _path("train", params.train or "")
    if folder.is_dir():
        found = _splits_in(folder) | found
    return {split: found[split] for split in NAMES if split in found}


def _path(split: str, pattern: str) -> Path:
    """Where a path or glob leads: from here, or else, in a DVC experiment's copy, from the project.

    Such a copy lacks the files that neither git nor DVC knows.
    """
    try:
        path = Path(pattern).expanduser()
        return path if _glob(path) else Path(os.path.relpath(project_root())) / path
    except RuntimeError:
        user = pattern.split("/")[0]
        raise UserError(f"download.{split} is {pattern!r}: {user} is nobody's folder") from None


def _matches(split: str, pattern: str) -> list[Path]:
    path = _path(split, pattern)
    if path.is_dir():
        paths = _splits_in(path).get(split, [])
        sought = f"{NAMES[split][0]}*{{{','.join(ENDINGS)}}}"
        missing = f"no file of that folder is named {sought}"
    else:
        paths = _glob(path)
        missing = "no file is there; paths begin at the project's root"
    if not paths:
        raise UserError(f"download.{split} is {pattern!r}: {missing}")
    return paths


def _glob(path: Path) -> list[Path]:
    """The path itself, if there is such a file or folder, or else those that it is a glob of."""
    names = glob.glob(str(path), recursive=True)  # noqa: PTH207, Path's takes no absolute one
    return [path] if path.exists() else sorted(map(Path, names))


def _splits_in(folder: Path) -> dict[str, list[Path]]:
    """The files of each split in a folder, named after it as on the Hub, at any depth.

    As `train-00000-of-00001.parquet`; or, where no file is named after a split, as
    `train/0000.parquet`.
    """
    files = sorted(path for path in folder.rglob("*.*") if path.suffix.lower() in ENDINGS)
    by_name: dict[str, list[Path]] = {}
    by_folder: dict[str, list[Path]] = {}
    for path in files:
        start = re.split("[^a-z]", path.stem.lower())[0]
        around = reversed(path.relative_to(folder).parent.parts)
        for found, names in ((by_name, (start,)), (by_folder, map(str.lower, around))):
            splits = [split for name in names for split in NAMES if name in NAMES[split]]
            if splits:
                found.setdefault(splits[0], []).append(path)
    return by_name or by_folder


def row_of(values: Sequence[object], place: object, number: int) -> tuple[str, object]:
    """Text and label of a row that holds both, or the text alone; then the label is None.

    Raises:
        UserError: the text is no text, or the label neither a text nor a whole number.
    """
    text = as_text(values[0], place, number)
    require_whole_characters(text, f"{place}, row {number}: the text")
    if len(values) == 1:
        return text, None
    label = values[1]
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        raise UserError(
            f"{place}, row {number}: the label is {label!r}, neither a text nor a whole number; "
            "mend the row, or name files without labels in download.unlabeled"
        )
    return text, label


def require_rows(stream: Stream, counts: Mapping[object, int]) -> None:
    """Check what a stream has given.

    Args:
        counts: how many rows have each label.

    Raises:
        UserError: there is no row, or some labels are texts and some are numbers.
    """
    if not counts:
        raise UserError(f"{stream.where}: there is no text; give it some")
    kinds: Counter[str] = Counter()
    for label, count in counts.items():
        kinds[type(label).__name__] += count
    if len(kinds) > 1:
        found = " and ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        raise UserError(
            f"{stream.where}: its labels are {found}; make them all text or all numbers"
        )


def require_classes(where: str, *, texts: int, labels: int) -> None:
    """Refuse labels that are no classes, as where they are read from the column of the texts.

    Raises:
        UserError: nearly each of many texts has a label of its own.
    """
    if labels > max(MANY_LABELS, NO_CLASSES * texts):
        raise UserError(
            f"{where}: its {texts:,} texts have {labels:,} different labels; name the column of "
            "the classes in download.label_column"
        )


def number_labels(
    found: Iterable[object], names: list[str] | None
) -> tuple[dict[str, int], list[str]]:
    """Number the labels of all splits by the list of label names.

    Labels that all stand in `names` are names. Other whole numbers count from 0 in `names`.
    Without `names`, these are the labels themselves: numbers by size, or texts by spelling.

    Args:
        found: the distinct labels, texts or integers.
        names: the label names in their order, if they are given.

    Returns:
        the number of each label, by its spelling; and the label names.

    Raises:
        UserError: a label is not among the names, a name cannot be shown, or there is only one.
    """
    known = {str(label) for label in found}
    whole = all(_is_whole(label) for label in known)
    if names is None:
        names = sorted(known, key=int) if whole else sorted(known)
    if len(names) < 2:
        raise UserError(
            f"download.label_column holds only the label {names[0]!r}; a classifier needs two"
        )
    for name in names:
        require_whole_characters(name, "a label")
        if CONTROL.search(name):
            raise UserError(
                f"the label {name!r} has a line break or a control character; take it out"
            )
    numbers = {name: number for number, name in enumerate(names)}
    if not known <= numbers.keys() and whole:
        numbers = {str(number): number for number in range(len(names))}
    strange = sorted(known - numbers.keys())
    if strange:
        raise UserError(
            f"download.labels are {listed(names)}; the data have {listed(strange)}, too; "
            "name all labels, or set it to null"
        )
    return numbers, names


def _is_whole(label: str) -> bool:
    try:
        return str(int(label)) == label
    except ValueError:
        return False
