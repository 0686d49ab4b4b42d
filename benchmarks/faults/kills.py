"""kill -9 at random moments of all stages: of the stage's process, and of DVC.

A case makes one stage of a built project out of date, runs it, and kills. The next `dvc repro` must
end in the hashes of the undisturbed project, and leave no process and no file behind. `make locks`
comes first, as in `make`: a kill of DVC can cut off the lock file that it is writing.
"""

import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from subprocess import DEVNULL

import psutil

from benchmarks.faults import Row
from benchmarks.faults.project import Project, undisturbed
from sentiformer.console.progress import progress
from sentiformer.core.params import read_yaml

AT_ONCE = 2  # cases
ORPHAN_SECONDS = 10.0  # the longest life of a stage after DVC's end
EARLIER = 0.7  # a stage that ended before its kill is tried again, and killed so much earlier
BEFORE_STAGE = 1.5  # about the seconds that DVC takes before the stage and after it
CHECKPOINTS = ".checkpoints"
LEFTOVERS = ("data/.*.partial", "data/.*.old", f"{CHECKPOINTS}/*", "mlflow.db.partial*")


def check(folder: Path, count: int) -> Iterator[Row]:
    """Kill `count` times, in turn in all stages, every second time DVC."""
    built, seconds = undisturbed()
    copies: SimpleQueue[Project] = SimpleQueue()
    for number in range(AT_ONCE):
        copies.put(built.copy(folder / str(number)))
    stages = list(seconds)

    def try_case(case: int) -> tuple[str, float, str]:
        stage, of = stages[case // 2 % len(stages)], ("stage", "dvc")[case % 2]
        project = copies.get()
        try:
            took, problem = kill_and_recover(project, stage, of, case, seconds[stage])
        finally:
            copies.put(project)
        return of, took, problem and f"case {case}, {of} in {stage}: {problem}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(progress(pool.map(try_case, range(count)), total=count, what="kills"))
    for of in ("stage", "dvc"):
        cases = [(took, problem) for killed, took, problem in found if killed == of]
        failures = [problem for _, problem in cases if problem]
        longest = max((took for took, _ in cases), default=0.0)
        yield Row(f"kill -9 of {of}", len(cases), len(cases) - len(failures), longest, failures)


def kill_and_recover(
    project: Project, stage: str, of: str, case: int, seconds: float
) -> tuple[float, str]:
    """Kill, and run `dvc repro`; returns the seconds of the latter, and what is wrong if so."""
    built, _ = undisturbed()
    moment = random.Random(case).random()
    while True:
        make_outdated(project, stage)
        if of == "dvc":
            killed = kill_dvc(project, stage, moment * (seconds + 2 * BEFORE_STAGE))
        else:
            killed = kill_stage(project, stage, moment * seconds)
        if killed:
            break
        moment *= EARLIER
    alive = wait_for_end(project)
    project.run("make", "locks", f"BIN={Path(sys.executable).parent}")  # as `make` does
    done = project.run("dvc", "repro")
    if alive:
        return done.seconds, f"{alive} outlived DVC by {ORPHAN_SECONDS:.0f} s"
    if done.code:
        return done.seconds, f"`dvc repro` fails: {done.output.strip().splitlines()[-3:]}"
    if project.lock != built.lock:
        changed = [name for name in built.lock if project.lock.get(name) != built.lock[name]]
        return done.seconds, f"other hashes in the stages {changed}"
    left = [path.name for pattern in LEFTOVERS for path in project.folder.glob(pattern)]
    left += project.run("git", "status", "--porcelain", ":!*dvc.lock").output.splitlines()
    return done.seconds, f"left behind: {left}" if left else ""


def make_outdated(project: Project, stage: str) -> None:
    """Forget one stage: its outputs, its record, its checkpoints and DVC's cache of runs."""
    for path in (".dvc/cache/runs", CHECKPOINTS):
        shutil.rmtree(project.folder / path, ignore_errors=True)
    place, _, name = stage.rpartition(":")
    lock = (project.folder / place).with_name("dvc.lock") if place else project.folder / "dvc.lock"
    values = read_yaml(lock)
    forgotten = values["stages"].pop(name)
    lock.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML, too
    for out in forgotten["outs"]:
        path = project.folder / out["path"]
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def kill_dvc(project: Project, stage: str, seconds: float) -> bool:
    """Kill DVC so many seconds after its start; returns whether it was still at work."""
    with project.start("dvc", "repro", "--single-item", stage, stdout=DEVNULL) as process:
        time.sleep(seconds)
        was_running = process.poll() is None
        process.kill()
    return was_running


def kill_stage(project: Project, stage: str, seconds: float) -> bool:
    """Kill a stage so many seconds after its start; returns whether it was still at work."""
    module = f"pipeline.{stage.rpartition(':')[2]}"
    with project.start("dvc", "repro", "--single-item", stage, stdout=DEVNULL) as process:
        while (started := find(process.pid, module)) is None and process.poll() is None:
            time.sleep(0.02)
        time.sleep(seconds)
        was_running = started is not None and started.is_running()
        if was_running:
            started.kill()
        process.wait()
    return was_running


def kill_training(project: Project, stage: str) -> None:
    """Kill DVC and the training that it has started, once there is a checkpoint."""
    with project.start("dvc", "repro", "--single-item", stage, stdout=DEVNULL) as process:
        while process.poll() is None and not list((project.folder / CHECKPOINTS).glob("*.safe*")):
            time.sleep(0.005)
        process.kill()
    wait_for_end(project)


def find(pid: int, module: str) -> psutil.Process | None:
    """The process of a stage, among those that DVC has started."""
    with suppress(psutil.Error):  # it has ended
        for process in reversed(psutil.Process(pid).children(recursive=True)):
            if process.cmdline()[-1:] == [module]:
                return process
    return None


def wait_for_end(project: Project) -> list[str]:
    """Wait until no process works in the project; returns those that do not end, and kills them."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while (alive := project.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in alive:
        process.kill()
    return [" ".join(process.cmdline()) for process in alive]
