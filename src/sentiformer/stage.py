"""The decorator that makes a function a stage."""

import inspect
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from sentiformer.console.errors import one_line_errors
from sentiformer.console.output import say
from sentiformer.core.environment import settings
from sentiformer.core.errors import UserError
from sentiformer.core.git import is_shallow
from sentiformer.core.params import read_yaml
from sentiformer.core.process import exit_with_parent, is_first
from sentiformer.core.runtime import Runtime, load_runtime, project_root
from sentiformer.core.seal import require_sealed
from sentiformer.params import Params, load_params


def stage(main: Callable[[Params, Runtime], None]) -> Callable[[], None]:
    """Make a program of the `main` of a stage.

    The program reads and checks all parameters, the environment and the files of earlier stages
    before `main` works. It reports errors in one line, and ends when the process that started it is
    killed.
    """
    name = Path(inspect.unwrap(main).__code__.co_filename).stem

    @wraps(main)
    def run() -> None:
        if "DVC_STAGE" in os.environ or "RANK" in os.environ:  # started by DVC or by torchrun
            exit_with_parent()
        with one_line_errors():
            _require_history()
            if found := settings():
                say(f"note: {found} selects other kernels, which may change the bits of results")
            params, runtime = load_params(), load_runtime()
            if is_first():
                _require_inputs(name, params)
            main(params, runtime)

    return run


def _require_inputs(name: str, params: Params) -> None:
    """Check that the folders that stage `name` reads are those that earlier stages wrote.

    DVC compares their hashes before it starts a stage, but not where a file kept its time or the
    file in its cache is damaged, and not for a stage that is run without DVC.

    Raises:
        UserError: a file is missing or has other bytes.
    """
    stages = read_yaml(Path("dvc.yaml"))["stages"]
    made_by = {str(out): stage for stage, about in stages.items() for out in about["outs"]}
    for dep in stages.get(name, {}).get("deps", []):
        folder = dep.replace("${export.model}", params.export.model)
        if folder in made_by:
            require_sealed(Path(folder), made_by=made_by[folder])


def _require_history() -> None:
    """Stop an experiment that DVC would lose.

    Raises:
        UserError: the working directory is the copy of a shallow clone, made for an experiment.
    """
    root = project_root()
    if root != Path.cwd().resolve() and is_shallow(root):
        raise UserError(
            f"{root} is a shallow clone, in which DVC loses experiments that run in a copy "
            "(--temp, --queue); run `git fetch --unshallow` first"
        )
