"""The curves of a training as CSV files, which are complete up to the last event."""

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from sentiformer.core.events import EPOCH_COLUMNS, STEP_COLUMNS, EpochEvent, Event, StepEvent

FILES = {StepEvent: ("steps.csv", STEP_COLUMNS), EpochEvent: ("history.csv", EPOCH_COLUMNS)}


@contextmanager
def curve_files(folder: Path) -> Iterator[Callable[[Event], None]]:
    """Begin `steps.csv` and `history.csv` in a folder anew; the function adds an event at once."""
    folder.mkdir(parents=True, exist_ok=True)
    writers = {}
    with ExitStack() as stack:
        for kind, (name, columns) in FILES.items():
            path = folder / name
            path.unlink(missing_ok=True)  # it may be a link into the cache of DVC
            file = path.open("w", buffering=1, newline="", encoding="utf-8")  # by lines
            writers[kind] = csv.DictWriter(stack.enter_context(file), columns, lineterminator="\n")
            writers[kind].writeheader()
        yield lambda event: writers[type(event)].writerow(asdict(event))
