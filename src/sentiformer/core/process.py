"""Processes: a parallel map with ordered results, and no orphans."""

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from sentiformer.core.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
_mapped: list[Callable[[Any], Any]] = []  # in a worker: the function of `ordered_map`


def is_first() -> bool:
    """Whether this is the process of torchrun that prints and writes, or the only process."""
    return os.environ.get("RANK", "0") == "0"


def exit_with_parent() -> None:
    """End this process within a second of its parent's end, so that a kill leaves no orphan.

    DVC may start a stage through a shell that only waits for it. Then DVC is watched as well. If
    the parent was killed before this call, this process now belongs to one of another session.
    """
    import psutil

    watched = [psutil.Process()]
    parent = watched[0].parent()  # None for the first process of a container
    if parent is not None and parent.name().endswith("sh"):
        watched.append(parent)
    parents = [process.ppid() for process in watched]
    try:
        starts_session = os.getsid(0) == os.getpid()  # as torchrun and `start_new_session` do
        is_orphan = not starts_session and os.getsid(parents[-1]) != os.getsid(0)
    except ProcessLookupError:  # it has just ended
        is_orphan = True
    if is_orphan:
        os._exit(1)

    def watch() -> None:
        try:
            while [process.ppid() for process in watched] == parents:
                time.sleep(0.5)
        finally:  # `ppid` raises if the shell has ended
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Apply `function` in `workers` processes; yield results in the order of the items.

    At most two items per worker are read ahead, so that memory stays bounded. The processes are
    forked, so that they share the function's data, such as a model, with this one. For one worker
    or item there are no other processes.

    Raises:
        UserError: a worker process ended abruptly.
        Exception: what `function` or the iterator of the items raises.
    """
    items = iter(items)
    first = list(islice(items, workers))  # the pool forks all workers at once, even without items
    items = chain(first, items)
    if len(first) <= 1:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
    with _worker_pool(len(first), function) as pool:
        for item in items:
            with _interrupts_blocked():  # the forked workers inherit this
                pending.append(pool.submit(_apply, item))
            if len(pending) >= 2 * len(first):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextmanager
def _worker_pool(workers: int, function: Callable[[Any], Any]) -> Iterator[ProcessPoolExecutor]:
    fork, processes = multiprocessing.get_context("fork"), list[BaseProcess]()
    try:
        with ProcessPoolExecutor(workers, fork, _begin_worker, (function,)) as pool:
            try:
                yield pool
            except BrokenProcessPool:
                processes += pool._processes.values()
                if sys.version_info < (
                    3,
                    11,
                    5,
                ):  # it never stops writing to lost workers (gh-94777)
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
