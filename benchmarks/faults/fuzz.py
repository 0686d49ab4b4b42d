"""Generated parameters, texts and data files: one line or a correct result, never a traceback.

    python -m benchmarks.faults.fuzz data 17   # runs one case, which a failure names

A case is made from its number alone.
"""

import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "src")) if path not in sys.path]

from benchmarks.faults import Row
from sentiformer.console.progress import progress
from sentiformer.core.errors import CONTROL_CHARACTERS, UserError, one_line

SECONDS = 30  # a case that takes longer hangs
SHARE_OF_DATA = 10  # one data file for so many parameter files and texts


class Kind(NamedTuple):
    """A kind of cases: `run` tries one, and says what is wrong, or nothing."""

    name: str
    run: Callable[[int], str]


class Hang(BaseException):
    """A case that takes too long; no handler of exceptions stops it."""


def check(folder: Path, count: int) -> Iterator[Row]:
    """Try `count` parameter files and texts, and a tenth as many data files."""
    for name, cases in (("params", count), ("texts", count), ("data", count // SHARE_OF_DATA)):
        yield row_of(kind(name, folder), cases)


def kind(name: str, folder: Path) -> Kind:
    """The cases of a name, which may write to a folder."""
    (folder / name).mkdir(parents=True)
    module = import_module(f"benchmarks.faults.fuzz_{name}")
    with redirect_stdout(io.StringIO()):  # a tiny model is trained
        return Kind(name, module.cases(folder / name))


def row_of(kind: Kind, count: int) -> Row:
    """Try the first cases of a kind."""
    held, longest, failures = 0, 0.0, []
    for number in progress(range(count), total=count, what=kind.name):
        start = time.perf_counter()
        problem = result_of(kind, number)
        longest = max(longest, time.perf_counter() - start)
        held += not problem
        if problem:
            failures.append(f"python -m benchmarks.faults.fuzz {kind.name} {number}: {problem}")
    return Row(f"generated {kind.name}", count, held, longest, failures)


def result_of(kind: Kind, number: int) -> str:
    """What is wrong with the outcome of a case; empty if nothing is."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    try:
        with _time_limit(), redirect_stdout(shown), redirect_stderr(shown):
            problem = kind.run(number)
    except UserError as error:
        line = one_line(str(error))
        problem = "" if line.strip() and "\n" not in line else f"its error is {line!r}"
    except Hang:
        problem = f"it takes more than {SECONDS} s"
    except Exception as error:  # whatever it is: only a UserError is a line for the user
        problem = one_line(f"{type(error).__name__}: {error}")[:300]
    shown.seek(0)
    if not problem and (found := CONTROL_CHARACTERS.search(shown.read())):
        problem = f"it prints the control character {found[0]!r}"
    return problem


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> None:
    """Run one case, with its traceback if it fails."""
    name, number = sys.argv[1:]
    with TemporaryDirectory() as folder:
        print(kind(name, Path(folder)).run(int(number)) or "it holds")


if __name__ == "__main__":
    main()
