"""Files that appear whole or not at all, JSON and CSV, and the hashes that name contents."""

import csv
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from sentiformer.core.errors import UserError, first_line, is_out_of_memory


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write in that becomes `path` when the block ends without an error.

    Raises:
        UserError: `path` is no folder of its own, or another process is writing it.
    """
    if path.is_symlink() or path.is_mount() or (path.exists() and not path.is_dir()):
        raise UserError(
            f"{path} is a link, a mounted disk or a file where a folder is to be; move it away"
        )
    written, old = (path.with_name(f".{path.name}.{what}") for what in ("partial", "old"))
    written.mkdir(parents=True, exist_ok=True)
    with _alone(written, path):
        for left in (*written.iterdir(), old):  # by a process that was killed
            _delete(left)
        try:
            yield written
        except BaseException:
            _delete(written)
            raise
        with suppress(OSError):  # a folder of a container's image, say, cannot be moved
            path.replace(old)
        _delete(path)
        written.replace(path)
        _delete(old)


@contextmanager
def _alone(folder: Path, output: Path) -> Iterator[None]:
    """Lock a folder; the system unlocks it when this process, and what it forked, have ended."""
    busy = UserError(f"another process is writing {output}; wait for it, or stop it")
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        raise busy from None  # which has just ended
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        except OSError:
            pass  # a disk that knows no locks
        if not folder.exists() or not os.path.samestat(os.fstat(handle), folder.stat()):
            raise busy  # as above
        yield
    finally:
        os.close(handle)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON whose bytes depend on the value alone."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: Path, columns: list[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a table; numbers are exact."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_tensors(path: Path, tensors: dict[str, Any]) -> None:
    """Write torch tensors as safetensors, with the permissions that the umask leaves."""
    from safetensors.torch import save

    path.write_bytes(save(tensors))


def read_csv(path: Path, *, made_by: str) -> list[dict[str, str]]:
    """The rows of a table that the stage `made_by` wrote.

    Raises:
        UserError: the file is missing or corrupt.
    """
    with reading(path, made_by, csv.Error), path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Found(dict[str, Any]):
    """An object of a JSON file; a key that it lacks is an error when asked for, and so is null."""

    def __init__(self, values: dict[str, Any], error: Callable[[str], UserError]) -> None:
        super().__init__(values)
        self._error = error

    def __getitem__(self, key: str) -> Any:
        if (value := self.get(key)) is None:
            raise self._error(f"it lacks {key!r}")
        return value


def read_json(path: Path, *, made_by: str) -> Found:
    """Read the JSON object that the stage `made_by` wrote.

    Raises:
        UserError: the file is missing or holds no JSON object.
    """
    error = partial(corrupt, path, made_by)
    with reading(path, made_by):
        text = path.read_text(encoding="utf-8")
        found = json.loads(text, object_hook=lambda values: Found(values, error))
    if not isinstance(found, Found):
        raise error("it is no JSON object")
    return found


@contextmanager
def reading(path: Path, made_by: str, *unreadable: type[Exception]) -> Iterator[None]:
    """Read a file of the stage `made_by` within; `unreadable` is what its format's reader raises.

    Raises:
        UserError: the file is missing or corrupt.
        OSError: it may not be read, or is a folder.
    """
    try:
        path.open("rb").close()  # some readers do not say why they cannot
    except FileNotFoundError:
        raise missing(path, made_by) from None
    kinds: tuple[type[Exception], ...] = (OSError, ValueError, *unreadable)
    try:
        yield
    except kinds as error:
        if is_out_of_memory(error):
            raise
        raise corrupt(path, made_by, error) from None


def missing(path: Path, made_by: str) -> UserError:
    """The error for a file that an earlier stage should have written."""
    return UserError(f"{path} is missing; `dvc repro {made_by}` makes it in the project's root")


def corrupt(path: Path, made_by: str, error: object) -> UserError:
    """The error for a file that cannot be what the stage `made_by` wrote."""
    return UserError(
        f"{path} is corrupt ({first_line(error)}); `dvc repro --force {made_by}` makes it anew"
    )


def sha256(path: Path, *, made_by: str | None = None) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        UserError: the stage `made_by` should have written it, and it is missing or unreadable.
    """
    with reading(path, made_by) if made_by else nullcontext(), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
