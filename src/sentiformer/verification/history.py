"""The commit that records a folder, and the stages that led to it, from the history of dvc.lock."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from sentiformer.core.errors import UserError
from sentiformer.core.git import git, is_shallow
from sentiformer.verification.lock import FOLDER, LOCK, LockedStage, read_lock

CACHE = ".dvc/cache/files/md5"


class Record(NamedTuple):
    """Where a folder is recorded.

    Attributes:
        digest: its hash, as in `dvc.lock`.
        lock: the stages of the lock file that names the folder; empty if none is found.
        commit: the `id` and the `date` of its commit; None if unknown.
        reason: why the commit is unknown.
    """

    digest: str
    lock: dict[str, LockedStage]
    commit: dict[str, str] | None
    reason: str = ""


def project_of(folder: Path) -> Path | None:
    """The project around a folder, or else around the working directory; None without one."""
    places = [folder.resolve(), *folder.resolve().parents, Path.cwd(), *Path.cwd().parents]
    return next((place for place in places if (place / "dvc.yaml").exists()), None)


def find_record(project: Path, digest: str) -> Record:
    """The newest commit whose `dvc.lock` says that a stage wrote the folder with this hash.

    The history of HEAD is searched first, then that of all branches, tags and DVC's experiments.
    """
    history = ["rev-list", "--full-history"]
    found = (git(project, *history, revisions, "--", LOCK) for revisions in ("HEAD", "--all"))
    commits = list(dict.fromkeys(commit for output in found for commit in (output or b"").split()))
    for commit in _naming(project, digest, [commit.decode() for commit in commits]):
        if writes(lock := _lock_at(project, commit), digest):
            date = git(project, "show", "-s", "--no-show-signature", "--format=%cI", commit) or b""
            return Record(digest, lock, {"id": commit, "date": date.decode().strip()})
    without = f"Git has no {LOCK} of {project}"
    with suppress(UserError):
        if writes(lock := read_lock(project), digest):
            reason = f"{LOCK} names this folder, but it is not committed; `git commit {LOCK}`"
            return Record(digest, lock, None, reason if commits else without)
    if not commits:
        return Record(digest, {}, None, without)
    more = ", and this clone is shallow; `git fetch --unshallow` gets the others"
    more *= is_shallow(project)
    reason = f"no commit of {LOCK} names this folder ({len(commits):,} searched){more}"
    return Record(digest, {}, None, reason)


def writes(lock: dict[str, LockedStage], digest: str) -> bool:
    """Whether a stage of a lock file wrote a folder with this hash."""
    return any(digest in stage.outs.values() for stage in lock.values())


def folders_with(project: Path, name: str, md5: str) -> list[str]:
    """The hashes of the folders in DVC's cache in which the file `name` has this MD5."""
    listed = json.dumps({"md5": md5, "relpath": name})
    paths = sorted((project / CACHE).glob(f"*/*{FOLDER}"))
    return [
        path.parent.name + path.name for path in paths if listed in path.read_text(errors="replace")
    ]


def stages_before(lock: dict[str, LockedStage], digest: str) -> list[dict[str, Any]]:
    """The stages that led to the output with this hash, in their order, with their hashes.

    `unmatched` are the inputs that are the output of a stage, but with another hash in this lock
    file: the stages that led to them are unknown.
    """
    makers = {path: name for name, stage in lock.items() for path in stage.outs}
    visited: set[str] = set()
    found: list[dict[str, Any]] = []

    def visit(name: str) -> None:
        if name in visited:
            return
        visited.add(name)
        stage, unmatched = lock[name], []
        for path in filter(makers.get, stage.deps):
            if lock[makers[path]].outs[path] == stage.deps[path]:
                visit(makers[path])
            else:
                unmatched.append(path)
        facts = {"stage": name, "outs": stage.outs, "deps": stage.deps}
        found.append(facts | ({"unmatched": unmatched} if unmatched else {}))

    visit(next(name for name, stage in lock.items() if digest in stage.outs.values()))
    return found


def _naming(project: Path, digest: str, commits: list[str]) -> list[str]:
    """Those of the commits whose lock file has this hash, in the same order."""
    if not commits:
        return []
    found = git(project, "grep", "--no-color", "-lF", digest, *commits, "--", LOCK) or b""
    return [line.partition(":")[0] for line in found.decode(errors="replace").splitlines()]


def _lock_at(project: Path, commit: str) -> dict[str, LockedStage]:
    """The stages of the lock file of a commit; empty if it cannot be read."""
    with TemporaryDirectory() as folder, suppress(UserError):
        content = git(project, "cat-file", "blob", f"{commit}:./{LOCK}") or b""
        (Path(folder) / LOCK).write_bytes(content)
        return read_lock(Path(folder))
    return {}
