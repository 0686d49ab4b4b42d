"""Temperature scaling (Guo et al. 2017, section 4.2) with a temperature that depends on the length.

A model that was trained on long texts is too confident about short ones, so one temperature does
not fit all lengths.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import BaseModel

if TYPE_CHECKING:
    from sentiformer.training.loop import Training

# Standard deviations of a normal distribution that the parameters have before any text is seen. A
# few texts therefore change the temperature little, and many as much as they ask for.
PRIOR_LEVEL = 0.5  # of the logarithm of the temperature at the mean length
PRIOR_SLOPE = 0.25


class Calibration(BaseModel):
    """The temperature exp(intercept + slope * ln(n + 1)) of a text of n tokens."""

    intercept: float = 0.0
    slope: float = 0.0

    def scale(self, logits: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Divide the (N, C) logits of texts of (N,) tokens by the temperature of each text."""
        temperatures = np.exp(self.intercept + self.slope * np.log(lengths + 1.0))
        return logits / temperatures[:, None]


def fit_calibration(logits: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> Calibration:
    """The most probable calibration, given (N, C) logits, (N,) classes, and (N,) tokens.

    The log loss of these texts is never higher than with temperature 1, and no prediction changes.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    rows, mean = np.arange(len(labels)), np.log(lengths + 1.0).mean()

    def calibration(parameters: np.ndarray) -> Calibration:
        level, slope = parameters.tolist()
        return Calibration(intercept=level - slope * mean, slope=slope)

    def cost(parameters: np.ndarray) -> float:
        scaled = calibration(parameters).scale(logits, lengths)
        loss = -log_softmax(scaled, axis=1)[rows, labels].sum()
        return loss + np.square(parameters / [PRIOR_LEVEL, PRIOR_SLOPE]).sum() / 2

    return calibration(minimize(cost, np.zeros(2)).x)


class Validation(NamedTuple):
    """What a finished training's best weights say of the N texts of validation."""

    calibration: Calibration
    probabilities: np.ndarray  # (N, C), calibrated
    labels: np.ndarray  # (N,) the true classes


def calibrate(training: "Training") -> Validation:
    """Fit the calibration of a finished training's best weights on validation, and apply it."""
    import torch

    from sentiformer.training.batching import TextBatches

    model, batches = training.model, training.validation
    assert isinstance(batches, TextBatches)
    model.load_state_dict(training.best_weights())
    model.eval()
    logits, rows = [], []
    for batch in batches.in_order_of_length():
        on_device = batch.to(training.device.device)
        with torch.inference_mode(), training.device.autocast():
            scores = model(on_device.token_ids, on_device.padding_mask)
        logits.append(scores.double().cpu().numpy())
        rows.append(batch.rows)
    texts, unsorted = batches.texts, np.argsort(np.concatenate(rows))
    scores = np.concatenate(logits)[unsorted]
    calibration = fit_calibration(scores, texts.labels, texts.lengths)
    scaled = torch.from_numpy(calibration.scale(scores, texts.lengths))
    return Validation(calibration, scaled.softmax(dim=1).numpy(), texts.labels)
