"""What a training makes small: the loss of a batch, and how a model is judged by it."""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.model.classifier import TransformerClassifier
from sentiformer.training.batching import Batch


class Objective(Protocol):
    """A loss that is a mean over things, be they texts or words.

    Attributes:
        guessing: the loss of a model that knows nothing, in nats.
    """

    guessing: float

    @property
    def model(self) -> nn.Module:
        """Whose loss it is."""

    def loss(self, part: Batch, whole: Batch) -> Tensor:
        """What a part of a batch adds to the loss of the whole; the part is on the device.

        A batch's shape and the numbers on the device decide all that is computed there, so that a
        GPU can repeat it from a recording.
        """

    def judge(self, batch: Batch) -> Tensor:
        """(3,) float64: the sum of losses, how many things are right, how many there are."""

    def merit(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """What is higher of a better model, by what it does on validation."""


class Classification:
    """Cross-entropy of the classes, a text's loss times its class's weight if there are weights.

    Args:
        model: on any device.
        weights: (C,) of the classes.
    """

    def __init__(self, model: TransformerClassifier, weights: Tensor | None = None) -> None:
        self.model, self.weights = model, weights
        self.guessing = math.log(model.classifier.out_features)

    def loss(self, part: Batch, whole: Batch) -> Tensor:
        """The mean over the texts of the whole batch, or their weighted mean."""
        total: float | Tensor = len(whole.rows)
        if self.weights is not None:
            labels = whole.labels.to(self.weights.device)
            certain = not labels.is_floating_point()
            total = (self.weights[labels] if certain else labels @ self.weights).sum()
        logits = self.model(part.token_ids, part.padding_mask).float()
        return F.cross_entropy(logits, part.labels, self.weights, reduction="sum") / total

    def judge(self, batch: Batch) -> Tensor:
        """Of texts; weights do not count."""
        logits = self.model(batch.token_ids, batch.padding_mask).double()
        return judged(logits, batch.labels)

    def merit(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """The accuracy; of equal ones, the lower loss is better."""
        return accuracy, -loss


def balanced(labels: np.ndarray) -> Tensor:
    """The (C,) weights that make all classes count alike: N / (C * texts of the class)."""
    counts = np.bincount(labels)
    return torch.from_numpy(len(labels) / (len(counts) * counts)).float()


def judged(logits: Tensor, labels: Tensor) -> Tensor:
    """(3,) float64: the sum of cross-entropies in nats, how many are right, how many there are."""
    loss = F.cross_entropy(logits, labels, reduction="sum").double()
    right = (logits.argmax(dim=1) == labels).sum()
    return torch.stack([loss, right.double(), torch.full_like(loss, len(labels))])
