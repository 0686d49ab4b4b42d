"""Results in order from several processes, and that none of them is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import ROOT

from sentiformer.core import process
from sentiformer.core.process import available_cores, ordered_map, output_of


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


def python(code: str) -> subprocess.Popen[str]:
    """Runs code that can import the library, as the head of a process group of its own."""
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


def test_no_process_is_started_for_which_there_is_no_item(monkeypatch):
    asked, executor = [], process.ProcessPoolExecutor

    def counted(workers, *others):
        asked.append(workers)
        return executor(workers, *others)

    monkeypatch.setattr(process, "ProcessPoolExecutor", counted)
    for count in (0, 1, 3):
        assert list(ordered_map(abs, range(count), workers=1000)) == list(range(count))
    assert asked == [1, 1, 3]


def test_one_worker_is_this_process_and_several_are_others():
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
def test_an_error_of_the_items_passes_through(workers):
    def items():
        yield 1
        raise KeyError("item")

    with pytest.raises(KeyError, match="item"):
        list(ordered_map(square_slowly_at_first, items(), workers=workers))


def test_ctrl_c_is_answered_by_the_parent_alone():
    process = python("""
        import signal, time
        from sentiformer.console import one_line_errors
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


def test_a_process_ends_with_its_killed_parent():
    child = (
        "import time; from sentiformer.core.process import exit_with_parent; "
        "exit_with_parent(); time.sleep(0.7); print('alive', flush=True); time.sleep(60)"
    )
    parent = python(f"""
        import subprocess, sys, time
        subprocess.Popen([sys.executable, "-c", {child!r}])
        time.sleep(60)
    """)
    assert parent.stdout.readline() == "alive\n", "it lives as long as its parent does"
    parent.kill()
    killed = time.monotonic()
    parent.communicate(timeout=10)  # until the grandchild, too, has closed its output
    assert time.monotonic() - killed < 3


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


def test_a_killed_worker_is_an_error_and_nobody_waits_for_it():
    process = python(
        """
        import os, signal, time
        from concurrent.futures.process import BrokenProcessPool
        from sentiformer.core.process import ordered_map

        def die(item):
            time.sleep(0.1)  # until the next items are on their way
            os.kill(os.getpid(), signal.SIGKILL)

        try:
            list(ordered_map(die, [bytes(2**20)] * 20, workers=2))  # more than a pipe takes
        except BrokenProcessPool:
            print("broken")
        """
    )
    try:
        assert process.communicate(timeout=30)[0] == "broken\n"
    finally:
        process.kill()


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    assert 1 <= available_cores() <= os.cpu_count()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == os.cpu_count()


@pytest.mark.parametrize(
    ("command", "printed"), [("echo a", "a"), ("echo a; exit 1", ""), ("no-such-command", "")]
)
def test_what_a_command_prints_is_nothing_where_it_fails(command, printed):
    assert output_of("sh", "-c", command) == printed
    assert output_of("no-such-command") == ""
