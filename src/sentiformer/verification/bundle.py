"""A bundle: a ZIP file with the code, parameters, hashes and results of a project.

A reviewer needs neither Git nor DVC for it. The same commit and outputs give the same bytes: the
entries are sorted, have no time, and are not compressed, because compressed bytes depend on the
version of zlib.
"""

import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Annotated
from zipfile import ZipFile, ZipInfo

from pydantic import BaseModel, ConfigDict, Field

from sentiformer.console.progress import progress
from sentiformer.core.errors import UserError, listed
from sentiformer.core.git import git
from sentiformer.verification.sources import (
    Source,
    committed,
    outputs,
    require_committed,
    stages_of,
    unignored,
)

MANIFEST = "bundle.json"
NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP file can state
UNIX = 3  # the system of the modes of files


class Part(BaseModel):
    """A part of `bundle.json`: strict types, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


class File(Part):
    """A file of a bundle."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: str


class Output(Part):
    """An output of a stage: its hash in `dvc.lock`, and why it is left out, if it is."""

    md5: str
    left_out: str | None


class Bundle(Part):
    """What `bundle.json` says; commit and date are None if the project is not in Git."""

    commit: str | None
    date: str | None
    files: dict[str, File]
    outputs: dict[str, Output]

    def summary(self) -> Iterator[str]:
        """Yield lines that say what the bundle holds, and what it lacks and why."""
        size = sum(file.bytes for file in self.files.values())
        origin = f"commit {self.commit}" if self.commit else "a folder without Git"
        yield f"{origin}: {len(self.files):,} files, {size / 1e6:.1f} MB"
        included = [path for path, output in self.outputs.items() if output.left_out is None]
        yield f"with {listed(included) or 'no output of a stage'}"
        for path, output in self.outputs.items():
            if output.left_out is not None:
                yield f"without {path} ({output.left_out})"


def write_bundle(path: Path, project: Path) -> Bundle:
    """Write the bundle of a project to a new file.

    Raises:
        UserError: the file exists, or the files of the project are not those of its last commit
            or of `dvc.lock`.
    """
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists; delete it, or give the name of a new file")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is no folder; create it, or give another name")
    if not (project / "dvc.yaml").exists():
        raise UserError("dvc.yaml is missing; run from the project's root")
    stages, commit, date = stages_of(project), None, None
    if git(project, "ls-files", "dvc.yaml"):
        require_committed(project, stages)
        files, facts = committed(project), git(project, "rev-list", "-1", "--format=%cI", "HEAD")
        _, commit, date = (facts or b"").decode().split()  # "commit", its id, its date
    elif (project / ".git").exists():
        raise UserError("Git does not track dvc.yaml here; `git status` says why, then commit it")
    else:
        files = unignored(project)
    stated = {}
    for place, (md5, inside, reason) in outputs(project, stages).items():
        stated[place] = Output(md5=md5, left_out=reason)
        files |= {name: inside[name] for name in inside if name not in files}
    if MANIFEST in files:
        raise UserError(f"the project has a {MANIFEST}, as each bundle has; rename it")
    partial = path.with_name(f".{path.name}.partial")
    try:
        bundle = _write(partial, files, commit, date, stated)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return bundle


def _write(
    path: Path,
    files: dict[str, Source],
    commit: str | None,
    date: str | None,
    outputs: dict[str, Output],
) -> Bundle:
    with ZipFile(path, "w") as file:
        names = progress(sorted(files), total=len(files), what="bundle, files")
        stated = {name: _add(file, name, files[name]) for name in names}
        bundle = Bundle(commit=commit, date=date, files=stated, outputs=outputs)
        _add(file, MANIFEST, Source((bundle.model_dump_json(indent=2) + "\n").encode))
    return bundle


def _add(file: ZipFile, name: str, source: Source) -> File:
    content, info = source.read(), ZipInfo(name, NO_TIME)
    info.create_system = UNIX
    info.external_attr = (stat.S_IFREG | (0o755 if source.is_program else 0o644)) << 16
    file.writestr(info, content)
    return File(bytes=len(content), sha256=sha256(content).hexdigest())
