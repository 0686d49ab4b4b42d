"""Atomic folders, JSON, CSV and tensor files, and hashes of files."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.errors import UserError, first_line, is_out_of_memory

if TYPE_CHECKING:
    import numpy as np
    import torch


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Write a folder atomically: the block gets a new folder, which becomes `path` at its end.

    If the block fails, `path` keeps its old contents. A lock file next to `path` stays.

    Raises:
        UserError: `path` is not an ordinary folder, or another process is writing it.
    """
    from filelock import FileLock, Timeout

    if path.is_symlink() or path.is_mount() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path} is a link, a mounted disk or a file, not a folder; move it away")
    written, old = (path.with_name(f".{path.name}.{suffix}") for suffix in ("partial", "old"))
    path.parent.mkdir(parents=True, exist_ok=True)
    place = path.with_name(f".{path.name}.lock")
    place.touch()  # FileLock would try again where no file can be made, as in /proc
    try:
        lock = FileLock(place).acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process is writing {path}; wait for it, or stop it") from None
    with lock:
        for folder in (written, old):  # of a process that was killed
            _delete(folder)
        written.mkdir()
        try:
            yield written
        except BaseException:
            _delete(written)
            raise
        with suppress(OSError):  # for instance, a folder of a container's image cannot be moved
            path.replace(old)
        _delete(path)
        written.replace(path)
        _delete(old)


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON; its bytes depend only on the value."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: Path, columns: list[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a table; numbers keep all their digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_tensors(path: Path, tensors: "Mapping[str, torch.Tensor | np.ndarray]") -> None:
    """Write tensors that are on the CPU as safetensors, with the mode that the umask gives."""
    import numpy as np
    from safetensors.numpy import save  # `save_file` would make the mode 0600

    path.write_bytes(save({name: np.asarray(tensor) for name, tensor in tensors.items()}))


def read_csv(path: Path, *, made_by: str) -> list[dict[str, str]]:
    """The rows of a table that the stage `made_by` wrote.

    Raises:
        UserError: the file is missing or corrupt.
    """
    with reading(path, made_by, csv.Error), path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class JsonObject(dict[str, Any]):
    """An object of a JSON file; looking up a key that is missing or null is an error."""

    def __init__(self, values: dict[str, Any], error: Callable[[str], UserError]) -> None:
        super().__init__(values)
        self._error = error

    def __getitem__(self, key: str) -> Any:
        if (value := self.get(key)) is None:
            raise self._error(f"it lacks {key!r}")
        return value


def read_json(path: Path, *, made_by: str) -> JsonObject:
    """Read the JSON object that the stage `made_by` wrote.

    Raises:
        UserError: the file is missing or holds no JSON object.
    """
    error = partial(corrupt, path, made_by)
    with reading(path, made_by, RecursionError):  # of lists in lists in lists …
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, object_hook=lambda values: JsonObject(values, error))
    if not isinstance(value, JsonObject):
        raise error("it is no JSON object")
    return value


@contextmanager
def reading(path: Path, made_by: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of reading a file of the stage `made_by` into a UserError.

    `errors` are what the reader of this format raises in addition to OSError and ValueError.

    Raises:
        UserError: the file is missing or corrupt.
        OSError: this process may not read the file, or it is a folder.
    """
    try:
        path.open("rb").close()  # some readers do not say why they cannot open a file
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing; `dvc repro {made_by}` makes it in the project's root"
        ) from None
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) or not isinstance(error, (OSError, ValueError, *errors)):
            raise
        raise corrupt(path, made_by, error) from None


def corrupt(path: Path, made_by: str, error: object) -> UserError:
    """The error for a file whose contents the stage `made_by` cannot have written."""
    return UserError(
        f"{path} is corrupt ({first_line(error)}); `dvc repro --force {made_by}` creates it again"
    )


def sha256(path: Path, *, made_by: str | None = None) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        UserError: `made_by` is given, and the file is missing or cannot be read.
    """
    with reading(path, made_by) if made_by else nullcontext(), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
