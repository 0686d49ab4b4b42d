"""Output for a person at a terminal: results, progress, and one line for each known error."""

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
from typing import NoReturn, Self, TypeVar

from sentiformer.core.errors import UserError, is_disk_full, is_out_of_memory, one_line
from sentiformer.core.process import is_first

Item = TypeVar("Item")
LOG_SECONDS = 10.0  # between two lines of progress where there is no terminal
READER_GONE = (errno.EPIPE, errno.EIO)  # a pipe without a reader, a closed terminal
WRONG_PATH = (  # errors of the system for a path that the user chose
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
    """Print one line of progress at once, above the progress bar if there is one.

    Of the processes that torchrun started, only the first prints. If nobody reads standard
    output any more, the line is lost and the work goes on.
    """
    from tqdm import tqdm

    if not is_first():
        return
    try:
        tqdm.write(line)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in READER_GONE:
            raise
        _flush_or_discard()


def print_results(lines: Iterable[str]) -> None:
    """Print lines that are the result of a command.

    If nobody reads standard output any more, as in `sentiformer predict ... | head`, the program
    ends with exit code 0.
    """
    for line in lines:  # computing a line may fail, also with a broken pipe of its own
        try:
            print(line)
        except BrokenPipeError:
            _exit_without_reader()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _exit_without_reader()


def _exit_without_reader() -> NoReturn:
    _flush_or_discard()
    sys.exit(0)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn mistakes of the user and limits of the machine into one line and exit code 1.

    Any other exception is a defect of the program and keeps its traceback.
    """
    _make_streams_safe()
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(1 if "RANK" in os.environ else "interrupted")  # torchrun's parent prints it once
    except Exception as error:
        message = _known_problem(error)
        if message is None:
            raise
        _flush_or_discard()
        sys.exit(f"error: {message}")


def _known_problem(error: Exception) -> str | None:
    """The line for an error that the user can mend; None for any other."""
    if isinstance(error, UserError):
        return one_line(str(error))
    path = getattr(error, "filename", None)
    if is_disk_full(error):
        at = f" at {path}" if path else ""
        return f"the disk is full{at}; free some space and run the same command again"
    if is_out_of_memory(error):
        return (
            "out of memory; free some, use one process (SENTIFORMER_THREADS=1), or lower the sizes "
            "in params.yaml, such as model.max_len and train.batch_size"
        )
    if isinstance(error, OSError) and error.errno in WRONG_PATH and path:
        return f"{path}: {os.strerror(error.errno).lower()}; check the path and its permissions"
    return None


def answer_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, except during an import, where it ends the process.

    An import can swallow the exception and keep a lock of Python's import system, so that the
    process hangs later. This changes only stages and the command line, not, for instance, tests.
    """
    program = Path(sys.argv[0]).name  # "-m" while `python -m pipeline.train` looks for its module
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


def _make_streams_safe() -> None:
    """Replace closed streams, and escape characters that a stream's encoding lacks."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_or_discard() -> None:
    """Flush standard output; if that fails, discard it, or Python complains at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Bar:
    """Progress: a bar on a terminal, and elsewhere a line every ten seconds.

    Args:
        what: name of the work.
        total: amount of work.
        done: amount that is done already.
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
        """Add an amount of finished work, and show a note such as the loss."""
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
