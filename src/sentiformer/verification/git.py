"""Git, asked about the project in a folder."""

import subprocess
from pathlib import Path


def git(project: Path, *arguments: str) -> bytes | None:
    """What a command of Git prints in a folder; None if it fails, or there is no Git."""
    command = ["git", "-C", str(project), *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout


def names(output: bytes | None) -> list[str]:
    """The names in an output that ends each with a null byte."""
    return [name.decode(errors="surrogateescape") for name in (output or b"").split(b"\0") if name]
