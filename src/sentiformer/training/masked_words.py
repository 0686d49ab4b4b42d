"""Masked language modelling (Devlin et al. 2019, section 3.1): the loss and the batches.

A hidden word is replaced by `<unk>`, so no further special token is needed.
Shapes: B windows in a batch, T tokens in the longest, D = d_model, V words, M hidden words in a
window at most.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.text.corpus import Corpus
from sentiformer.text.vocab import UNKNOWN
from sentiformer.training.batching import Batch, Batches, copied, pad
from sentiformer.training.losses import evaluated
from sentiformer.training.params import PretrainParams

NEGATIVES = 1024  # words that are sampled for the loss of a batch
FREQUENCY_POWER = 0.75  # a word is sampled in proportion to its frequency to this power
SHOWN = -1  # the label of a place whose word is not hidden


class MaskedWordLoss:
    """Cross-entropy of the hidden words.

    In training, the softmax is over the hidden word and a sample of all words, and each logit is
    corrected by how likely its word is sampled (Jean et al. 2015). In evaluation it is over all
    words.

    Args:
        model: on its device.
        counts: (V,) how often each word occurs in the texts.
    """

    def __init__(self, model: MaskedLanguageModel, counts: np.ndarray) -> None:
        self.model, device = model, model.bias.device
        self.of_guessing = math.log(len(counts))
        chances = torch.from_numpy(counts / counts.sum()) ** FREQUENCY_POWER
        chances = chances / chances.sum()
        self._cumulative = chances.cumsum(dim=0).to(device)
        self._log_expected = (chances * NEGATIVES).log().float().to(device)

    def loss(self, part: Batch, whole: Batch) -> Tensor:
        """The mean over the hidden words of the whole batch."""
        assert part.places is not None
        features = self.model(part.token_ids, part.padding_mask, part.places)
        hidden = (whole.labels != SHOWN).sum().clamp_min(1)
        losses = self._sampled(features, part.labels.clamp_min(0), self._negatives())
        return losses.where(part.labels != SHOWN, 0).sum() / copied(hidden, losses.device)

    def _negatives(self) -> Tensor:
        """(NEGATIVES,) words."""
        chances = self._cumulative
        draws = torch.rand(NEGATIVES, dtype=chances.dtype, device=chances.device)
        return torch.searchsorted(chances, draws).clamp_max(len(chances) - 1)

    def _sampled(self, features: Tensor, words: Tensor, negatives: Tensor) -> Tensor:
        """(B, M) losses of hidden words."""
        vectors = self.model.encoder.embedding.words.weight
        right = (features * vectors[words]).sum(dim=-1) + self.model.bias[words]
        others = self.model.logits(features, negatives).float()
        others = others - self._log_expected[negatives]
        others = others.masked_fill(negatives == words.unsqueeze(-1), -math.inf)
        logits = torch.cat([right.unsqueeze(-1), others], dim=-1)  # (B, M, 1 + NEGATIVES)
        return logits.logsumexp(dim=-1) - right

    def evaluate(self, batch: Batch) -> Tensor:
        """Sums over hidden words; special tokens are not predicted."""
        assert batch.places is not None
        features = self.model(batch.token_ids, batch.padding_mask, batch.places)
        hidden = batch.labels != SHOWN
        logits = self.model.logits(features[hidden]).float()
        logits[:, : len(SPECIAL_TOKENS)] = -math.inf
        return evaluated(logits, batch.labels[hidden])

    def rank(self, loss: float, accuracy: float) -> tuple[float, ...]:
        """By perplexity."""
        return (-loss,)


class Windows(Batches):
    """Batches of windows of texts, in which some words are hidden.

    Each token of each text is in exactly one window of an epoch. The windows of a text differ in
    length by at most one token. In each window the same share of the known words is hidden, rounded
    up; each epoch hides others.

    Args:
        corpora: the texts as type ids.
        ids_of_types: (types,) vocabulary id of each type.
        params: length and number of windows, and the share of hidden words.
        seed: of the order of windows and the hidden words.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        ids_of_types: np.ndarray,
        params: PretrainParams,
        seed: int,
    ) -> None:
        texts = np.concatenate([corpus.lengths for corpus in corpora])
        pieces = -(-texts // params.window)
        text = np.repeat(np.arange(len(texts)), pieces)
        place = np.arange(len(text)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        self._starts = texts[text] * place // pieces[text]
        lengths = texts[text] * (place + 1) // pieces[text] - self._starts
        ends = np.cumsum([len(corpus) for corpus in corpora])
        self._corpus = np.searchsorted(ends, text, side="right")
        self._rows = text - (ends - [len(corpus) for corpus in corpora])[self._corpus]
        super().__init__(lengths, params.batch_size, seed)
        self._params, self._corpora, self._ids_of_types = params, corpora, ids_of_types

    def _batch(self, windows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        rng = np.random.default_rng(key)
        token_ids, padding_mask = pad(list(map(self._window, windows)), self._params.window)
        known = token_ids >= len(SPECIAL_TOKENS)
        draws = torch.from_numpy(rng.random(token_ids.shape)).masked_fill(~known, 1.0)
        share = self._params.masked_fraction
        places = draws.argsort(dim=1)[:, : math.ceil(token_ids.shape[1] * share)]
        counts = (known.sum(dim=1, keepdim=True).double() * share).ceil()
        hidden = torch.arange(places.shape[1]) < counts
        words = token_ids.gather(1, places)
        token_ids = token_ids.scatter(1, places, words.masked_fill(hidden, UNKNOWN))
        labels = words.masked_fill(~hidden, SHOWN)
        return Batch(token_ids, padding_mask, labels, windows, places)

    def _window(self, window: int) -> np.ndarray:
        start = self._starts[window]
        text = self._corpora[self._corpus[window]][int(self._rows[window])]
        return self._ids_of_types[text[start : start + self._lengths[window]]]
