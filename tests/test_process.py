"""The parallel map, and that no process is left behind."""

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import ROOT

from sentiformer.core import process
from sentiformer.core.errors import UserError
from sentiformer.core.process import ordered_map


def square_slowly_at_first(number: int) -> int:
    if number == 0:
        time.sleep(0.2)  # the others overtake it
    return number * number


def process_of(_: int) -> int:
    return os.getpid()


def refuse_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


class TwoArgumentsError(Exception):
    """An error that pickle cannot restore."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def raise_what_cannot_be_pickled(_: int) -> None:
    raise TwoArgumentsError("one", "two")


def refuse(number: int) -> None:
    raise UserError(f"{number} is too small; raise it")


def python(code: str) -> subprocess.Popen[str]:
    """Start code that can import the library, as the leader of a new process group."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_ordered_map_is_map(workers, count):
    expected = list(map(square_slowly_at_first, range(count)))
    assert list(ordered_map(square_slowly_at_first, range(count), workers=workers)) == expected


def test_there_are_no_more_workers_than_items(monkeypatch):
    asked, executor = [], process.ProcessPoolExecutor

    def counted(workers, *others):
        asked.append(workers)
        return executor(workers, *others)

    monkeypatch.setattr(process, "ProcessPoolExecutor", counted)
    for count in (0, 1, 3):
        assert list(ordered_map(abs, range(count), workers=1000)) == list(range(count))
    assert asked == [3], "one item needs no other process"


def test_one_worker_is_this_process_and_several_are_other_processes():
    assert set(ordered_map(process_of, range(5), workers=1)) == {os.getpid()}
    others = set(ordered_map(process_of, range(5), workers=2))
    assert os.getpid() not in others
    assert len(others) <= 2


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_read_at_most_two_a_worker_ahead(workers):
    read = 0

    def items():
        nonlocal read
        for number in range(50):
            read += 1
            yield number

    results = ordered_map(square_slowly_at_first, items(), workers=workers)
    for done, _ in enumerate(results):
        assert read <= done + 2 * workers
    assert read == 50


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_after_the_results_before_it(workers):
    results = ordered_map(refuse_seven, range(20), workers=workers)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="seven"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_iterator_is_raised(workers):
    def items():
        yield 1
        raise KeyError("item")

    with pytest.raises(KeyError, match="item"):
        list(ordered_map(square_slowly_at_first, items(), workers=workers))


def test_only_the_parent_answers_ctrl_c():
    process = python("""
        import signal, time
        from sentiformer.console.errors import one_line_errors
        from sentiformer.core.process import ordered_map

        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run in the background
        with one_line_errors():
            for number in ordered_map(abs, range(100), workers=2):
                print(number, flush=True)
                time.sleep(0.1)  # the workers wait for work meanwhile
    """)
    assert process.stdout.readline() == "0\n"
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert errors == "interrupted\n"
    assert process.returncode == 1


@pytest.mark.parametrize("command", ["exec {}", "{}; true"], ids=["directly", "by a shell"])
def test_a_process_ends_with_its_killed_parent(command):
    child = (
        "import time; from sentiformer.core.process import exit_with_parent; "
        "exit_with_parent(); time.sleep(0.7); print('alive', flush=True); time.sleep(60)"
    )
    line = command.format(shlex.join([sys.executable, "-c", child]))
    parent = python(f"""
        import subprocess, time
        subprocess.Popen({line!r}, shell=True)
        time.sleep(60)
    """)
    assert parent.stdout.readline() == "alive\n", "it lives as long as its parent"
    parent.kill()
    killed = time.monotonic()
    parent.communicate(timeout=10)  # until the grandchild has closed its output, too
    assert time.monotonic() - killed < 3


@pytest.mark.parametrize("command", ["exec {}", "{}; true"], ids=["directly", "by a shell"])
def test_a_process_whose_parent_was_killed_before_it_could_watch_it_ends(command):
    child = (
        "import os, sys; from sentiformer.core.process import exit_with_parent; "
        "print('started', flush=True); sys.stdin.read(); "  # until the parent has ended
        "exit_with_parent(); print('alive', flush=True)"
    )
    line = command.format(shlex.join([sys.executable, "-c", child]))
    parent = python(f"""
        import subprocess, time
        process = subprocess.Popen({line!r}, shell=True, stdin=subprocess.PIPE)
        time.sleep(60)
    """)
    assert parent.stdout.readline() == "started\n"
    parent.kill()
    assert parent.communicate(timeout=10)[0] == ""


def test_workers_end_with_their_killed_parent():
    parent = python("""
        import time
        from sentiformer.core.process import ordered_map
        for number in ordered_map(abs, range(100), workers=2):
            print(number, flush=True)
            time.sleep(60)
    """)
    assert parent.stdout.readline() == "0\n"
    parent.kill()
    killed = time.monotonic()
    parent.communicate(timeout=10)
    assert time.monotonic() - killed < 3


@pytest.mark.parametrize(
    ("death", "ending"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
        ("os._exit(3)", "exit code 3"),
    ],
)
def test_a_worker_that_ends_abruptly_is_one_line_with_its_signal_or_exit_code(death, ending):
    process = python(
        f"""
        import os, signal, time
        from sentiformer.console.errors import one_line_errors
        from sentiformer.core.process import ordered_map

        def die(item):
            time.sleep(0.1)  # until the next items are sent
            {death}

        with one_line_errors():
            list(ordered_map(die, [bytes(2**20)] * 20, workers=2))  # more than a pipe holds
        """
    )
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert errors == (
        f"error: a worker process ended abruptly ({ending}); memory may be short: free some, or "
        "use one process (SENTIFORMER_THREADS=1)\n"
    )
    assert process.returncode == 1


def test_a_user_error_of_a_worker_stays_a_user_error():
    with pytest.raises(UserError, match=r"^0 is too small; raise it$"):
        list(ordered_map(refuse, range(3), workers=2))


def test_an_error_that_cannot_be_pickled_keeps_its_message_and_traceback():
    with pytest.raises(RuntimeError, match=r"^TwoArgumentsError: one and two$") as caught:
        list(ordered_map(raise_what_cannot_be_pickled, range(3), workers=2))
    assert "in raise_what_cannot_be_pickled" in str(caught.value.__cause__)
