"""Processes: number of cores, a parallel map with ordered results, and no orphans."""

import gc
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sentiformer.core.errors import UserError

if TYPE_CHECKING:
    import psutil

Item = TypeVar("Item")
Result = TypeVar("Result")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
_mapped: list[Callable[[Any], Any]] = []  # in a worker: the function of `ordered_map`


def is_first() -> bool:
    """Whether this is the process of torchrun that prints and writes, or the only process."""
    return os.environ.get("RANK", "0") == "0"


def available_cores() -> int:
    """The number of cores that this process may use: by affinity, and by quotas of cgroups."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min([cores, *_cgroup_quotas()])))


def _cgroup_quotas() -> Iterator[float]:
    """The quotas, in cores, of this process's control groups and of all groups above them.

    Source: the Linux kernel's documentation of `cpu.max` (cgroup v2) and `cpu.cfs_quota_us` (v1).
    """
    lines = OWN_CGROUPS.read_text().splitlines() if OWN_CGROUPS.exists() else []
    for _, controllers, name in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = CGROUPS / ("cpu" if controllers else "") / name.lstrip("/")
        for folder in (group, *group.parents):  # in a container, only an upper one may exist
            for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
                with suppress(OSError, ValueError):  # no such file, or "max" instead of a number
                    files = [(folder / name).read_text() for name in names]
                    quota, period = map(int, " ".join(files).split())
                    if quota > 0:  # -1: no quota
                        yield quota / period


def output_of(*command: str) -> str:
    """The standard output of a command; empty if there is no such command or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def exit_with_parent() -> None:
    """End this process within a second of its parent's end, so that a kill leaves no orphan.

    DVC may start a stage through a shell that only waits for it (`sh -c`). Then the shell's own
    parent is watched as well.
    """
    import psutil

    ancestors = [psutil.Process()]
    while (parent := ancestors[-1].parent()) is not None:
        ancestors.append(parent)
        if not _is_waiting_shell(parent):
            break
    expected = [process.pid for process in ancestors[1:]]

    def watch() -> None:
        try:
            while [process.ppid() for process in ancestors[: len(expected)]] == expected:
                time.sleep(0.5)
        finally:  # `ppid` raises if an ancestor has ended meanwhile
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_waiting_shell(process: "psutil.Process") -> bool:
    import psutil

    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return len(command) == 3 and command[1] == "-c" and Path(command[0]).name.endswith("sh")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Apply `function` in `workers` processes; yield results in the order of the items.

    At most two items a worker are read ahead, so that memory stays bounded. The processes are
    forked, so that they share the function's data, such as a model, with this one.

    Raises:
        UserError: a worker process ended abruptly.
        Exception: what `function` or the iterator of the items raises.
    """
    if workers == 1:
        yield from map(function, items)
        return
    items = iter(items)
    first = list(islice(items, workers))
    workers = max(1, len(first))  # the pool forks all workers at once, also those without an item
    pending: deque[Future[Result]] = deque()
    with _worker_pool(workers, function) as pool:
        for item in chain(first, items):
            with _interrupts_blocked():  # the forked workers inherit this
                pending.append(pool.submit(_apply, item))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _worker_pool(workers: int, function: Callable[[Any], Any]) -> Iterator[ProcessPoolExecutor]:
    """Forked workers that know a function.

    Raises:
        UserError: a worker process ended abruptly.
    """
    fork, processes = multiprocessing.get_context("fork"), list[BaseProcess]()
    try:
        with ProcessPoolExecutor(workers, fork, _begin_worker, (function,)) as pool:
            try:
                yield pool
            except BrokenProcessPool:
                processes += pool._processes.values()
                if sys.version_info < (3, 11, 5):  # it writes to lost workers for ever (gh-94777)
                    pool._call_queue._reader.close()  # type: ignore[attr-defined]
                raise
    except BrokenProcessPool:
        raise _worker_lost(processes) from None


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delay Ctrl-C until the block ends; processes that start meanwhile never receive it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(function: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent answers
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()  # returns at once if the parent has ended already
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    gc.freeze()  # the garbage collector would copy the memory that is shared with the parent
    _mapped.append(function)


def _apply(item: Any) -> Any:
    """Call the function; an error that cannot be pickled is replaced by one with its traceback."""
    try:
        return _mapped[0](item)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        raise


def _worker_lost(processes: list[BaseProcess]) -> UserError:
    """The error for a worker that ended abruptly; the pool ends the other workers by SIGTERM."""
    codes = {process.exitcode or 0 for process in processes}
    codes = codes - {0, -signal.SIGTERM} or codes
    endings = (signal.Signals(-code).name if code < 0 else f"exit code {code}" for code in codes)
    return UserError(
        f"a worker process ended abruptly ({', '.join(sorted(endings))}); memory may be short: "
        "free some, or use one process (SENTIFORMER_THREADS=1)"
    )
