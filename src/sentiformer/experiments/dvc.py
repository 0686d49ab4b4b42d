"""DVC in a process of its own, and its experiments: run, read, listed and removed.

Each experiment runs in a copy of the project, by its own DVC process. So it uses DVC's cache,
its stages log to MLflow as usual, and the project's folder stays as it is.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sentiformer.core.errors import UserError, first_line
from sentiformer.core.git import is_shallow, last_commit
from sentiformer.evaluation.revision import read_revision

DVC = (  # a process that ends with this one
    "import sys; from sentiformer.core.process import exit_with_parent; exit_with_parent(); "
    "from dvc.cli import main; sys.exit(main(sys.argv[1:]))"
)
WAIT_SECONDS = 30  # for the end of an experiment after Ctrl-C
FIXES = {  # of errors of DVC that do not say what to do
    "must be configured": "give Git an identity: `git config user.name NAME` and `git config "
    "user.email ADDRESS`",
    "'ascii' codec can't encode": "DVC cannot run experiments if the path of its cache has letters "
    "other than English ones; move it, or type `dvc cache dir --local FOLDER`, then `make`",
    "failed to load directory": "dvc.lock names files that DVC's cache lacks; run `dvc repro`, "
    "then the same command",
}
NOTHING: Mapping[str, str] = MappingProxyType({})
RUNNING, ERRORS = "Running stage '", ("error: ", "ERROR: ")


class ExperimentError(UserError):
    """An experiment failed; `stage` is the one that failed, empty if it was DVC itself."""

    def __init__(self, reason: str, stage: str) -> None:
        super().__init__(reason)
        self.stage = stage


def require_commit() -> str:
    """The id of the last commit, to which DVC attaches experiments.

    Raises:
        UserError: there is none, it lacks its history, or this is not the root of a DVC project.
    """
    if not Path("dvc.yaml").exists():
        raise UserError("dvc.yaml is missing; run from the project's root")
    if not (commit := last_commit()):
        raise UserError(
            "DVC's experiments need a Git commit of this folder, and there is none; make one: `git "
            "init && git add --all && git commit --message first`, then `make`"
        )
    if is_shallow(Path()):
        raise UserError(
            "this is a shallow clone, in which DVC loses experiments that run in a copy; run `git "
            "fetch --unshallow`, then the same command"
        )
    return commit


def run(name: str, values: Mapping[str, Any], stage: str, show: Callable[[str], None]) -> None:
    """Run the pipeline up to a stage with other values of parameters, as an experiment.

    `show` is called with each line of output. Ctrl-C also ends the experiment.

    Raises:
        ExperimentError: a stage or DVC failed.
    """
    command = ["exp", "run", "--temp", "--name", name]
    for key, value in values.items():
        command += ["--set-param", f"{key}={as_override(value)}"]
    follow([*command, stage], show)


def follow(
    arguments: Sequence[str],
    show: Callable[[str], None],
    *,
    folder: Path = Path(),
    variables: Mapping[str, str] = NOTHING,
) -> None:
    """Run DVC in a folder, with environment variables in addition; Ctrl-C also ends it.

    `show` is called with each line of output.

    Raises:
        ExperimentError: a stage or DVC failed.
    """
    lines = []
    with _process(arguments, folder, variables) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                lines.append(line.strip())
                show(lines[-1])
        except BaseException:
            os.killpg(running.pid, signal.SIGINT)
            try:
                running.wait(WAIT_SECONDS)
            finally:
                running.kill()
            raise
    if running.returncode:
        raise ExperimentError(*_reason(lines))


def _process(
    arguments: Sequence[str],
    folder: Path = Path(),
    variables: Mapping[str, str] = NOTHING,
) -> subprocess.Popen[str]:
    """Start DVC so that a Ctrl-C at the terminal reaches it through this process alone."""
    python = Path(sys.executable).parent  # of the `python` that the stages run
    path = f"{python}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.Popen(
        [sys.executable, "-c", DVC, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        start_new_session=True,
    )


def _reason(lines: Sequence[str]) -> tuple[str, str]:
    """Why an experiment failed, from its output, and the stage that failed."""
    stages = [line.removeprefix(RUNNING).rstrip("':") for line in lines if line.startswith(RUNNING)]
    for start in ERRORS:
        if found := [line.removeprefix(start) for line in lines if line.startswith(start)]:
            fix = next((f"; {fix}" for part, fix in FIXES.items() if part in found[-1]), "")
            return found[-1] + fix, stages[-1] if stages and start == ERRORS[0] else ""
    return next((line for line in reversed(lines) if line), "it ended without a message"), ""


def as_override(value: Any) -> str:
    """A value as `dvc exp run --set-param` reads it, which is the grammar of Hydra."""
    if isinstance(value, str):
        # A backslash is an escape only before a quotation mark.
        escaped = re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + (r"\'" if m[2] else ""), value)
        return f"'{escaped}'"
    return json.dumps(value)


def read(name: str, path: str) -> dict[str, Any]:
    """The JSON object in a file of an experiment.

    Raises:
        UserError: DVC's cache does not have it.
    """
    try:
        found: dict[str, Any] = json.loads(read_revision(name, path))
        return found
    except Exception as error:  # DVC and its parts raise errors of many classes
        raise UserError(
            f"{path} of the experiment {name} cannot be read ({first_line(error)}); `dvc exp "
            f"remove {name}` and the same command make it again"
        ) from None


def names() -> list[str]:
    """The names of all experiments."""
    return _output("exp", "list", "--all-commits", "--name-only").split()


def remove(*removed: str) -> None:
    """Remove experiments; what they wrote stays in DVC's cache."""
    if removed:
        _output("exp", "remove", *removed)


def _output(*arguments: str) -> str:
    with _process(arguments) as running:
        output, _ = running.communicate()
    if running.returncode:
        reason, _ = _reason(output.splitlines())
        raise UserError(f"dvc {' '.join(arguments[:2])} fails: {reason}")
    return output
