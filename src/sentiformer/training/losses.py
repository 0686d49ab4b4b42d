"""Loss functions, and how a model is evaluated while it trains."""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.model.classifier import TransformerClassifier
from sentiformer.training.batching import Batch


class Loss(Protocol):
    """A loss that is a mean over items, which are texts or hidden words.

    Attributes:
        of_guessing: the loss of a model that gives each class the same probability, in nats.
    """

    of_guessing: float

    @property
    def model(self) -> nn.Module:
        """The model that the loss is computed of."""

    def loss(self, part: Batch, whole: Batch) -> Tensor:
        """What a part of a batch, which is on the device, adds to the loss of the whole batch.

        Shapes and device tensors alone decide what is computed, so that a GPU can record it.
        """

    def evaluate(self, batch: Batch) -> Tensor:
        """(3,) float64: sum of losses, number of right items, number of items."""

    def rank(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """A value that is higher for a better model, from its loss and accuracy on validation."""


class ClassificationLoss:
    """Cross-entropy of the classes; a text's loss is multiplied by the weight of its class.

    Args:
        model: on any device.
        weights: (C,) of the classes; None counts all alike.
    """

    def __init__(self, model: TransformerClassifier, weights: Tensor | None = None) -> None:
        self.model, self.weights = model, weights
        self.of_guessing = math.log(model.classifier.out_features)

    def loss(self, part: Batch, whole: Batch) -> Tensor:
        """The mean over the texts of the whole batch, weighted if there are weights."""
        total: float | Tensor = len(whole.rows)
        if self.weights is not None:
            labels = whole.labels.to(self.weights.device)
            certain = not labels.is_floating_point()
            total = (self.weights[labels] if certain else labels @ self.weights).sum()
        logits = self.model(part.token_ids, part.padding_mask).float()
        return F.cross_entropy(logits, part.labels, self.weights, reduction="sum") / total

    def evaluate(self, batch: Batch) -> Tensor:
        """Sums over texts, without weights."""
        logits = self.model(batch.token_ids, batch.padding_mask).double()
        return evaluated(logits, batch.labels)

    def rank(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """By accuracy, then by loss."""
        return accuracy, -loss


def balanced_weights(labels: np.ndarray) -> Tensor:
    """The (C,) weights that make all classes count alike: N / (C * texts of the class)."""
    counts = np.bincount(labels)
    return torch.from_numpy(len(labels) / (len(counts) * counts)).float()


def evaluated(logits: Tensor, labels: Tensor) -> Tensor:
    """(3,) float64: sum of cross-entropies in nats, number of right items, number of items."""
    loss = F.cross_entropy(logits, labels, reduction="sum").double()
    right = (logits.argmax(dim=1) == labels).sum()
    return torch.stack([loss, right.double(), torch.full_like(loss, len(labels))])
