"""A full disk at every stage, and where DVC and MLflow write.

A limit on the size of files, which needs no rights, stops a stage in the middle of a file. A small
file system in memory, in a namespace of its own, is really full; where the system allows no such
namespace, those cases are left out.
"""

import random
import resource
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.faults import Row
from benchmarks.faults.kills import LEFTOVERS, make_outdated
from benchmarks.faults.project import Done, Project, undisturbed
from sentiformer.console.output import say
from sentiformer.console.progress import progress
from sentiformer.core.params import read_yaml

WITH_DVC = 3  # a run of DVC takes as long as so many of a stage
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
MOST_FREE = 400_000  # bytes of the small file system
FULL = "error: the disk is full", "error: no temporary folder can be written"
SCRIPT = """
mount -t tmpfs -o size={size} tmpfs {at} && cp -a {project}/. {at} && cd {at} || exit 99
head -c $(($(df --output=avail -B1 . | tail -1) - {free})) /dev/zero > .dvc/tmp/filler
{command}
code=$?; rm .dvc/tmp/filler
dvc repro || {{ echo "$code {failed}"; exit 98; }}
cp -r dvc.lock data {results}; echo "exit code $code"
"""


def check(folder: Path, count: int) -> Iterator[Row]:
    """Stop stages by a limit, and fill a small file system, with random room left."""
    project = undisturbed()[0].copy(folder / "project")
    yield row("disk full, stage run alone", count, partial(stage_alone, project))
    if subprocess.run((*NAMESPACE, "true"), capture_output=True).returncode:
        say("this system allows no namespaces to users: no file system is filled")
        return
    yield row("disk full, dvc repro", max(1, count // WITH_DVC), partial(with_dvc, project, folder))


def row(fault: str, count: int, case: Callable[[int], tuple[float, str]]) -> Row:
    """Try cases with seeds from 0; each returns its seconds, and what is wrong, if anything."""
    found = [case(seed) for seed in progress(range(count), total=count, what=fault)]
    failures = [f"seed {seed}: {problem}" for seed, (_, problem) in enumerate(found) if problem]
    return Row(fault, count, count - len(failures), max(took for took, _ in found), failures)


def stage_alone(project: Project, seed: int) -> tuple[float, str]:
    """Run a stage with a limit below the size of its largest file."""
    rng, stages = random.Random(seed), read_yaml(project.folder / "dvc.yaml")["stages"]
    stage = [*stages][seed % len(stages)]
    outs = [
        project.folder / next(iter([out] if isinstance(out, str) else out))
        for out in stages[stage]["outs"]
    ]
    before = contents(outs)
    largest = max(map(len, before.values()))
    limit = rng.choice([0, rng.randrange(largest)])
    done = project.run("python", "-m", f"pipeline.{stage}", preexec_fn=partial(limit_files, limit))
    problem = wrong_with(done)
    restore_curves(project)
    if contents(outs) != before:
        problem = "its earlier output has changed"
    if left := [path.name for p in LEFTOVERS[:2] for path in project.folder.glob(p)]:
        problem = f"left behind: {left}"
    return done.seconds, problem and f"{stage}, {limit} bytes a file: {problem}"


def contents(outs: list[Path]) -> dict[Path, bytes]:
    """The bytes of each file of some outputs but the curves, which grow while a training runs."""
    paths = [path for out in outs if out.name != "curves" for path in (out, *out.rglob("*"))]
    return {path: path.read_bytes() for path in paths if path.is_file()}


def restore_curves(project: Project) -> None:
    """Copy the curves, which a training writes while it goes on, from the undisturbed project."""
    place = Path("data", "curves")
    shutil.copytree(undisturbed()[0].folder / place, project.folder / place, dirs_exist_ok=True)


def limit_files(size: int) -> None:
    """Let no file of this process grow beyond a size in bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def wrong_with(done: Done) -> str:
    """What is wrong with the end of a stage without room, if anything."""
    *_, line = done.output.strip().splitlines() or [""]
    if done.code == 1 and line.startswith(FULL) and "Traceback" not in done.output:
        return ""
    return f"exit code {done.code}, it says {done.output[-500:]!r}"


def with_dvc(project: Project, folder: Path, seed: int) -> tuple[float, str]:
    """Run one stage by DVC on a file system with little room; make room, and run all."""
    rng, (built, seconds) = random.Random(seed), undisturbed()
    stage, free = [*seconds][seed % len(seconds)], rng.randrange(MOST_FREE)
    make_outdated(project, stage)
    at, results = folder / f"full-{seed}", folder / f"results-{seed}"
    at.mkdir()
    results.mkdir()
    size = sum(path.stat().st_blocks * 512 for path in project.folder.rglob("*"))
    script = SCRIPT.format(
        at=shlex.quote(str(at)),
        results=shlex.quote(str(results)),
        project=shlex.quote(str(project.folder)),
        size=2 * size,
        free=free,
        command=f"dvc repro --single-item {stage}",
        failed="repro failed with room",
    )
    start = time.perf_counter()
    done = Project(at).run(*NAMESPACE, "sh", "-c", script, cwd=folder)
    took = time.perf_counter() - start
    problem = ""
    if done.code or "Traceback" in done.output:
        problem = f"it says {done.output[-900:]!r}"
    elif read_yaml(results / "dvc.lock")["stages"] != built.lock:
        problem = "other hashes"
    return took, problem and f"{stage}, {free:,} bytes free: {problem}"
