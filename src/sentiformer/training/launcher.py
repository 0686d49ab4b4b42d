"""Stages in processes that torchrun, the launcher of PyTorch, starts."""

import os
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from tempfile import TemporaryDirectory
from typing import TypeAlias, TypeVar

from sentiformer.core.errors import UserError
from sentiformer.core.runtime import Runtime

LOG_OPTIONS = ("-r", "-t", "--redirects", "--tee", "--log")  # torchrun writes to a folder
Parameters = TypeVar("Parameters")
Main: TypeAlias = Callable[[Parameters, Runtime], None]


def by_torchrun(main: Main[Parameters]) -> Main[Parameters]:
    """Run the `main` of a stage under torchrun if `SENTIFORMER_TORCHRUN` has arguments for it.

    This process then starts the others and waits until they end.

    Raises:
        UserError: torchrun refuses the arguments, or a process failed too often.
    """

    @wraps(main)
    def run(params: Parameters, runtime: Runtime) -> None:
        if not runtime.torchrun or "TORCHELASTIC_RUN_ID" in os.environ:
            main(params, runtime)
        else:
            spec = sys.modules["__main__"].__spec__
            assert spec is not None  # a stage is run as `python -m`
            _launch(spec.name, runtime.torchrun)

    return run


def _launch(module: str, arguments: str) -> None:
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # torchrun's loggers read it when imported
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    try:
        words = shlex.split(arguments)
        with TemporaryDirectory() as unused:  # torchrun makes folders for logs in any case
            wants_logs = any(word.startswith(LOG_OPTIONS) for word in words)
            main([*([] if wants_logs else ["--log-dir", unused]), *words, "-m", module])
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        ended = sorted(error.failures.items())
        # torchrun ends the remaining processes by SIGTERM; a user's mistake gives exit code 1.
        killed_ranks = [f"{rank} ({end.signal_name()})" for rank, end in ended if end.exitcode < 0]
        if killed := ", ".join(name for name in killed_ranks if "SIGTERM" not in name):
            raise UserError(f"process {killed} of {module} was killed; is memory short?") from None
        ranks = ", ".join(str(rank) for rank, _ in ended)
        raise UserError(
            f"process {ranks} of {module} failed; see its error message above"
        ) from None
    except (SystemExit, ValueError) as error:
        raise UserError(
            f"SENTIFORMER_TORCHRUN is {arguments!r}, which torchrun refuses ({error}); "
            "`torchrun --help` lists its options"
        ) from None
