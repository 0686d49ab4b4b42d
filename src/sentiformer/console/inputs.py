"""Texts that a person types, or that standard input brings."""

import sys
from collections.abc import Iterator
from pathlib import Path

from sentiformer.console.output import note
from sentiformer.core.errors import ICONV, UserError

STANDARD_INPUT = ("-", "/dev/stdin")  # its names on a command line


def is_standard_input(name: str | Path) -> bool:
    """Whether the argument of a command means standard input."""
    return str(name) in STANDARD_INPUT


def lines_of_standard_input() -> Iterator[str]:
    """Yield the lines of standard input, which must be UTF-8; at a terminal, ask for each.

    Raises:
        UserError: a line is not UTF-8.
    """
    at_terminal = sys.stdin.isatty()
    if at_terminal:
        note("type a text and press Enter; Ctrl-D ends")
    for number, line in enumerate(_prompted() if at_terminal else sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"standard input, line {number}: byte {error.object[error.start]:#04x} is not "
                f"UTF-8; convert the input, for instance with `{ICONV}`"
            ) from None


def _prompted() -> Iterator[bytes]:
    """Yield typed lines, with a prompt before each; Ctrl-D ends them."""
    lines = iter(sys.stdin.buffer)
    while True:
        note("> ", end="")
        line = next(lines, None)
        if line is None:
            note("")
            return
        yield line
