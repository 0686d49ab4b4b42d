"""Labelled texts as they stream from a source, such as files of the user's own."""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sentiformer.core.errors import UserError
from sentiformer.core.names import UNLABELED
from sentiformer.core.runtime import project_root
from sentiformer.core.text_files import as_text, read_rows, require_whole_characters
from sentiformer.data.params import DownloadParams

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
    found: dict[str, list[Path]] = {}
    for split, (name, *_) in NAMES.items():  # train comes first, and its folder gives the others
        if not (pattern := getattr(params, split)):
            continue
        paths = _search(split, pattern)
        missing = "no file is there; paths begin at the project's root"
        if len(paths) == 1 and paths[0].is_dir():
            inside = _splits_in(paths[0])
            found |= inside if split == "train" else {}
            paths = inside.get(split, [])
            missing = f"no file of that folder is named {name}*{{{','.join(ENDINGS)}}}"
        if not paths:
            raise UserError(f"download.{split} is {pattern!r}: {missing}")
        found[split] = paths
    return {split: found[split] for split in NAMES if split in found}


def _search(split: str, pattern: str) -> list[Path]:
    """What a path or glob finds: from here, or else, in a DVC experiment's copy, from the project.

    Such a copy lacks the files that neither git nor DVC knows.
    """
    try:
        path = Path(pattern).expanduser()
    except RuntimeError:
        user = pattern.split("/")[0]
        raise UserError(f"download.{split} is {pattern!r}: {user} is nobody's folder") from None
    return _glob(path) or _glob(Path(os.path.relpath(project_root())) / path)


def _glob(path: Path) -> list[Path]:
    """The path itself, if there is such a file or folder, or else those that it is a glob of."""
    names = glob.glob(str(path), recursive=True)  # noqa: PTH207, Path's takes no absolute one
    return [path] if path.exists() else sorted(map(Path, names))


def _splits_in(folder: Path) -> dict[str, list[Path]]:
    """The files of each split in a folder, named after it as on the Hub, at any depth.

    As `train-00000-of-00001.parquet`; or, where no file is named after a split, as
    `train/0000.parquet`.
    """
    found = glob.glob("**/*.*", root_dir=folder, recursive=True)  # noqa: PTH207, none that is hidden
    files = sorted(folder / name for name in found if name.lower().endswith(ENDINGS))
    by_name: dict[str, list[Path]] = {}
    by_folder: dict[str, list[Path]] = {}
    for path in files:
        start = re.split("[^a-z]", path.stem.lower())[0]
        around = reversed(path.relative_to(folder).parent.parts)
        for paths, names in ((by_name, (start,)), (by_folder, map(str.lower, around))):
            splits = [split for name in names for split in NAMES if name in NAMES[split]]
            if splits:
                paths.setdefault(splits[0], []).append(path)
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
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        raise UserError(
            f"{place}, row {number}: the label is {label!r}, neither a text nor a whole number; "
            "mend the row, or all of the column, or name files without labels in download.unlabeled"
        )
    return text, label
