"""What Git says of a project."""

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


def line(project: Path, *arguments: str) -> str:
    """The same as text; empty if the command fails."""
    return (git(project, *arguments) or b"").decode(errors="surrogateescape").strip()


def names(output: bytes | None) -> list[str]:
    """The names in an output that ends each with a null byte."""
    return [name.decode(errors="surrogateescape") for name in (output or b"").split(b"\0") if name]


def last_commit(project: Path = Path()) -> str:
    """The id of the last commit; empty if there is none, or if it does not have the project.

    A project from a ZIP file may be in a folder of another repository, whose commits say nothing
    of it.
    """
    return line(project, "rev-parse", "HEAD", "HEAD:./dvc.yaml").partition("\n")[0]


def is_shallow(project: Path) -> bool:
    """Whether a project is in a shallow clone, in which DVC loses experiments of a copy."""
    return line(project, "rev-parse", "--is-shallow-repository") == "true"
