"""Surroundings that differ from a usual machine: each run ends right, or in one clear line.

A case builds one stage again by `dvc repro` and predicts. Cases that need a namespace are left out
where the system allows none.
"""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path

from benchmarks.faults import Row
from benchmarks.faults.disk import NAMESPACE
from benchmarks.faults.kills import make_outdated
from benchmarks.faults.project import Done, Project, undisturbed
from sentiformer.console.output import say
from sentiformer.console.progress import progress

PREDICT = ("python", "-m", "sentiformer", "predict", "a great film — 好")
YEARS = 20 * 365 * 24 * 3600  # seconds
VARIABLES: dict[str, Mapping[str, str | None]] = {  # None: the variable is absent
    "no HOME": {"HOME": None},
    "a HOME that does not exist": {"HOME": "/nonexistent"},
    "LC_ALL=C, without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "a Turkish locale": {"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr"},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "a TMPDIR that does not exist": {"TMPDIR": "/nonexistent"},
    "a dumb terminal": {"TERM": "dumb", "COLUMNS": "1"},
}
SHELL = {  # commands that a shell runs first; {at} is the project's folder
    "64 open files": "ulimit -n 64",
    "a strict umask": "umask 077",
}


def check(folder: Path, count: int) -> Iterator[Row]:
    """Try the first `count` kinds of surroundings."""
    built = undisturbed()[0]
    project = built.copy(folder / "project")
    cases: dict[str, Callable[[], str]] = {
        "two dvc repro at once": partial(two_at_once, project),
        "a clock set back, files of the future": partial(shift_times, project, YEARS),
        "files of the past": partial(shift_times, project, -YEARS),
        "a path with spaces and Chinese signs": lambda: ends_right(
            built.copy(folder / "my 项目 (1)"), "report"
        ),
    }
    cases |= {name: partial(with_variables, project, VARIABLES[name]) for name in VARIABLES}
    cases |= {name: partial(in_shell, project, SHELL[name]) for name in SHELL}
    if subprocess.run((*NAMESPACE, "true"), capture_output=True).returncode:
        say("this system allows no namespaces to users: cases without a network are left out")
    else:
        cases["no network"] = partial(in_shell, project, "true", *NAMESPACE, "--net")
        shm = "mount -t tmpfs -o ro tmpfs /dev/shm; export SENTIFORMER_THREADS=2"
        cases["no /dev/shm"] = partial(in_shell, project, shm, *NAMESPACE, stage="tokenize")
        cases["a read-only checkout"] = partial(read_only, project)
    chosen = [*cases][:count]
    for name in progress(chosen, total=len(chosen), what="environments"):
        start = time.perf_counter()
        problem = cases[name]()
        took = time.perf_counter() - start
        yield Row(name, 1, int(not problem), took, [problem] if problem else [])


def ends_right(project: Project, stage: str, *before: str, clear: bool = False) -> str:
    """Build a stage again and predict, by commands that begin with `before`.

    Returns what is wrong, if anything. If `clear`, the stage may also end in one clear line.
    """
    make_outdated(project, stage)
    done = project.run(*before, "dvc", "repro")
    if done.code and clear and is_one_line(done):
        return ""
    if done.code or "Traceback" in done.output:
        return f"exit code {done.code}, it says {done.output[-900:]!r}"
    if project.lock != undisturbed()[0].lock:
        return "other hashes"
    return predicts(project, *before, clear=clear)


def predicts(project: Project, *before: str, clear: bool = False) -> str:
    """Predict; returns what is wrong, if anything. See `ends_right`."""
    done = project.run(*before, *PREDICT)
    if done.code and clear and is_one_line(done):
        return ""
    same = done.output.split()[-2:] == expected_answer()
    return "" if done.code == 0 and same else f"predict says {done.output[-500:]!r}"


@cache
def expected_answer() -> list[str]:
    """The end of what the undisturbed project predicts."""
    return undisturbed()[0].run(*PREDICT).output.split()[-2:]


def is_one_line(done: Done) -> bool:
    """Whether a failed stage ended in one clear line."""
    lines = [line for line in done.output.splitlines() if line.startswith("error: ")]
    return len(lines) == 1 and "Traceback" not in done.output


def with_variables(project: Project, changes: Mapping[str, str | None]) -> str:
    """See `ends_right`; the environment has other variables."""
    changed = Project(project.folder)
    changed.env |= {name: value for name, value in changes.items() if value is not None}
    for name in [name for name, value in changes.items() if value is None]:
        del changed.env[name]
    return ends_right(changed, "report", clear=True)


def in_shell(project: Project, first: str, *namespace: str, stage: str = "report") -> str:
    """See `ends_right`; a shell runs a command first, possibly in a namespace of its own."""
    return ends_right(
        project, stage, *namespace, "sh", "-c", f'{first}; exec "$@"', "sh", clear=True
    )


def two_at_once(project: Project) -> str:
    """Run `dvc repro` twice at once; afterwards all is as it was."""
    make_outdated(project, "baseline")
    both = [project.start("dvc", "repro") for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    if all(process.returncode for process in both) or any("Traceback" in text for text in said):
        return f"they say {[text[-500:] for text in said]}"
    return ends_right(project, "build_vocab")


def shift_times(project: Project, seconds: int) -> str:
    """Give all files of the project another time."""
    for path in project.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found = path.stat()
            os.utime(path, (found.st_atime + seconds, found.st_mtime + seconds))
    return ends_right(project, "word_vectors")


def read_only(project: Project) -> str:
    """Predict and run a stage in a folder that cannot be written."""
    at = shlex.quote(str(project.folder))
    mount = f"mount --bind {at} {at} && mount -o remount,bind,ro {at} && cd {at}"
    before = (*NAMESPACE, "sh", "-c", f'{mount}; exec "$@"', "sh")
    if problem := predicts(project, *before):
        return problem
    done = project.run(*before, "python", "-m", "pipeline.build_vocab")
    return "" if done.code == 1 and is_one_line(done) else f"it says {done.output[-500:]!r}"
