"""Whether the files of a commit agree with each other: what `dvc.lock` names is what is there."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sentiformer.core.errors import UserError, listed, one_line
from sentiformer.core.git import git, names
from sentiformer.core.params import read_yaml
from sentiformer.core.params import shown as shortened
from sentiformer.verification.lock import LOCK, LockedStage, file_hashes, hash_of, read_lock
from sentiformer.verification.record import OUTPUTS, RECORD, read_record

SHOWN = 4  # files that a line names
ABSENT = object()
DATA = "data/"  # what is not in Git, but for the sources
SOURCES = "data/source/"  # lists of files, made for each user's own files


class Contradiction(NamedTuple):
    """What is wrong, and the stage at which it is."""

    stage: str
    what: str


def contradictions(project: Path) -> Iterator[Contradiction]:
    """What the committed files say differently, found without running or reading any output.

    Raises:
        UserError: a file is missing or damaged.
    """
    pipeline = _pipeline(project / "dvc.yaml")
    locked, record = read_lock(project), read_record(project)
    params = read_yaml(project / "params.yaml")
    made = {path: (name, digest) for name in locked for path, digest in locked[name].outs.items()}
    for name in dict.fromkeys([*OUTPUTS, *pipeline, *locked]):
        if name not in locked or name not in pipeline:
            where = "dvc.yaml" if name not in pipeline else LOCK
            yield Contradiction(name, f"{where} lacks this stage")
            continue
        for what in (
            *_command(pipeline[name][0], locked[name]),
            *_params(pipeline[name][1], locked[name], params),
            *_inputs(project, locked[name], made),
            *_outputs(project, locked[name], record.files),
        ):
            yield Contradiction(name, what)


def differing_outputs(
    project: Path, files: Mapping[str, Mapping[str, str]], *, may_lack: bool = False
) -> Iterator[Contradiction]:
    """The outputs in `data/` that are not those of `dvc.lock`, or missing unless they may be.

    `files` are the `output_files` of the project.
    """
    record = read_record(project).files
    for name, stage in read_lock(project).items():
        for path, digest in stage.outs.items():
            if not path.startswith(DATA):
                continue
            found = files.get(path) or file_hashes(project / path)  # of a stage of the user's own
            if found and hash_of(found) != digest:
                changed = differing(record.get(path, {}), found)
                yield Contradiction(name, f"{shown(path, changed)} is not as stage {name} wrote it")
            if not found and not may_lack:
                yield Contradiction(name, f"{path} is missing; `make` builds it")


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The names of the files that are not in both, or not with the same hash."""
    return [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]


def shown(folder: str, files: Sequence[str]) -> str:
    """Some of the files of a folder, for a line."""
    paths = [one_line(f"{folder}/{name}" if name else folder) for name in files] or [folder]
    rest = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + rest


def _pipeline(path: Path) -> dict[str, tuple[Any, list[str]]]:
    """The command of each stage, and the parameters that it reads."""
    try:
        stages = read_yaml(path)["stages"].items()
        return {
            name: (stage["cmd"], [*map(str, stage.get("params", ()))]) for name, stage in stages
        }
    except (AttributeError, KeyError, TypeError):
        raise UserError(
            f"{path} is no pipeline of DVC; restore it with `git checkout -- {path.name}`"
        ) from None


def _command(command: Any, locked: LockedStage) -> Iterator[str]:
    if command != locked.command:
        yield f"dvc.yaml runs {shortened(command)}, {LOCK} has {shortened(locked.command)}"


def _params(read: Sequence[str], locked: LockedStage, params: Mapping[str, Any]) -> Iterator[str]:
    if {*read} != locked.params.keys():
        yield f"dvc.yaml reads {listed(read)} of params.yaml, {LOCK} has {listed([*locked.params])}"
    values = _flat(params)
    for key, value in _flat(locked.params).items():
        found = values.get(key, ABSENT)
        if found != value or type(found) is not type(value):
            now = shortened(values[key]) if key in values else "missing"
            yield f"params.yaml: {key} is {now}, {LOCK} has {shortened(value)}"


def _flat(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The values by `section.key`; a key may be `section.key` already."""
    values: dict[str, Any] = {}
    for name, value in sections.items():
        if isinstance(value, dict):
            values |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            values[name] = value
    return values


def _inputs(
    project: Path, locked: LockedStage, made: Mapping[str, tuple[str, str]]
) -> Iterator[str]:
    for path, digest in locked.deps.items():
        if path in made:
            maker, written = made[path]
            if digest != written:
                yield f"{LOCK}: it read another {path} than the one that stage {maker} wrote"
        elif (project / path).exists() and hash_of(file_hashes(project / path)) != digest:
            changed = _changed_since_the_lock(project, path) or path
            yield f"{changed} is not as it was when {LOCK} was written"
        elif not (project / path).exists() and not path.startswith(SOURCES):
            yield f"{path} is missing"


def _outputs(
    project: Path, locked: LockedStage, record: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    for path, digest in locked.outs.items():
        if not path.startswith(DATA) and hash_of(file_hashes(project / path)) != digest:
            yield f"{path} is not as it was when {LOCK} was written"
        elif path != RECORD and hash_of(record.get(path, {})) != digest:
            yield f"{RECORD} has other files of {path} than {LOCK}"


def differing_sources(project: Path, download: LockedStage) -> Iterator[Contradiction]:
    """The lists of the user's files, made by a rebuild, that are not those of `dvc.lock`."""
    for path, digest in download.deps.items():
        if path.startswith(SOURCES) and hash_of(file_hashes(project / path)) != digest:
            yield Contradiction("download", f"{path}: the files of the source have changed")


def _changed_since_the_lock(project: Path, path: str) -> str:
    """The files in a folder of code that have changed since Git's last `dvc.lock`, if Git knows."""
    commit = (git(project, "log", "-1", "--format=%H", "--", LOCK) or b"").decode().strip()
    changed = ("diff", "--name-only", "--relative", "-z", commit, "--", path)
    return listed(names(git(project, *changed))) if commit else ""
