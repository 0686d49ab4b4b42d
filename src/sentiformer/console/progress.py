"""Progress of long work."""

import time
from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

from tqdm import tqdm

from sentiformer.console.output import say
from sentiformer.core.process import is_first

Item = TypeVar("Item")
LOG_SECONDS = 10.0  # between two lines of progress where there is no terminal


class Bar:
    """Progress: a bar on a terminal, and elsewhere a line every ten seconds."""

    def __init__(self, what: str, *, total: int, done: int = 0) -> None:
        self._what, self._total, self._done = what, total, done
        self._shown = time.monotonic()
        self._bar = tqdm(
            desc=what,
            total=total,
            initial=done,
            leave=False,
            dynamic_ncols=True,
            unit="",
            disable=None if is_first() else True,  # None: if standard error is no terminal
        )

    def advance(self, amount: int, note: str = "") -> None:
        """Add an amount of finished work, and show a note such as the loss."""
        self._done += amount
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(amount)
        if self._bar.disable and time.monotonic() - self._shown > LOG_SECONDS:
            self._shown = time.monotonic()
            say(f"{self._what}: {self._done:,} of {self._total:,}" + (f", {note}" if note else ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def progress(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Yield the items and show how many are done."""
    with Bar(what, total=total) as bar:
        for item in items:
            yield item
            bar.advance(1)
