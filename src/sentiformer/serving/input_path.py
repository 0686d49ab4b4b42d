"""The straight line from a baseline input to a text, in the vectors that a network reads.

Shapes: T ids that the network reads of a text, D numbers of a vector, C classes, K scores of the
n-gram model, S points on the line.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.core.device import is_fast_in_bf16
from sentiformer.serving.trained_model import (
    BF16_LENGTH_MULTIPLE,
    AnyClassifier,
    FinetunedClassifier,
)
from sentiformer.text.vocab import UNKNOWN
from sentiformer.training.batching import pad

TRANSFORMER_POINTS, ENCODER_POINTS = 128, 8  # at most, on the line; an encoder is slower
PATH_TOKENS = 4096  # that are computed together


class InputPath:
    """The log-odds of a class on the line to a text, and their gradients.

    At point a, from 0 to 1, the vectors are `start` plus a times the sum of `parts`, and the scores
    of the n-gram model are its intercepts plus a times its weights.

    Attributes:
        most_points: at which gradients should be computed, which bounds the time.

    Args:
        classifier: the network, and in an ensemble its n-gram model.
        text: without line-break tags.
        tokens: spaCy's tokens of the text.
        label: the number of the class.
        fixed: whether the vector of each id never changes, (T,).
    """

    def __init__(
        self,
        classifier: AnyClassifier[Any],
        text: str,
        tokens: list[str],
        *,
        label: int,
        fixed: np.ndarray,
    ) -> None:
        ids, lengths = classifier.read([text], [tokens])
        device, self._count = classifier.device, len(ids[0])
        self._classifier, self._label = classifier, label
        self._scale = float(classifier.config.calibration.scale(np.ones((1, 1)), lengths)[0, 0])
        is_encoder = isinstance(classifier, FinetunedClassifier)
        self.most_points = ENCODER_POINTS if is_encoder else TRANSFORMER_POINTS
        # An encoder would take several times as long in fp32.
        is_fast = is_encoder and is_fast_in_bf16(device)
        self._is_bf16 = is_fast or classifier.prepared.precision == "bf16"
        multiple = BF16_LENGTH_MULTIPLE if self._is_bf16 else classifier.length_multiple
        self._ids, padding = pad(ids, classifier.max_len, multiple, padding=classifier.padding)
        self._ids = self._ids.to(device)
        self._padding = None if padding is None else padding.to(device)
        with torch.no_grad():
            read = _read_encoder if is_encoder else _read_transformer
            self._layer, self._start, self._parts = read(classifier, self._ids[0])
        moves = torch.zeros(len(self._start), 1).to(self._start)
        moves[: self._count, 0] = torch.from_numpy(~fixed).to(self._start)
        self._start = self._start + (1 - moves) * sum(self._parts)
        self._parts = [part * moves for part in self._parts]
        ngrams, self._weights = classifier.ngrams, np.zeros((len(tokens), 0))
        self._intercepts = torch.zeros(0, dtype=torch.float64)
        if ngrams is not None:
            self._weights = ngrams.contributions(tokens)
            self._intercepts = torch.from_numpy(ngrams.intercepts).double()

    def log_odds(self, points: Sequence[float]) -> list[float]:
        """The log-odds of the class at some points."""
        with torch.no_grad(), self._classifier.prepared.autocast():
            return [v for piece in self._pieces(points) for v in self._at(*piece).tolist()]

    def contributions(self, points: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
        """The weighted sum of the gradients at some points, times what the line adds.

        Returns:
            Of words, bigrams and trigrams, each (T,); and of spaCy's tokens in the n-gram model.
        """
        of_vectors, of_scores = torch.zeros_like(self._start), torch.zeros_like(self._intercepts)
        factors = torch.from_numpy(weights).split(self._size)
        for (vectors, scores), factor in zip(self._pieces(points), factors, strict=True):
            inputs = vectors.requires_grad_(), scores.requires_grad_()
            with torch.autocast(vectors.device.type, torch.bfloat16, enabled=self._is_bf16):
                values = (self._at(*inputs) * factor).sum()
            found = torch.autograd.grad(values, inputs, allow_unused=True)
            of_vectors += found[0].sum(dim=0)
            of_scores += 0 if found[1] is None else found[1].sum(dim=0)
        parts = [(of_vectors * part).sum(dim=1)[: self._count] for part in self._parts]
        of_ids = [part.double().cpu().numpy() for part in parts]
        return [*of_ids, self._weights @ of_scores.numpy()]

    @property
    def _size(self) -> int:
        return max(1, PATH_TOKENS // self._ids.shape[1])

    def _pieces(self, points: Sequence[float] | np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the vectors, (S, T, D), and the scores, (S, K), of a few points at a time."""
        whole, scores = sum(self._parts), torch.from_numpy(self._weights.sum(axis=0))
        for some in torch.tensor(points, dtype=torch.float64).split(self._size):
            at = some[:, None, None].to(self._start)
            yield self._start + at * whole, self._intercepts + some[:, None] * scores

    def _at(self, vectors: Tensor, scores: Tensor) -> Tensor:
        """The log-odds of the class, (S,) float64, for (S, T, D) vectors and (S, K) scores."""
        classifier = self._classifier
        padding = None if self._padding is None else self._padding.expand(len(vectors), -1)
        with output_of(self._layer, vectors):
            logits = classifier.model(self._ids.expand(len(vectors), -1), padding)
        logs = (logits.double().cpu() * self._scale).log_softmax(dim=1)
        if scores.shape[1]:
            logs = torch.logaddexp(logs, ngram_log_probabilities(scores)) - np.log(2)
        others = torch.arange(logs.shape[1]) != self._label
        return logs[:, self._label] - logs[:, others].logsumexp(dim=1)


def ngram_log_probabilities(scores: Tensor) -> Tensor:
    """The (S, C) log-probabilities of (S, K) scores, as `NgramModel.probabilities`."""
    if scores.shape[1] == 1:
        scores = torch.cat([-scores, scores], dim=1)
    return F.logsigmoid(scores).log_softmax(dim=1)


@contextmanager
def output_of(layer: nn.Module, output: Tensor) -> Iterator[None]:
    """Let a layer have this output in the block, whatever its input, also for other threads."""
    hook = layer.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        hook.remove()


def _read_transformer(classifier: Any, ids: Tensor) -> tuple[nn.Module, Tensor, list[Tensor]]:
    """The embedding, its output if every word is unknown, and what words and n-grams add to it."""
    layer = classifier.model.encoder.embedding
    words, unknown = layer.words(ids), layer.words.weight[UNKNOWN]
    parts, numbers = [(words - unknown) * layer.scale], ids
    for ngrams in (layer.bigrams, layer.trigrams):
        if ngrams is not None:
            numbers = ngrams.numbers(numbers, ids)
            parts.append(ngrams(numbers) * layer.scale)
    return layer, unknown * layer.scale + layer.positions[: len(ids)], parts


def _read_encoder(classifier: Any, ids: Tensor) -> tuple[nn.Module, Tensor, list[Tensor]]:
    """The same for an encoder, whose words are hidden by its mask; it adds positions later."""
    layer = classifier.model.encoder.get_input_embeddings()
    words, unknown = layer(ids), layer(torch.full_like(ids, classifier.mask))
    return layer, unknown, [words - unknown]
