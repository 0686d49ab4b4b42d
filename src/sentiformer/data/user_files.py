"""Labelled texts in CSV, TSV, JSON or Parquet files of the user."""

import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from shlex import quote

from sentiformer.console.output import say
from sentiformer.core.columns import Columns
from sentiformer.core.errors import UserError, listed
from sentiformer.core.names import UNLABELED
from sentiformer.core.runtime import project_root
from sentiformer.core.text_files import TABLES, guess_columns, has_columns, read_rows
from sentiformer.core.text_lines import bare_name, format_of
from sentiformer.data.params import DownloadParams
from sentiformer.data.source import (
    SPLIT_NAMES,
    Source,
    columns_of,
    open_stream,
)

SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
SEPARATOR = "[-._ 0-9]"  # in the names of files and folders, as in the library datasets
SPLIT = re.compile(rf"(?:^|(?<={SEPARATOR}))(?:{'|'.join(SPLIT_OF)})(?={SEPARATOR}|$)")
SHARD = re.compile(r"data/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*")
ABOUT = ("config.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json")
PREFERRED = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")  # of a file in several


def read_files(params: DownloadParams) -> Source:
    """Open the files that `params` names.

    The columns are those of the first file of train, where they may be guessed. A test or
    validation file without labels, as in competitions, is not used.

    Raises:
        UserError: a path does not exist; or, when the rows are read, a file lacks texts or labels.
    """
    found = find_files(params)
    _require_one_split(params, found["train"])
    say_files(params, found)
    columns = guess_columns(found["train"][0], columns_of("train", params), say)
    if not Path(str(params.train)).is_dir():
        say_neighbours(found, columns)
    text = next(iter(columns))
    streams = {}
    for split, given in found.items():
        paths = given if split in ("train", UNLABELED) else _labelled(split, given, columns)
        if paths:
            name = f"download.{split}, {paths[0]}" + (" and more" if paths[1:] else "")
            wanted = {text: columns[text]} if split == UNLABELED else columns
            records = chain(*(read_rows(path, wanted, say) for path in paths))
            streams[split] = open_stream(records, wanted, name, train=split == "train")
    origin = {"name": f"files {params.train}", "licence": "not stated", "citation": "not stated"}
    return Source(streams, params.labels, origin)


def require_columns_of_train(params: DownloadParams, options: Sequence[str]) -> None:
    """Check that each file of train has the columns of the texts and of the labels.

    They are found as in `read_files`. `options` name the two in messages.

    Raises:
        UserError: there is no such file, it cannot be read, or a column is missing.
    """
    train = find_files(params)["train"]
    named = dict(zip(columns_of("train", params), options, strict=True))
    columns = guess_columns(train[0], named, lambda line: None)
    for path in train:
        next(read_rows(path, columns), None)  # its header is read with its first row


def _require_one_split(params: DownloadParams, train: list[Path]) -> None:
    """Check that no file of a glob is named after another split."""
    for path in train if not Path(str(params.train)).is_dir() and len(train) > 1 else ():
        for split in sorted(_splits_named(path.name) - {"train"}):
            raise UserError(
                f"download.train {params.train!r} also matches {path}, which is named after "
                f"{split}; name it in download.{split}, and give a narrower glob"
            )


def _labelled(split: str, paths: list[Path], columns: Columns) -> list[Path]:
    """The files of a split that have the column of the labels; report the others."""
    text, label = columns
    labelled = [path for path in paths if has_columns(path, {label: columns[label]})]
    for path in paths:
        [name] = guess_columns(path, {label: columns[label]}, lambda line: None)
        if name != label:
            raise UserError(f"{path} calls the column {label!r} of train {name!r}; rename it")
    column = "" if text == "text" else f" --column {quote(text)}"
    held_out = "" if labelled else f"; {split} is held out of train"
    for path in paths:
        if path not in labelled:
            say(
                f"{path} has no column {label!r} ({columns[label]}): it is not used as {split}"
                f"{held_out}; later, `sentiformer predict --file {quote(str(path))}{column}` "
                "labels its texts"
            )
    return labelled


def find_files(params: DownloadParams) -> dict[str, list[Path]]:
    """Find the files of each split, sorted by path, without reading or printing anything.

    If `params.train` is a folder, it also gives the splits that have no path of their own.

    Raises:
        UserError: a path does not exist, or a folder has no file of the split.
    """
    found: dict[str, list[Path]] = {}
    for split, (name, *_) in SPLIT_NAMES.items():  # train is the first
        if not (pattern := getattr(params, split)):
            continue
        paths = _search(pattern)
        missing = "there is no such file; paths are relative to the project's root"
        if Path(f"{pattern}.dvc").exists():
            missing = f"there is only its .dvc file; fetch it with `dvc pull {pattern}.dvc`"
        if len(paths) == 1 and paths[0].is_dir():
            if project_root().resolve().is_relative_to(paths[0].resolve()):
                raise UserError(
                    f"download.{split} is {pattern!r}, the folder that holds this project; put the "
                    "files into a folder of their own"
                )
            inside = splits_in(paths[0])
            found |= inside if split == "train" else {}
            missing = _no_file(paths[0], name)
            paths = inside.get(split, [])
        if not paths:
            raise UserError(f"download.{split} is {pattern!r}: {missing}")
        found[split] = paths
    return {split: found[split] for split in SPLIT_NAMES if split in found}


def _no_file(folder: Path, name: str) -> str:
    """The message for a folder without a file of a split."""
    files = [str(path.relative_to(folder)) for path in files_in(folder)]
    return (
        f"no file of that folder is named after {name}, as {name}.csv or {name}/a.csv are "
        f"({', '.join(TABLES)}); it has {listed(files) or 'no files'}; rename one, or name it in "
        f"download.{name}"
    )


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


def say_files(params: DownloadParams, found: dict[str, list[Path]]) -> None:
    """Report the files of each split in folders, and those that are not used."""
    used = {path for paths in found.values() for path in paths}
    patterns = [pattern for split in SPLIT_NAMES if (pattern := getattr(params, split))]
    folders = {path for pattern in patterns for path in _search(pattern) if path.is_dir()}
    for folder in sorted(folders):
        for split, paths in found.items():
            if inside := [str(p.relative_to(folder)) for p in paths if folder in p.parents]:
                say(f"files of {split} in the folder {folder} ({len(inside):,}): {listed(inside)}")
        unused = [str(path.relative_to(folder)) for path in files_in(folder) if path not in used]
        if unused:
            say(f"unused files in the folder {folder} ({len(unused):,}): {listed(unused)}")


def say_neighbours(found: dict[str, list[Path]], columns: Columns) -> None:
    """Report the files beside that of train that have its name, but with another split."""
    [train, *more], used = found["train"], {path for paths in found.values() for path in paths}
    for path in sorted(train.parent.iterdir()) if not more else []:
        splits = _splits_named(path.name) - found.keys()
        similar = path not in used and _anonymous(path) == _anonymous(train)
        with suppress(UserError):  # a file that is not used may be broken
            if len(splits) == 1 and similar and has_columns(path, columns):
                say(f"{path} is not used; if it is that split, name it in download.{splits.pop()}")


def splits_in(folder: Path) -> dict[str, list[Path]]:
    """Find the files of each split in a folder, at any depth, as `datasets.load_dataset` does.

    A name gives a split if it contains one of `SPLIT_NAMES` between separators, as in
    `reviews_test.csv`. The names of the folders decide, or else those of the files. The names of
    files are also used if the folders name no train. If nothing names a labelled split, all
    files are train. Of a file in several formats, only one is used; a file whose name has two
    splits is not used, nor is a hidden one.
    """
    files = _one_format(path for path in files_in(folder) if path.name not in ABOUT)
    found: dict[str, list[Path]] = {}
    for rule in (_split_of_shard, _split_of_folder, _split_of_name):
        by_split = defaultdict(list)
        for path in files:
            if split := rule(path.relative_to(folder)):
                by_split[split].append(path)
        found = {**by_split, **found}
        if "train" in found:
            return found
        used = set(chain(*found.values()))
        files = [path for path in files if path not in used]
    if files and found.keys() <= {UNLABELED}:
        found["train"] = files
    return found


def _split_of_shard(path: Path) -> str | None:
    """The split of `data/train-00000-of-00001.parquet`, the files that the Hub itself writes."""
    shard = SHARD.fullmatch(path.as_posix())
    return SPLIT_OF.get(shard[1]) if shard else None


def _split_of_folder(path: Path) -> str | None:
    """The split of the innermost folder that is named after one."""
    splits = [split for name in path.parent.parts if (split := _split_of_text(name))]
    return splits[-1] if splits else None


def _split_of_name(path: Path) -> str | None:
    return _split_of_text(path.name)


def _split_of_text(name: str) -> str | None:
    """The split that a name contains, if it is only one."""
    splits = _splits_named(name)
    return splits.pop() if len(splits) == 1 else None


def _splits_named(name: str) -> set[str]:
    return {SPLIT_OF[found] for found in SPLIT.findall(name.lower())}


def _anonymous(path: Path) -> str:
    """The name of a file without format, and with `*` for a split."""
    return SPLIT.sub("*", bare_name(path).removesuffix(format_of(path)))


def _one_format(files: Iterable[Path]) -> list[Path]:
    """The data files; of those that differ only in the format, the one in the preferred format."""
    best: dict[Path, Path] = {}
    data = [path for path in files if format_of(path) in PREFERRED]
    for path in sorted(data, key=lambda path: (PREFERRED.index(format_of(path)), path)):
        best.setdefault(path.parent / bare_name(path).removesuffix(format_of(path)), path)
    return sorted(best.values())


def files_in(folder: Path) -> list[Path]:
    """All files of a folder and its subfolders, once each, except hidden ones."""
    names = glob.glob("**", root_dir=folder, recursive=True)  # noqa: PTH207, skips hidden ones
    files: dict[Path, Path] = {}
    for name in sorted(names, key=lambda name: (name.count(os.sep), name)):
        path = folder / name
        if path.is_file() and not any(part.startswith("__") for part in Path(name).parts[:-1]):
            files.setdefault(path.resolve(), path)  # a link to a folder can make a loop
    return sorted(files.values())
