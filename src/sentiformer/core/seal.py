"""The seal of a folder: the SHA-256 of each of its files, by which a changed file is found."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentiformer.core.files import atomic_folder, corrupt, read_json, sha256, write_json

SEAL = "files.json"
# The suffixes of the files that stages read. Others, such as a model card, may lie beside them.
READ = {".arrow", ".csv", ".json", ".npy", ".onnx", ".parquet", ".safetensors", ".txt"}


@contextmanager
def sealed_folder(path: Path) -> Iterator[Path]:
    """Write a folder atomically, and seal it at its end; see `atomic_folder`."""
    with atomic_folder(path) as folder:
        yield folder
        seal(folder)


def seal(folder: Path) -> None:
    """Write the SHA-256 of all files of a folder, also of those in folders, to its `files.json`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SEAL)
    write_json(folder / SEAL, {path.relative_to(folder).as_posix(): sha256(path) for path in paths})


def require_sealed(folder: Path, *, made_by: str) -> None:
    """Check that the files of a folder are those that the stage `made_by` wrote.

    Raises:
        UserError: a file is missing, has other bytes or is not named in the seal, or the seal is
            missing or corrupt.
    """
    digests = read_json(folder / SEAL, made_by=made_by)
    is_digest = all(re.fullmatch("[0-9a-f]{64}", str(digest)) for digest in digests.values())
    paths = [Path(name) for name in digests]
    if not paths or not is_digest or any(p.is_absolute() or ".." in p.parts for p in paths):
        raise corrupt(folder / SEAL, made_by, "it does not name the files of the folder")
    for name, digest in digests.items():
        if sha256(folder / name, made_by=made_by) != digest:
            raise corrupt(folder / name, made_by, f"its SHA-256 is not that of {SEAL}")
    _require_no_others(folder, {SEAL, *digests}, made_by)


def _require_no_others(folder: Path, names: set[str], made_by: str) -> None:
    """Check that a reader finds no other files; folders inside may have a seal of their own."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in place.parts)
        is_other = is_hidden or (folder / place.parts[0] / SEAL).exists()
        if path.suffix in READ and place.as_posix() not in names and not is_other:
            raise corrupt(path, made_by, f"{SEAL} does not name it")
