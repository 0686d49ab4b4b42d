"""Events of a training, which are shown, written to CSV files and tracked."""

import math
from dataclasses import dataclass, fields
from typing import TypeAlias


@dataclass(frozen=True)
class StepEvent:
    """Means over the steps since the last event.

    Attributes:
        step: number of steps done.
        epoch: the current epoch, from 1.
        steps: number of steps in the means.
        loss: cross-entropy in nats per text, or per masked word.
        learning_rate, gradient_norm: of the last step; the norm is before clipping.
        tokens: tokens of the texts since the last event; dropped ones count, padding does not.
    """

    step: int
    epoch: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int


@dataclass(frozen=True)
class EpochEvent:
    """Losses and accuracy at the end of an epoch.

    Attributes:
        epoch, step: as in `StepEvent`.
        train_loss: mean cross-entropy in nats over the steps of the epoch, with dropout.
        valid_loss: mean cross-entropy in nats on validation, without dropout.
        valid_accuracy: share of validation's texts, or masked words, that are predicted correctly.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float

    @property
    def perplexity(self) -> float:
        """Perplexity on validation: e to the power of the loss."""
        return math.exp(self.valid_loss)


STEP_COLUMNS = [field.name for field in fields(StepEvent)]
EPOCH_COLUMNS = [field.name for field in fields(EpochEvent)]
Event: TypeAlias = StepEvent | EpochEvent
