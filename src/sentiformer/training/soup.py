"""A soup: trainings from the same first weights, whose ends are averaged (Wortsman et al. 2022)."""

from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import NamedTuple, Self

from torch import Tensor

from sentiformer.console import say


class Soup(NamedTuple):
    """What one training of a soup knows of the others.

    Attributes:
        before: how many trainings there were before it.
        mean: of the weights in which these ended, by name.
    """

    before: int
    mean: dict[str, Tensor]

    def with_one_more(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean of these weights, which it changes, and of those of before."""
        for name, mean in self.mean.items():
            if mean.is_floating_point():
                weights[name].lerp_(mean.to(weights[name].device), 1 - 1 / (self.before + 1))
        return weights


class Beside:
    """Trainings of a soup in processes beside this one, which all end with the block.

    Args:
        count: trainings of the soup; this process goes through all, in the order of their numbers.
        at_once: how many train at a time, its own with them.
        start: starts the process of one, by its number.
    """

    def __init__(self, count: int, at_once: int, start: Callable[[int], BaseProcess]) -> None:
        self._count, self._at_once, self._start = count, at_once, start
        self._processes: dict[int, BaseProcess] = {}

    def __enter__(self) -> Self:
        if self._at_once > 1:
            say(f"{self._at_once} trainings side by side")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.join()

    def start_after(self, number: int) -> None:
        """Start those after a training that there is a thread for, when its turn has come."""
        first = max(number, len(self._processes)) + 1
        for other in range(first, min(self._count, number + self._at_once)):
            self._processes[other] = self._start(other)

    def wait_for(self, number: int) -> None:
        """Until the process of a training has ended, if it has one; what it did is checkpointed."""
        if process := self._processes.get(number):
            process.join()
            if process.exitcode:
                say(f"training {number + 1} was lost beside the others; it goes on here")
