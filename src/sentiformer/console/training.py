"""What a person sees of a training: a progress bar, and a line for each epoch."""

from collections.abc import Iterator
from contextlib import contextmanager

from sentiformer.console.output import say
from sentiformer.console.progress import Bar
from sentiformer.core.events import EpochEvent, Event, StepEvent


class TrainingDisplay:
    """Shows the events of a training of at most `epochs` epochs."""

    def __init__(self, stage: str, epochs: int) -> None:
        self._stage, self._epochs = stage, epochs
        self._bar: Bar | None = None

    def resumed(self, step: int, total: int, before: int, now: int) -> None:
        """Say that a training resumes; `before` and `now` are numbers of processes."""
        if step < total:
            line = f"resuming at step {step:,} of {total:,}"
            if before != now:
                line += f" with {now} processes instead of {before}; this changes the last bits"
            say(line)

    @contextmanager
    def shown(self, step: int, total: int) -> Iterator[None]:
        """Show progress until the block ends."""
        with Bar(f"{self._stage}, steps", total=total, done=step) as self._bar:
            yield

    def __call__(self, event: Event, memory: str) -> None:
        """Show an event, and how much memory a GPU has used."""
        assert self._bar is not None
        if isinstance(event, StepEvent):
            note = f"epoch {event.epoch} of {self._epochs}, loss {event.loss:.3f}"
            self._bar.advance(event.steps, note)
        else:
            say(
                f"epoch {event.epoch} of {self._epochs}: train loss {event.train_loss:.4f}, "
                f"validation loss {event.valid_loss:.4f}, accuracy {event.valid_accuracy:.4f}"
                f"{memory}"
            )

    def ended(self, best: EpochEvent) -> None:
        """Say which epoch the model is of."""
        say(f"best: epoch {best.epoch}, validation accuracy {best.valid_accuracy:.4f}")
