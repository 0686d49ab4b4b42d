"""What a person at the terminal sees: progress, results, and mistakes in one line each."""

import errno
import io
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self, TypeVar

from sentiformer.core.errors import UserError, is_disk_full, is_out_of_memory, one_line
from sentiformer.core.process import is_first

Item = TypeVar("Item")
LOG_SECONDS = 10.0  # between two lines of progress when nobody watches
NOBODY_THERE = (errno.EPIPE, errno.EIO)  # a pipe's reader, or a terminal, has gone
WRONG_PATH = (  # what a path that the user chose can be to the system
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def say(line: str) -> None:
    """Print one line at once, above a progress bar if there is one.

    Of the processes that torchrun started, the first alone speaks. No work ends because nobody
    reads on.
    """
    from tqdm import tqdm

    if not is_first():
        return
    try:
        tqdm.write(line)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in NOBODY_THERE:
            raise
        _give_up_output()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn the user's mistakes and the machine's limits into one line and exit code 1.

    Anything else is a defect of the program and keeps its traceback.
    """
    _steady_streams()
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {one_line(str(error))}")
    except BrokenPipeError:
        _give_up_output()  # the reader, such as `head`, has what it wants
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(1 if "RANK" in os.environ else "interrupted")  # what started torchrun says it
    except Exception as error:
        if is_disk_full(error):
            _give_up_output()
            place = getattr(error, "filename", None)
            at = f" at {place}" if place else ""
            sys.exit(f"error: the disk is full{at}; free some space and run the same command again")
        if is_out_of_memory(error):
            sys.exit(
                "error: out of memory; free some, let one process work (SENTIFORMER_THREADS=1), or "
                "lower the sizes in params.yaml, such as model.max_len and train.batch_size"
            )
        if isinstance(error, OSError) and error.errno in WRONG_PATH and error.filename:
            reason = os.strerror(error.errno).lower()
            sys.exit(f"error: {error.filename}: {reason}; check the path and its permissions")
        raise


def answer_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, but end the process at once where it imports a module.

    Raised there it could be lost, and leave a lock of Python's behind that nothing ever gives back.
    In a process that is neither a stage nor the command line, such as a test's, nothing changes.
    """
    program = Path(sys.argv[0]).name  # "-m" while `python -m pipeline.train` seeks its module
    ours = program in ("-m", "sentiformer")
    if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if "RANK" not in os.environ:
                os.write(2, b"interrupted\n")
            os._exit(1)
        frame = frame.f_back
    raise KeyboardInterrupt


def _steady_streams() -> None:
    """Let nothing fail for what it prints: a stream may be closed, or know no such character."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Where standard output takes no more, keep Python from complaining of that when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Bar:
    """Progress: a bar on a terminal, and a plain line every ten seconds elsewhere.

    Args:
        what: the work, in a few words.
        total: how much there is of it.
        done: how much of it is done already.
    """

    def __init__(self, what: str, *, total: int, done: int = 0) -> None:
        self._what, self._total, self._done = what, total, done
        self._shown = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and is_first():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=what, total=total, initial=done, leave=False, dynamic_ncols=True, unit=""
            )

    def advance(self, amount: int, note: str = "") -> None:
        """Show that more is done, and a note on how it goes."""
        self._done += amount
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(amount)
        elif time.monotonic() - self._shown > LOG_SECONDS:
            self._shown = time.monotonic()
            say(f"{self._what}: {self._done:,} of {self._total:,}" + (f", {note}" if note else ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def progress(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Yield the items and show how many are done."""
    with Bar(what, total=total) as bar:
        for item in items:
            yield item
            bar.advance(1)
