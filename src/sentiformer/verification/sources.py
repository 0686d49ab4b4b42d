"""The files of a project from which a bundle is made: those of the commit, and small outputs."""

import io
import stat
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sentiformer.core.errors import UserError, listed
from sentiformer.core.git import git, names
from sentiformer.verification.lock import (
    LOCK,
    LockedStage,
    file_hashes,
    hash_of,
    is_safe,
    read_lock,
)

MOST_BYTES = 50_000_000  # of an output that is included
FILES_LOCK = Path("data/source")  # the folder of the lock file of stage files


class Source(NamedTuple):
    """Where a file of a bundle comes from: how to read it, and whether it is a program."""

    read: Callable[[], bytes]
    is_program: bool = False


def committed(project: Path) -> dict[str, Source]:
    """The files of the last commit, by their names.

    Raises:
        UserError: there is no commit, or one of its files is a link.
    """
    archive = git(project, "archive", "--format=tar", "HEAD")
    if archive is None:
        raise UserError("there is no commit; `git add --all` and `git commit` make one")
    tar = tarfile.open(fileobj=io.BytesIO(archive))  # noqa: SIM115, it is read later
    members = [member for member in tar if not member.isdir()]
    for member in members:
        _require_file(member.name, is_file=member.isfile())
    return {
        member.name: Source(partial(_read, tar, member), bool(member.mode & stat.S_IXUSR))
        for member in members
    }


def unignored(project: Path) -> dict[str, Source]:
    """The files of a folder that is not in Git, without those that Git would ignore.

    Raises:
        UserError: a file is a link.
    """
    from dulwich.ignore import IgnoreFilterManager

    ignored, files, folders = IgnoreFilterManager(str(project), [], False), {}, [project]
    while folders:
        for path in folders.pop().iterdir():
            name, is_link = path.relative_to(project).as_posix(), path.is_symlink()
            is_folder = path.is_dir() and not is_link
            if ignored.is_ignored(f"{name}/" if is_folder else name):
                continue
            if is_folder:
                folders.append(path)
            else:
                _require_file(name, is_file=path.is_file() and not is_link)
                files[name] = Source(path.read_bytes, bool(path.stat().st_mode & stat.S_IXUSR))
    return files


def stages_of(project: Path) -> list[tuple[str, LockedStage]]:
    """The stages of the lock files of a project, by name."""
    places = [project, *(place for place in [project / FILES_LOCK] if (place / LOCK).exists())]
    return [item for place in places for item in read_lock(place).items()]


def require_committed(project: Path, stages: list[tuple[str, LockedStage]]) -> None:
    """Check that the files that stages read, and all that Git tracks, are those of the last commit.

    Raises:
        UserError: a file is changed or new.
    """
    changed = names(git(project, "diff", "HEAD", "--name-only", "--relative", "-z"))
    read = {path for _, stage in stages for path in stage.deps if is_safe(path)}
    new = ["ls-files", "--others", "--exclude-standard", "-z", "--", LOCK, *sorted(read)]
    if changed := changed + names(git(project, *new)):
        raise UserError(f"not committed: {listed(changed)}; `git add` and `git commit` commit it")


def outputs(
    project: Path, stages: list[tuple[str, LockedStage]]
) -> dict[str, tuple[str, dict[str, Source], str | None]]:
    """By the path of each output: its hash, its files, and why they are left out, if they are.

    Raises:
        UserError: an input or output of a stage is not that of the lock file.
    """
    hashes = {path: file_hashes(project / path) for _, s in stages for path in (*s.deps, *s.outs)}
    for name, stage in stages:
        for path, digest in (*stage.deps.items(), *stage.outs.items()):
            if hash_of(hashes[path]) not in (None, digest):
                raise UserError(
                    f"{path} is not what {LOCK} says of stage {name}; `dvc repro {name}`, and "
                    "commit what it changes"
                )
    found = {}
    for path, digest in sorted(item for _, stage in stages for item in stage.outs.items()):
        inside = [f"{path}/{name}".rstrip("/") for name in hashes[path]]
        size = sum((project / name).stat().st_size for name in inside)
        reason = None if inside else "not in this folder; `dvc pull` or `dvc repro` brings it"
        if size > MOST_BYTES:
            reason = f"{size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB"
        for name in inside:
            _require_file(name, is_file=True)
        files = {name: Source((project / name).read_bytes) for name in inside}
        found[path] = digest, files if reason is None else {}, reason
    return found


def _require_file(name: str, *, is_file: bool) -> None:
    if not is_file or not is_safe(name):
        raise UserError(
            f"a bundle cannot hold {name!r}: it is a link, or its name is not printable; replace "
            "or rename it"
        )


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # it is neither a folder nor a link
    return file.read()
