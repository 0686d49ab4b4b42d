"""What happens in a training, as it is shown, written and tracked."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class StepEvent:
    """Means over the steps since the last event.

    Attributes:
        step: steps done so far.
        epoch: the epoch under way, from 1.
        steps: how many steps the means are of.
        loss: cross-entropy in nats a text, or a hidden word.
        learning_rate: that of the last step.
        gradient_norm: before clipping, of the last step.
        tokens: of the texts since the last event, dropped ones with them, padding not counted.
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
    """An epoch's end.

    Where a training of a soup ends, validation judges the mean so far.

    Attributes:
        epoch: which one, from 1, over all trainings of a soup.
        step: steps done so far.
        train_loss: mean cross-entropy in nats over the steps of the epoch, dropout on.
        valid_loss: the same on validation, dropout off.
        valid_accuracy: share of validation's texts, or hidden words, that are told rightly.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float

    @property
    def perplexity(self) -> float:
        """Of validation: among how many words, alike in likelihood, a hidden one is sought."""
        return math.exp(self.valid_loss)


STEP_COLUMNS, EPOCH_COLUMNS = ([of.name for of in fields(k)] for k in (StepEvent, EpochEvent))
