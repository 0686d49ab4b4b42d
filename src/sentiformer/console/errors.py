"""One line for each known error."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sentiformer.console.output import flush_or_discard
from sentiformer.core.errors import (
    UserError,
    is_disk_full,
    is_out_of_memory,
    missing_package,
    one_line,
)

NO_TEMPORARY_FOLDER = "No usable temporary directory found in"  # the words of `tempfile`


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn mistakes of the user and limits of the machine into one line and exit code 1.

    Any other exception is a defect of the program and keeps its traceback. Closed streams are
    replaced, and output escapes characters that its encoding lacks.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(1 if "RANK" in os.environ else "interrupted")  # torchrun's parent prints it once
    except Exception as error:
        message = _known_problem(error)
        if message is None:
            raise
        flush_or_discard()
        sys.exit(f"error: {message}")


def _known_problem(error: Exception) -> str | None:
    """The line for an error that the user can fix; None for any other error."""
    if isinstance(error, UserError):
        return one_line(str(error))
    if isinstance(error, ModuleNotFoundError) and "sentiformer" not in str(error.name):
        return str(missing_package(error))
    path = getattr(error, "filename", None)
    if is_disk_full(error):
        at = f" at {path}" if path else ""
        return f"the disk is full{at}; free some space and run the same command again"
    if is_out_of_memory(error):
        return (
            "out of memory; free some, use one process (SENTIFORMER_THREADS=1), or lower the sizes "
            "in params.yaml, such as model.max_len, train.batch_size and finetune.max_len"
        )
    if NO_TEMPORARY_FOLDER in str(error):
        places = str(error).partition(NO_TEMPORARY_FOLDER)[2].strip()
        return (
            f"no temporary folder can be written, of {places}; free some space, or set TMPDIR to a "
            "folder that can"
        )
    # Readers say which stage makes a missing file; another missing file is a defect, except in
    # /proc, where no file can be made.
    defect = None if str(path).startswith("/proc/") else errno.ENOENT
    if isinstance(error, OSError) and path and error.errno not in (None, defect):
        return f"{path}: {os.strerror(error.errno).lower()}; check the path and its permissions"
    return None
