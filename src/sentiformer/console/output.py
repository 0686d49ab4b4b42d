"""Lines of output for a person at a terminal."""

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm

from sentiformer.core.errors import is_disk_full, plain
from sentiformer.core.process import is_first


def say(line: str) -> None:
    """Print one line of progress at once, above the progress bar if there is one.

    Control characters, which the name of a file can have, are replaced.
    Of the processes that torchrun started, only the first prints. If nobody reads standard
    output any more, the line is discarded and the work continues.
    """
    if not is_first():
        return
    try:
        tqdm.write(plain(line))
        sys.stdout.flush()
    except OSError as error:  # EPIPE: a pipe without a reader; EIO: a closed terminal
        if is_disk_full(error):
            raise
        flush_or_discard()


def print_results(lines: Iterable[str]) -> None:
    """Print lines that are the result of a command.

    If nobody reads standard output any more, as in `sentiformer predict ... | head`, the program
    ends with exit code 0.
    """
    for line in lines:  # computing a line may fail, also with a broken pipe of its own
        try:
            print(line, flush=True)
        except BrokenPipeError:
            flush_or_discard()
            sys.exit(0)


def note(line: str, *, end: str = "\n") -> None:
    """Print a line about the results on standard error, so that only results are in the output."""
    try:
        print(plain(line), end=end, file=sys.stderr, flush=True)
    except OSError:  # nobody reads it any more
        _discard(sys.stderr)


def colored(text: str, color: int) -> str:
    """The text in a color of the terminal, by its ANSI code; elsewhere, the text as it is."""
    return f"\033[{color}m{text}\033[0m" if has_colors() else text


def has_colors() -> bool:
    """Whether standard output is a terminal with colors.

    The environment variable `NO_COLOR` switches colors off (https://no-color.org).
    """
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not is_plain


def flush_or_discard() -> None:
    """Flush standard output; if that fails, discard it, or Python complains at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    """Discard what the stream still holds, or Python complains at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
