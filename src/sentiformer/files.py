"""Files that appear whole or not at all, JSON, and the hashes that name contents."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentiformer.console import UserError


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write in that becomes `path` when the block ends without an error."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON whose bytes depend on the value alone."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, *, made_by: str) -> Any:
    """Read JSON that the stage `made_by` wrote; a key that it lacks is an error when asked for.

    Raises:
        UserError: the file is missing or is no JSON.
    """

    class Found(dict[str, Any]):
        def __missing__(self, key: str) -> Any:
            raise corrupt(path, made_by, f"it lacks {key!r}")

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_hook=Found)
    except FileNotFoundError:
        raise missing(path, made_by) from None
    except ValueError as error:
        raise corrupt(path, made_by, error) from None


def missing(path: Path, made_by: str) -> UserError:
    """The error for a file that an earlier stage should have written."""
    return UserError(f"{path} is missing; `dvc repro {made_by}` makes it")


def corrupt(path: Path, made_by: str, error: object) -> UserError:
    """The error for a file that cannot be what the stage `made_by` wrote."""
    first_line = (str(error).splitlines() or ["unreadable"])[0]
    return UserError(
        f"{path} is corrupt ({first_line}); `dvc repro --force {made_by}` makes it anew"
    )


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
