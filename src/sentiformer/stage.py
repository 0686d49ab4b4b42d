"""The decorator that makes a function a stage."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from sentiformer.console.errors import one_line_errors
from sentiformer.console.output import say
from sentiformer.core.environment import settings
from sentiformer.core.errors import UserError
from sentiformer.core.process import exit_with_parent
from sentiformer.core.runtime import Runtime, load_runtime, project_root
from sentiformer.params import Params, load_params


def stage(main: Callable[[Params, Runtime], None]) -> Callable[[], None]:
    """Make a program of the `main` of a stage.

    The program reads and checks all parameters and the environment before `main` works. It
    reports errors in one line, and ends when the process that started it is killed.
    """

    @wraps(main)
    def run() -> None:
        if "DVC_STAGE" in os.environ or "RANK" in os.environ:  # started by DVC or by torchrun
            exit_with_parent()
        with one_line_errors():
            _require_history()
            if found := settings():
                say(f"note: {found} selects other kernels, which may change the bits of results")
            main(load_params(), load_runtime())

    return run


def _require_history() -> None:
    """Stop an experiment that DVC would lose.

    Raises:
        UserError: the working directory is the copy of a shallow clone, made for an experiment.
    """
    root = project_root()
    if root != Path.cwd().resolve() and (root / ".git" / "shallow").exists():
        raise UserError(
            f"{root} is a shallow clone, in which DVC loses experiments that run in a copy "
            "(--temp, --queue); run `git fetch --unshallow` first"
        )
