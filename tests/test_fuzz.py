"""The first generated parameter and data files hold, and a failure is found and named."""

import pytest

from benchmarks.faults.fuzz import Kind, kind, row_of
from sentiformer.core.errors import UserError


@pytest.mark.parametrize("name", ["params", "data"])
def test_the_first_cases_hold(tmp_path, name):
    row = row_of(kind(name, tmp_path), 20)
    assert (row.tried, row.held, row.failures) == (20, 20, [])


def test_a_failure_is_one_line_that_reproduces_it():
    def run(number):
        if number == 0:
            raise UserError("a line")
        if number == 1:
            raise KeyError("x")
        if number == 2:
            print("\x1b[31m")
        return "wrong" if number == 3 else ""

    row = row_of(Kind("cases", run), 5)
    assert (row.tried, row.held) == (5, 2)
    command = "python -m benchmarks.faults.fuzz cases"
    problems = ["KeyError: 'x'", "it prints the control character '\\x1b'", "wrong"]
    assert row.failures == [f"{command} {n}: {p}" for n, p in enumerate(problems, start=1)]
