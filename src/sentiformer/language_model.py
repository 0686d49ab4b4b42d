"""Masked-language modelling (Devlin et al. 2019, section 3.1): guess the words that are hidden.

A hidden word is given to the model as an unknown one, so that no other special is needed. Shapes:
B windows in a batch, T tokens in the longest, D = d_model, V words, M hidden ones.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.batching import Batch, pad, shuffled_buckets, sorted_buckets
from sentiformer.config import SPECIAL_TOKENS, ModelParams, PretrainParams
from sentiformer.corpus import Corpus
from sentiformer.dropout import Share
from sentiformer.model import Encoder, init_weights
from sentiformer.objectives import judged
from sentiformer.vocab import UNKNOWN

NEGATIVES = 2048  # words that a hidden word is told from while training
FREQUENCY_POWER = 0.75  # a negative is drawn in proportion to its frequency to this power
SHOWN = -1  # in place of a label: the word is not hidden


class MaskedLanguageModel(nn.Module):
    """The encoder of the classifier, and what turns its output into words.

    The vectors that stand for the words in the output are those of the embedding (Press & Wolf
    2017).
    """

    def __init__(self, params: ModelParams, *, vocab_size: int) -> None:
        super().__init__()
        self.encoder = Encoder(params, vocab_size)
        self.transform = nn.Linear(params.d_model, params.d_model)
        self.norm = nn.LayerNorm(params.d_model)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        init_weights(self)

    def forward(
        self,
        token_ids: Tensor,
        padding_mask: Tensor | None,
        hidden: Tensor,
        share: Share | None = None,
    ) -> Tensor:
        """(B, T) token ids, padding, and whether a word is hidden, to (M, D) of the hidden ones."""
        vectors = self.encoder(token_ids, padding_mask, share)[hidden]
        return self.norm(F.gelu(self.transform(vectors)))

    def logits(self, features: Tensor, words: Tensor | None = None) -> Tensor:
        """(M, D) to (M, V), or to (M, W) of these W words alone."""
        vectors, bias = self.encoder.embedding.weight, self.bias
        if words is None:
            return F.linear(features, vectors, bias)
        return F.linear(features, vectors[words], bias[words])


class MaskedWords:
    """Cross-entropy of the hidden words.

    While training, a word is told from some words that are drawn by their frequency, each logit
    corrected by how likely its word is drawn (Jean et al. 2015); judged it is by all words.

    Args:
        model: on its device.
        counts: (V,) how often each word stands in the texts.
    """

    def __init__(self, model: MaskedLanguageModel, counts: np.ndarray) -> None:
        self.model, device = model, model.bias.device
        self.guessing = math.log(len(counts))
        chances = torch.from_numpy(counts / counts.sum()) ** FREQUENCY_POWER
        self._chances = (chances / chances.sum()).to(device)
        self._log_expected = (self._chances * NEGATIVES).log().float()

    def weight(self, batch: Batch) -> float:
        """Hidden words; 1 where there is none."""
        return max(1, int((batch.labels != SHOWN).sum()))

    def loss(self, batch: Batch, share: Share) -> Tensor:
        """Of hidden words."""
        negatives = torch.multinomial(self._chances, NEGATIVES, replacement=True)
        hidden = batch.labels != SHOWN
        features = self.model(batch.token_ids, batch.padding_mask, hidden, share)
        words, vectors = batch.labels[hidden], self.model.encoder.embedding.weight
        right = (features * vectors[words]).sum(dim=1) + self.model.bias[words]
        others = self.model.logits(features, negatives).float() - self._log_expected[negatives]
        others = others.masked_fill(negatives == words[:, None], -math.inf)
        logits = torch.cat([right[:, None], others], dim=1)  # (M, 1 + NEGATIVES)
        return (logits.logsumexp(dim=1) - right).sum()

    def judge(self, batch: Batch) -> Tensor:
        """Of hidden words, by all words."""
        hidden = batch.labels != SHOWN
        features = self.model(batch.token_ids, batch.padding_mask, hidden)
        logits = self.model.logits(features).float()
        return judged(logits, batch.labels[hidden])


class Windows:
    """The batches of texts that are cut into windows, in which some words are hidden.

    Every token of every text is in one window of an epoch; where a text is cut varies by epoch.

    Args:
        corpora: the texts as type ids.
        ids_of_types: maps a type id to its vocabulary id.
        params: size and number of windows, and the share of hidden words.
    """

    def __init__(
        self, corpora: Sequence[Corpus], ids_of_types: np.ndarray, params: PretrainParams
    ) -> None:
        self._params = params
        self._corpora, self._ids_of_types = corpora, ids_of_types
        texts = np.concatenate([corpus.lengths for corpus in corpora])
        pieces = -(-texts // params.window)
        text = np.repeat(np.arange(len(texts)), pieces)
        place = np.arange(len(text)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        self._starts = texts[text] * place // pieces[text]
        self._lengths = texts[text] * (place + 1) // pieces[text] - self._starts
        ends = np.cumsum([len(corpus) for corpus in corpora])
        self._corpus = np.searchsorted(ends, text, side="right")
        self._rows = text - (ends - [len(corpus) for corpus in corpora])[self._corpus]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._lengths) // self._params.batch_size)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
        """Yield the training batches of an epoch, from number `skip` on."""
        seed = self._params.seed
        rng = np.random.default_rng([seed, epoch])
        buckets = shuffled_buckets(self._lengths, self._params.batch_size, rng)
        for number, windows in enumerate(buckets[skip:], start=skip):
            yield self._batch(windows, np.random.default_rng([seed, epoch, number]))

    def in_order_of_length(self) -> Iterator[Batch]:
        """Yield every window once, shortest first; the hidden words are always the same."""
        for number, windows in enumerate(sorted_buckets(self._lengths, self._params.batch_size)):
            yield self._batch(windows, np.random.default_rng(number))

    def _batch(self, windows: np.ndarray, rng: np.random.Generator) -> Batch:
        token_ids, padding_mask = pad(list(map(self._window, windows)), self._params.window)
        chosen = torch.from_numpy(rng.random(token_ids.shape) < self._params.masked_fraction)
        hidden = chosen & (token_ids >= len(SPECIAL_TOKENS))
        labels = token_ids.where(hidden, SHOWN)
        return Batch(token_ids.masked_fill(hidden, UNKNOWN), padding_mask, labels, windows)

    def _window(self, window: int) -> np.ndarray:
        start = self._starts[window]
        text = self._corpora[self._corpus[window]][int(self._rows[window])]
        return self._ids_of_types[text[start : start + self._lengths[window]]]
