"""Faults that a project must survive; `python -m benchmarks.faults` tries them and counts."""

from typing import NamedTuple


class Row(NamedTuple):
    """What came of one kind of fault.

    Attributes:
        fault: its name.
        tried, held: the number of cases, and of those that ended as they must.
        longest: seconds of the slowest recovery or answer.
        failures: a line for each case that did not hold, which says how to reproduce it.
    """

    fault: str
    tried: int
    held: int
    longest: float
    failures: list[str]
