"""Processes: how many may run, in what order their results come, and that none is left behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
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

if TYPE_CHECKING:
    import psutil

Item = TypeVar("Item")
Result = TypeVar("Result")
_mapping: list[Callable[[Any], Any]] = []  # in a worker: the function that it applies


def is_first() -> bool:
    """Whether of the processes that torchrun started this is the one that shows and writes."""
    return os.environ.get("RANK", "0") == "0"


def available_cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def output_of(*command: str) -> str:
    """What a command prints; nothing where there is no such command, or where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def exit_with_parent() -> None:
    """End this process within a second of its parent's end, so that a kill leaves no orphan.

    A shell that only waits for its one command (`sh -c`, through which DVC starts a stage where
    the shell does not give its place to the command) counts as one with its own parent.
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
        finally:  # also where one of them has ended meanwhile
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

    At most two items a worker are read ahead, so that the items never fill the memory. Processes
    are forked: what the function holds, such as a model, they share with this one.
    """
    if workers == 1:
        yield from map(function, items)
        return
    items = iter(items)
    first = list(islice(items, workers))
    workers = max(1, len(first))  # all are forked at once, also those that nothing is left for
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, fork, _begin_mapping, (function,)) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in chain(first, items):
                with _interrupts_deferred():  # a worker just forked would not know how to answer
                    pending.append(pool.submit(_apply, item))
                if len(pending) >= 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            # An early Python 3.11 writes on to workers that are lost, and never ends (gh-94777).
            if queue := getattr(pool, "_call_queue", None):
                with suppress(OSError):  # a later one may just be closing it
                    queue._reader.close()
            raise


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends, and never reach the processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_mapping(function: Callable[[Any], Any]) -> None:
    _begin_worker()
    gc.freeze()  # what this process shares with its parent is never gone through, nor copied
    _mapping.append(function)


def _apply(item: Any) -> Any:
    return _mapping[0](item)


def start_worker(function: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
    """Start a process, of which nothing is left when this one ends, for one call of a function.

    It begins with a fresh interpreter: torch's threads do not outlive a fork.
    """
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_work, args=(function, arguments), daemon=True)
    with _interrupts_deferred():
        process.start()
    return process


def _work(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    _begin_worker()
    function(*arguments)


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; one answers
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()  # returns at once where the parent has ended before
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
