"""What every stage does around its work."""

import os
from collections.abc import Callable
from functools import wraps

from sentiformer.console import one_line_errors
from sentiformer.core.runtime import Runtime, load_runtime
from sentiformer.params import Params, load_params


def stage(main: Callable[[Params, Runtime], None]) -> Callable[[], None]:
    """Make the `main` of a stage a program, which is given all parameters and this machine.

    It reports mistakes in one line, and ends when the process that started it is killed.
    """

    @wraps(main)
    def run() -> None:
        from sentiformer.core.process import exit_with_parent  # slow; Ctrl-C is answered before

        if "DVC_STAGE" in os.environ or "RANK" in os.environ:  # started by DVC or by torchrun
            exit_with_parent()
        with one_line_errors():
            main(load_params(), load_runtime())

    return run
