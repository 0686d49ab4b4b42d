"""The handler of Ctrl-C; it imports little, so that it can be installed first."""

import os
import signal
import traceback
from types import FrameType


def install_interrupt_handler() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, except during an import, where it ends the process.

    An import can swallow the exception and keep a lock of Python's import system, so that the
    process hangs later.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    for caller, _ in traceback.walk_stack(frame):
        if caller.f_code.co_filename.startswith("<frozen importlib"):
            if "RANK" not in os.environ:
                os.write(2, b"interrupted\n")
            os._exit(1)
    raise KeyboardInterrupt
