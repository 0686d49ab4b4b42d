"""Events of a training, which are shown, written to files and logged to MLflow."""

import math
from dataclasses import dataclass, fields
from typing import TypeAlias


@dataclass(frozen=True)
class StepEvent:
    """Some steps, of which loss and tokens are summed up since the last event.

    Attributes:
        step: steps done so far.
        epoch: the epoch under way, from 1.
        steps: number of steps since the last event.
        loss: mean cross-entropy of these steps, in nats per text or hidden word.
        learning_rate: that of the last step.
        gradient_norm: before clipping, of the last step.
        tokens: number of tokens in these steps, including dropped ones, without padding.
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
    """The end of an epoch.

    Attributes:
        epoch: which one, from 1.
        step: steps done so far.
        train_loss: mean cross-entropy in nats over the steps of the epoch, dropout on.
        valid_loss: the same on validation, dropout off.
        valid_accuracy: share of the texts, or hidden words, of validation that are predicted right.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float

    @property
    def perplexity(self) -> float:
        """The perplexity of a language model on validation: e to the power of its loss."""
        return math.exp(self.valid_loss)


STEP_COLUMNS, EPOCH_COLUMNS = (
    [field.name for field in fields(kind)] for kind in (StepEvent, EpochEvent)
)
Event: TypeAlias = StepEvent | EpochEvent
