"""Labelled texts in CSV, JSONL or Parquet files of the user."""

import glob
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, listed
from sentiformer.core.runtime import project_root
from sentiformer.core.text_files import Columns, read_rows
from sentiformer.data.params import DownloadParams
from sentiformer.data.source import SPLIT_NAMES, Row, Source, Stream, checked_row, columns_of

SUFFIXES = (".csv", ".jsonl", ".parquet")


def read_files(params: DownloadParams) -> Source:
    """Open the files that `params` names.

    DVC does not track these files. When the content of a file has changed,
    `dvc repro --force download` reads it again; the fingerprints in `dataset.json` show whether a
    text or label differs.

    Raises:
        UserError: a path does not exist; or, when the rows are read, a file lacks texts or labels.
    """
    streams = {}
    for split, paths in find_files(params).items():
        name = f"download.{split}, {paths[0]}" + (" and more" if paths[1:] else "")
        streams[split] = Stream(_rows(paths, columns_of(split, params)), name, Counter())
    origin = {"name": f"files {params.train}", "licence": "not stated", "citation": "not stated"}
    return Source(streams, params.labels, origin)


def _rows(paths: list[Path], columns: Columns) -> Iterator[Row]:
    for path in paths:
        for place, values in read_rows(path, columns):
            yield checked_row(values, place)


def find_files(params: DownloadParams) -> dict[str, list[Path]]:
    """Find the files of each split, sorted by path; report the files of folders that are not used.

    If `params.train` is a folder, it also gives the splits that have no path of their own.

    Raises:
        UserError: a path does not exist, or a folder has no file of the split.
    """
    found: dict[str, list[Path]] = {}
    folders = set()
    for split, (name, *_) in SPLIT_NAMES.items():  # train is the first
        if not (pattern := getattr(params, split)):
            continue
        paths = _search(pattern)
        missing = "there is no such file; paths are relative to the project's root"
        if len(paths) == 1 and paths[0].is_dir():
            folders.add(paths[0])
            inside = splits_in(paths[0])
            found |= inside if split == "train" else {}
            paths = inside.get(split, [])
            missing = f"no file of that folder is named {name}*{{{','.join(SUFFIXES)}}}"
        if not paths:
            raise UserError(f"download.{split} is {pattern!r}: {missing}")
        found[split] = paths
    used = {path for paths in found.values() for path in paths}
    for folder in sorted(folders):
        unused = [str(path.relative_to(folder)) for path in _files_in(folder) if path not in used]
        if unused:
            say(f"unused files in the folder {folder} ({len(unused):,}): {listed(unused)}")
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def _search(pattern: str) -> list[Path]:
    """The path, or else the paths that match it as a glob.

    It is relative to the working directory, or else to the project's root. The two differ in the
    copy that DVC makes for an experiment, which has only tracked files.
    """
    path = Path(os.path.expanduser(pattern))  # noqa: PTH111, which keeps an unknown user
    for place in (path, Path(os.path.relpath(project_root())) / path):
        if place.exists():
            return [place]
        # Path.glob takes no absolute path
        if found := glob.glob(str(place), recursive=True):  # noqa: PTH207
            return sorted(map(Path, found))
    return []


def splits_in(folder: Path) -> dict[str, list[Path]]:
    """Find the files of each split in a folder, at any depth, by the names in `SPLIT_NAMES`.

    A file belongs to the split that its name begins with, as in `train-00000-of-00001.parquet`. If
    that is true of no file, the innermost folder that is named after a split decides, as in
    `train/0000.parquet`. Hidden files are skipped.
    """
    split_of = {name: split for split, names in SPLIT_NAMES.items() for name in names}
    by_name, by_folder = defaultdict(list), defaultdict(list)
    for path in _files_in(folder):
        if path.suffix.lower() not in SUFFIXES:
            continue
        start = re.split("[^a-z]", path.stem.lower())[0]
        if start in split_of:
            by_name[split_of[start]].append(path)
        parents = map(str.lower, path.relative_to(folder).parent.parts)
        if inside := [split_of[name] for name in parents if name in split_of]:
            by_folder[inside[-1]].append(path)
    return by_name or by_folder


def _files_in(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders, except hidden ones."""
    names = glob.glob("**", root_dir=folder, recursive=True)  # noqa: PTH207, skips hidden ones
    return sorted(path for path in map(folder.joinpath, names) if path.is_file())
