"""Loss functions, and the evaluation of a model during its training."""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.model.classifier import TextClassifier
from sentiformer.training.batching import Batch


class Loss(Protocol):
    """A loss that is a mean over items, which are texts or masked words.

    Attributes:
        uniform_loss: in nats, of a model that gives each class the same probability.
    """

    uniform_loss: float

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""

    def loss(self, part: Batch, whole: Batch) -> Tensor:
        """The share of a part, which is on the device, in the loss of the whole batch.

        Only shapes and tensors on the device decide what is computed, so that a CUDA graph can
        repeat it.
        """

    def evaluate(self, batch: Batch) -> Tensor:
        """Evaluate a batch without training.

        Returns:
            (3,) float64: sum of losses in nats, number of correct items, number of items.
        """

    def quality(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """A value that is higher for a better model, from its loss and accuracy on validation."""


class ClassificationLoss:
    """Cross-entropy of the classes; a text's loss is multiplied by its class's weight, (C,)."""

    def __init__(self, model: TextClassifier, weights: Tensor | None = None) -> None:
        self.model, self.weights = model, weights
        self.uniform_loss = math.log(model.classifier.out_features)

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
        return sums_of(logits, batch.labels)

    def quality(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """A high accuracy; of equal accuracies, a low loss."""
        return accuracy, -loss


def balanced_weights(labels: np.ndarray) -> Tensor:
    """(C,) weights that give all classes the same total weight: N / (C * texts of the class)."""
    counts = np.bincount(labels)
    return torch.from_numpy(len(labels) / (len(counts) * counts)).float()


def sums_of(logits: Tensor, labels: Tensor) -> Tensor:
    """(3,) float64: sum of cross-entropies in nats, number of correct items, number of items."""
    loss = F.cross_entropy(logits, labels, reduction="sum").double()
    right = (logits.argmax(dim=1) == labels).sum()
    return torch.stack([loss, right.double(), torch.full_like(loss, len(labels))])
