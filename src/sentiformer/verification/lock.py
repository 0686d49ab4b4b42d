"""`dvc.lock`: what each stage read and wrote, by hashes as DVC computes them.

DVC names a file by the MD5 of its bytes, and a folder by the MD5 of the JSON list of its files.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sentiformer.core.errors import UserError
from sentiformer.core.params import read_yaml

LOCK = "dvc.lock"
FOLDER = ".dir"  # ends the hash of a folder
IGNORED = "__pycache__"  # also in .dvcignore


class LockedStage(NamedTuple):
    """A stage as the lock file names it.

    Attributes:
        command: what it ran.
        deps: the hash of each file and folder that it read, by its path.
        params: the parameters that it read, by section or by `section.key`.
        outs: the hash of each file and folder that it wrote, by its path.
    """

    command: str
    deps: dict[str, str]
    params: dict[str, Any]
    outs: dict[str, str]


def read_lock(project: Path) -> dict[str, LockedStage]:
    """The stages of the lock file of a project, by name, in the order of the file.

    Raises:
        UserError: the file is missing, or is no lock file of DVC.
    """
    path = project / LOCK
    if not path.exists():
        raise UserError(f"{LOCK} is missing; `dvc repro` writes it, then commit it")
    try:
        return {name: _stage(stage) for name, stage in read_yaml(path)["stages"].items()}
    except (AttributeError, KeyError, TypeError):
        raise UserError(
            f"{LOCK} is no lock file of DVC with paths in the project; `git checkout -- {LOCK}` "
            "restores the committed one, and `dvc repro` writes it anew"
        ) from None


def is_safe(name: str) -> bool:
    """Whether a name is the path of a file in a folder, and not in a folder of Git."""
    parts = {part.lower() for part in name.split("/")}
    return name.isprintable() and "\\" not in name and not parts & {"", ".", "..", ".git"}


def _stage(stage: dict[str, Any]) -> LockedStage:
    deps, outs = (
        {item["path"]: item["md5"] for item in stage.get(kind, ())} for kind in ("deps", "outs")
    )
    params = stage.get("params", {}).get("params.yaml", {})
    if not isinstance(params, dict) or not all(map(is_safe, (*deps, *outs))):
        raise TypeError("a path outside the project, or no parameters")
    return LockedStage(stage["cmd"], deps, params, outs)


def file_hashes(path: Path) -> dict[str, str]:
    """The MD5 of each file of a folder, by its path in the folder; of a file, by the path `""`.

    It is empty if there is nothing at `path`.
    """
    if path.is_file():
        return {"": _md5(path)}
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return {name: _md5(path / name) for name in names if IGNORED not in Path(name).parts}


def hash_of(files: Mapping[str, str]) -> str | None:
    """The hash by which DVC names the file or folder with these `file_hashes`; None if empty."""
    if not files or "" in files:
        return files.get("")
    listed = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + FOLDER


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
