"""Mistakes of users, limits of the machine, and how both are put into words."""

import errno
import os
import re
from collections.abc import Sequence

# What commands a terminal or turns its line around; tab and line break stay.
COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ICONV = "iconv -f ENCODING -t utf-8"
ERROR_CHARACTERS = 10_000  # of a mistake that are shown; it may name what a file holds
SHOWN_NAMES = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "malloc of size",
    "Storage size calculation overflowed",
    "array is too big",
    "failed to map segment",  # of a library, by the loader
    "terminated abruptly",  # a worker process, by the system
)


class UserError(Exception):
    """A mistake that the user can mend; the text names the thing, its value and the fix."""


def plain(text: str) -> str:
    """The text with `\ufffd` for signs that command a terminal, or turn its line around."""
    return COMMANDS.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The text as one plain line, without the middle of a very long one."""
    line, half = plain(" ".join(text.splitlines())), ERROR_CHARACTERS // 2
    return line if len(line) <= ERROR_CHARACTERS else f"{line[:half]} … {line[-half:]}"


def listed(names: Sequence[str]) -> str:
    """Some names, or the first of many and how many others there are."""
    shown = ", ".join(names[:SHOWN_NAMES])
    return shown + (f" and {len(names) - SHOWN_NAMES:,} others" if len(names) > SHOWN_NAMES else "")


def first_line(error: object) -> str:
    """The first line of what an error says, or else its kind."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of Python's, Arrow's or safetensors' says that no space is left."""
    full = isinstance(error, OSError) and error.errno in DISK_FULL
    return full or any(os.strerror(code) in str(error) for code in DISK_FULL)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python's, NumPy's or torch's says that no memory is left."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
