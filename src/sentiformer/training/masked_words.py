"""Masked language modelling (Devlin et al. 2019, section 3.1): the loss and the batches.

`<unk>` replaces a masked word, so no further special token is needed.
Shapes: B windows in a batch, T tokens in the longest, D = d_model, V words, M masked words in a
window at most.
"""

import math

import numpy as np
import torch
from torch import Tensor

from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.text.corpus import Corpus
from sentiformer.text.vocab import UNKNOWN
from sentiformer.training.batching import Batch, Batches, pad, to_device
from sentiformer.training.losses import sums_of

WINDOW = 128  # tokens of a window, at most
BATCH_WINDOWS = 64  # windows in a step
NEGATIVES = 1024  # words that are sampled for the loss of a batch
MASKED_FRACTION = 0.15  # share of the known words of a window that are masked
FREQUENCY_POWER = 0.75  # a word is sampled in proportion to its frequency to this power
NOT_MASKED = -1  # the label of a place where the word is not masked


class MaskedWordLoss:
    """Cross-entropy of the masked words.

    In training, the softmax is over the masked word and a sample of all words, and each logit is
    corrected by how likely its word is sampled (Jean et al. 2015). In evaluation it is over all
    words. `counts`, (V,), are the occurrences of each word in the texts. The model must be on its
    device already.
    """

    def __init__(self, model: MaskedLanguageModel, counts: np.ndarray) -> None:
        self.model, device = model, model.bias.device
        self.uniform_loss = math.log(len(counts))
        probabilities = torch.from_numpy(counts / counts.sum()) ** FREQUENCY_POWER
        probabilities = probabilities / probabilities.sum()
        self._cumulative = probabilities.cumsum(dim=0).to(device)
        self._log_expected = (probabilities * NEGATIVES).log().float().to(device)

    def loss(self, part: Batch, whole: Batch) -> Tensor:
        """The mean over the masked words of the whole batch."""
        assert part.places is not None
        features = self.model(part.token_ids, part.padding_mask, part.places)
        count = (whole.labels != NOT_MASKED).sum().clamp_min(1)
        losses = self._sampled(features, part.labels.clamp_min(0))
        return losses.where(part.labels != NOT_MASKED, 0).sum() / to_device(count, losses.device)

    def _sampled(self, features: Tensor, words: Tensor) -> Tensor:
        """(B, M) losses of masked words, against a sample of NEGATIVES words."""
        ends = self._cumulative
        draws = torch.rand(NEGATIVES, dtype=ends.dtype, device=ends.device)
        negatives = torch.searchsorted(ends, draws).clamp_max(len(ends) - 1)
        vectors = self.model.encoder.embedding.words.weight
        right = (features * vectors[words]).sum(dim=-1) + self.model.bias[words]
        others = self.model.logits(features, negatives).float()
        others = others - self._log_expected[negatives]
        others = others.masked_fill(negatives == words.unsqueeze(-1), -math.inf)
        logits = torch.cat([right.unsqueeze(-1), others], dim=-1)  # (B, M, 1 + NEGATIVES)
        return logits.logsumexp(dim=-1) - right

    def evaluate(self, batch: Batch) -> Tensor:
        """Sums over masked words; special tokens are not predicted."""
        assert batch.places is not None
        features = self.model(batch.token_ids, batch.padding_mask, batch.places)
        masked = batch.labels != NOT_MASKED
        logits = self.model.logits(features[masked]).float()
        logits[:, : len(SPECIAL_TOKENS)] = -math.inf
        return sums_of(logits, batch.labels[masked])

    def quality(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """A low perplexity."""
        return (-loss,)


class Windows(Batches):
    """Batches of windows of texts, in which some words are masked.

    Each token of each text is in exactly one window of an epoch. The windows of a text differ in
    length by at most one token. In each window the same share of the known words is masked, rounded
    up; each epoch masks other words. `ids_of_types`, (types,), has the vocabulary id of each type.
    """

    def __init__(self, texts: Corpus, ids_of_types: np.ndarray, seed: int) -> None:
        self._texts, self._ids_of_types = texts, ids_of_types
        windows = -(-texts.lengths // WINDOW)  # of each text
        self._rows = np.repeat(np.arange(len(texts)), windows)
        number = np.arange(len(self._rows)) - np.repeat(np.cumsum(windows) - windows, windows)
        length, count = texts.lengths[self._rows], windows[self._rows]
        self._starts = length * number // count
        self._ends = length * (number + 1) // count
        super().__init__(self._ends - self._starts, BATCH_WINDOWS, seed)

    def _batch(self, windows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        rng = np.random.default_rng(key)
        token_ids, padding_mask = pad(list(map(self._window, windows)), WINDOW)
        known = token_ids >= len(SPECIAL_TOKENS)
        draws = torch.from_numpy(rng.random(token_ids.shape)).masked_fill(~known, 1.0)
        places = draws.argsort(dim=1)[:, : math.ceil(token_ids.shape[1] * MASKED_FRACTION)]
        counts = (known.sum(dim=1, keepdim=True).double() * MASKED_FRACTION).ceil()
        masked = torch.arange(places.shape[1]) < counts
        words = token_ids.gather(1, places)
        token_ids = token_ids.scatter(1, places, words.masked_fill(masked, UNKNOWN))
        labels = words.masked_fill(~masked, NOT_MASKED)
        return Batch(token_ids, padding_mask, labels, windows, places)

    def _window(self, window: int) -> np.ndarray:
        text = self._texts[int(self._rows[window])]
        return self._ids_of_types[text[self._starts[window] : self._ends[window]]]
