"""Lines of output for a person at a terminal."""

import errno
import os
import sys
from collections.abc import Iterable
from typing import NoReturn

from sentiformer.core.process import is_first

READER_GONE = (errno.EPIPE, errno.EIO)  # a pipe without a reader, a closed terminal


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
        flush_or_discard()


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
    flush_or_discard()
    sys.exit(0)


def flush_or_discard() -> None:
    """Flush standard output; if that fails, discard it, or Python complains at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
