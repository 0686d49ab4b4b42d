"""Errors of the user, limits of the machine, and how messages are written."""

import errno
import os
import re
from collections.abc import Sequence

# Control characters, except tab and line break, and characters that reverse the text direction.
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ICONV = "iconv -f ENCODING -t utf-8"
MESSAGE_CHARACTERS = 10_000  # a message may quote the contents of a file
SHOWN_NAMES = 20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # items; the words of NumPy
OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "malloc of size",
    "Storage size calculation overflowed",
    "array is too big",
    "failed to map segment",  # from the loader of shared libraries
)


class UserError(Exception):
    """An error that the user can fix; the text names what is wrong, its value and the fix."""


def plain(text: str) -> str:
    """The text with each control character replaced by `\ufffd`, so that a terminal stays safe."""
    return CONTROL_CHARACTERS.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The text as one line without control characters; the middle of a long one is left out."""
    line, half = plain(" ".join(text.splitlines())), MESSAGE_CHARACTERS // 2
    return line if len(line) <= MESSAGE_CHARACTERS else f"{line[:half]} … {line[-half:]}"


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """Names in one line; of many names, the first ones and the number of the others."""
    shown = separator.join(names[:SHOWN_NAMES])
    return shown + (f" and {len(names) - SHOWN_NAMES:,} others" if len(names) > SHOWN_NAMES else "")


def first_line(error: object) -> str:
    """The first line of an error's message, or the name of its class if there is none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def missing_package(error: ModuleNotFoundError) -> UserError:
    """The error for a package that is not among those that prediction needs."""
    return UserError(
        f"the Python package {error.name} is not installed; in the project's root, `make install` "
        "or `pip install '.[pipeline]'` installs all packages"
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of Python, NumPy, Arrow or safetensors means no disk space is left."""
    full = isinstance(error, OSError) and error.errno in DISK_FULL
    words = any(os.strerror(number) in str(error) for number in DISK_FULL)
    return full or words or SHORT_WRITE.search(str(error)) is not None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, NumPy or torch means that no memory is left."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
