"""Which tokens of a text decided its class: integrated gradients (Sundararajan et al. 2017).

The log-odds of a class, ln(p / (1 - p)), are followed along a straight line from a baseline input,
in which every token is unknown, to the text. A token's contribution is the part of the change that
its vectors cause. The contributions of all tokens sum to the whole change (section 3,
"completeness"). Positions, and an encoder's tokens at start and end, are the same all along.

The vectors of a bigram or trigram count for its tokens in equal parts. In an ensemble, the weights
of the n-gram model grow from 0 along the same line, and count for their tokens alike.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel

from sentiformer.serving.input_path import InputPath
from sentiformer.serving.predictor import UNJUDGED, Prediction, replace_surrogates
from sentiformer.serving.token_spans import (
    as_written,
    shares_of_tokens,
    token_spans,
    without_line_breaks,
)
from sentiformer.serving.trained_model import AnyClassifier, FinetunedClassifier
from sentiformer.text.truncation import truncate

POINTS = 8  # on the line, at first
TOLERANCE = 0.01  # of the change: the error of the numerical integral
NEGLIGIBLE = 0.005  # an error of the log-odds that is allowed if the change is small


class Explanation(BaseModel):
    """What each token of a text contributes to its class.

    Attributes:
        label: the class that is explained, which is the most probable one; "?" for a text that the
            model cannot judge, which has no tokens here; `prediction.reason` says why.
        tokens: in the spelling of the text.
        spaces: whether white space follows each token.
        contributions: of each token to the log-odds of `label`; 0 for tokens that are not read.
        baseline: the log-odds of `label` if every token is unknown. With the sum of the
            contributions they are the log-odds of the prediction.
        prediction: the class of the text, and its probabilities.
    """

    label: str
    tokens: list[str] = []
    spaces: list[bool] = []
    contributions: list[float] = []
    baseline: float = 0.0
    prediction: Prediction


def explain(
    classifier: AnyClassifier[Any], text: str | None, tokens: list[str], prediction: Prediction
) -> Explanation:
    """Explain the most probable class of a text; `tokens` are spaCy's."""
    if prediction.label == UNJUDGED:
        return Explanation(label=UNJUDGED, prediction=prediction)
    label = max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    line = without_line_breaks(replace_surrogates(text or ""))
    spans = token_spans(line, tokens)
    shares, number = owners(classifier, line, spans), classifier.labels.index(label)
    path = InputPath(classifier, line, tokens, label=number, fixed=shares.sum(axis=1) == 0)
    of_ids, of_tokens, baseline = integrated_gradients(path)
    contributions = of_tokens + shared_ngrams(of_ids) @ shares
    written, spaces = as_written(line, spans)
    return Explanation(
        label=label,
        tokens=written,
        spaces=spaces,
        contributions=contributions.tolist(),
        baseline=baseline,
        prediction=prediction,
    )


def integrated_gradients(path: InputPath) -> tuple[list[np.ndarray], np.ndarray, float]:
    """Integrate the gradient of the log-odds along a path, by Gauss and Legendre's rule.

    The number of points is doubled until the error is small or the path allows no more. What is
    left of the error is shared out in proportion to the contributions, so that these sum to the
    change of the log-odds.

    Returns:
        What the vectors of words, bigrams and trigrams contribute, each (ids,), at the id where the
        n-gram ends; what the n-gram model contributes, (tokens,); the log-odds at the beginning.
    """
    baseline, end = path.log_odds([0.0, 1.0])
    change, count = end - baseline, POINTS
    while True:
        nodes, weights = np.polynomial.legendre.leggauss(count)
        found = path.contributions((nodes + 1) / 2, weights / 2)
        error = change - sum(part.sum() for part in found)
        if abs(error) <= max(TOLERANCE * abs(change), NEGLIGIBLE) or count >= path.most_points:
            break
        count *= 2
    size = sum(np.abs(part).sum() for part in found)
    *of_ids, of_tokens = (part + error * np.abs(part) / (size or 1) for part in found)
    return of_ids, of_tokens, baseline


def shared_ngrams(of_ids: Sequence[np.ndarray]) -> np.ndarray:
    """The contributions of T ids, (T,), of those of the n-grams, n = 1, 2, ..., that end there."""
    result = np.zeros_like(of_ids[0])
    for n, values in enumerate(of_ids, start=1):
        for distance in range(n):
            result[: len(values) - distance] += values[distance:] / n
    return result


def owners(classifier: AnyClassifier[Any], line: str, spans: np.ndarray) -> np.ndarray:
    """The share of each token in each id that the network reads of a text, (ids, tokens)."""
    if isinstance(classifier, FinetunedClassifier):
        return shares_of_tokens(classifier.spans(line), spans)
    kept = truncate(np.arange(len(spans)), classifier.max_len)
    shares = np.zeros((len(kept), len(spans)))  # its zeros take no memory
    shares[np.arange(len(kept)), kept] = 1
    return shares
