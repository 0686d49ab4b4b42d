"""Masked-language modelling (Devlin et al. 2019, section 3.1), and the words elsewhere in a text.

A hidden word is given to the model as an unknown one, so that no other special is needed. Shapes:
B windows in a batch, T tokens in the longest, D = d_model, V words, M hidden in a window at most.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.batching import Batch, Batches, copied, pad
from sentiformer.config import SPECIAL_TOKENS, ModelParams, PretrainParams
from sentiformer.corpus import Corpus
from sentiformer.dropout import Share
from sentiformer.model import Encoder, init_weights, mean_of_tokens
from sentiformer.objectives import judged
from sentiformer.vocab import UNKNOWN

NEGATIVES = 1024  # words that a hidden word is told from while training
FREQUENCY_POWER = 0.75  # a negative is drawn in proportion to its frequency to this power
RARE = 1e-4  # a word of this frequency or less counts fully among those of a neighbouring window
SHOWN = -1  # in place of a label: no word is hidden


class MaskedLanguageModel(nn.Module):
    """The encoder of the classifier, and what turns its output into words.

    The vectors that stand for the words in the output are those of the embedding (Press & Wolf
    2017).
    """

    def __init__(self, params: ModelParams, *, vocab_size: int, pairs: int = 0) -> None:
        super().__init__()
        self.encoder = Encoder(params, vocab_size, pairs)
        self.hidden = WordHead(params.d_model, vocab_size)
        self.elsewhere = WordHead(params.d_model, vocab_size)
        init_weights(self)

    def forward(
        self,
        token_ids: Tensor,
        padding_mask: Tensor | None,
        places: Tensor,
        share: Share | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Features of the hidden words, (B, M, D), and of what else is in the texts, (B, D).

        `token_ids` and the padding are (B, T), `places` (B, M) are those of the hidden words.
        """
        vectors = self.encoder(token_ids, padding_mask, share)
        text = mean_of_tokens(vectors, padding_mask)
        begins = torch.arange(0, token_ids.numel(), token_ids.shape[1], device=places.device)
        hidden = vectors.flatten(0, 1)[begins[:, None] + places]
        return self.hidden(hidden), self.elsewhere(text)

    def logits(self, head: "WordHead", features: Tensor, words: Tensor | None = None) -> Tensor:
        """A head's (..., D) to (..., V), or to (..., W) of these W words alone."""
        vectors = self.encoder.embedding.weight
        if words is None:
            return F.linear(features, vectors, head.bias)
        return F.linear(features, vectors[words], head.bias[words])


class WordHead(nn.Module):
    """What turns a vector of the encoder towards those of words, and the words' biases."""

    def __init__(self, d_model: int, vocab_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return self.norm(F.gelu(self.transform(vectors)))


class MaskedWords:
    """Cross-entropy of the hidden words, and of the words elsewhere in the text.

    While training, a hidden word is told from some words that are drawn by their frequency, each
    logit corrected by how likely its word is drawn (Jean et al. 2015); judged it is by all words,
    and by nothing else. From the mean over a window's tokens the words of the neighbouring window
    are told, the frequent ones counted less (Mikolov et al. 2013, section 2.3): the mean comes to
    hold what a text is about and how it speaks, as a paragraph's vector does (Le & Mikolov 2014).

    Args:
        model: on its device.
        counts: (V,) how often each word stands in the texts.
        neighbour_weight: of the second loss; 0 leaves it out.
    """

    recordable = True

    def __init__(
        self, model: MaskedLanguageModel, counts: np.ndarray, neighbour_weight: float
    ) -> None:
        self.model, device = model, model.hidden.bias.device
        self.neighbour_weight = neighbour_weight
        self.guessing = math.log(len(counts)) * (1 + neighbour_weight)
        frequencies = torch.from_numpy(counts / counts.sum())
        chances = frequencies**FREQUENCY_POWER
        chances = chances / chances.sum()
        self._cumulative = chances.cumsum(dim=0).to(device)
        self._log_expected = (chances * NEGATIVES).log().float().to(device)
        kept = (RARE / frequencies.clamp_min(1e-12)).sqrt().clamp_max(1) * (frequencies > 0)
        self._kept = kept.float().to(device)
        first = (kept * frequencies).clamp_min(1e-9).log()
        with torch.no_grad():
            model.elsewhere.bias.copy_(first - first.logsumexp(dim=0))

    def losses(self, part: Batch, share: Share, whole: Batch) -> Iterator[Tensor]:
        """The mean over hidden words, and over windows, of the whole batch; one."""
        assert part.places is not None
        features, texts = self.model(part.token_ids, part.padding_mask, part.places, share)
        hidden = (whole.labels != SHOWN).sum().clamp_min(1)
        losses = self._sampled(features, part.labels.clamp_min(0), self._negatives())
        loss = losses.where(part.labels != SHOWN, 0).sum() / copied(hidden, losses.device)
        if self.neighbour_weight:
            assert part.neighbours is not None
            elsewhere = self._elsewhere(texts, part.neighbours).sum() / len(whole.rows)
            loss = loss + self.neighbour_weight * elsewhere
        yield loss

    def _negatives(self) -> Tensor:
        """(NEGATIVES,) words."""
        chances = self._cumulative
        draws = torch.rand(NEGATIVES, dtype=chances.dtype, device=chances.device)
        return torch.searchsorted(chances, draws).clamp_max(len(chances) - 1)

    def _sampled(self, features: Tensor, words: Tensor, negatives: Tensor) -> Tensor:
        """(B, M) losses of hidden words."""
        head, vectors = self.model.hidden, self.model.encoder.embedding.weight
        right = (features * vectors[words]).sum(dim=-1) + head.bias[words]
        others = self.model.logits(head, features, negatives).float()
        others = others - self._log_expected[negatives]
        others = others.masked_fill(negatives == words.unsqueeze(-1), -math.inf)
        logits = torch.cat([right.unsqueeze(-1), others], dim=-1)  # (B, M, 1 + NEGATIVES)
        return logits.logsumexp(dim=-1) - right

    def _elsewhere(self, texts: Tensor, neighbours: Tensor) -> Tensor:
        """(B,) losses of the words of neighbouring windows; 0 where there are none."""
        logits = self.model.logits(self.model.elsewhere, texts).float()
        found = logits.log_softmax(dim=1).gather(1, neighbours)
        weights = self._kept[neighbours]
        return -(found * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1e-6)

    def judge(self, batch: Batch) -> Tensor:
        """Of hidden words, by all words."""
        assert batch.places is not None
        features, _ = self.model(batch.token_ids, batch.padding_mask, batch.places)
        hidden = batch.labels != SHOWN
        logits = self.model.logits(self.model.hidden, features[hidden]).float()
        return judged(logits, batch.labels[hidden])


class Windows(Batches):
    """The batches of texts that are cut into windows, in which some words are hidden.

    Every token of every text is in one window of an epoch. The windows of a text are of one size,
    give or take a token. Of the known words of each the same share is hidden, rounded up; which
    ones varies by epoch.

    Args:
        corpora: the texts as type ids.
        ids_of_types: maps a type id to its vocabulary id.
        params: size and number of windows, and the share of hidden words.
    """

    def __init__(
        self, corpora: Sequence[Corpus], ids_of_types: np.ndarray, params: PretrainParams
    ) -> None:
        texts = np.concatenate([corpus.lengths for corpus in corpora])
        pieces = -(-texts // params.window)
        text = self._text = np.repeat(np.arange(len(texts)), pieces)
        place = np.arange(len(text)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        self._starts = texts[text] * place // pieces[text]
        lengths = texts[text] * (place + 1) // pieces[text] - self._starts
        ends = np.cumsum([len(corpus) for corpus in corpora])
        self._corpus = np.searchsorted(ends, text, side="right")
        self._rows = text - (ends - [len(corpus) for corpus in corpora])[self._corpus]
        super().__init__(lengths, params.batch_size, params.seed)
        self._params, self._corpora, self._ids_of_types = params, corpora, ids_of_types

    def _batch(self, windows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        rng = np.random.default_rng(key)
        token_ids, padding_mask = pad(list(map(self._window, windows)), self._params.window)
        known = token_ids >= len(SPECIAL_TOKENS)
        draws = torch.from_numpy(rng.random(token_ids.shape)).masked_fill(~known, 1.0)
        share = self._params.masked_fraction
        places = draws.argsort(dim=1)[:, : math.ceil(token_ids.shape[1] * share)]
        counts = (known.sum(dim=1, keepdim=True) * share).ceil()
        hidden = torch.arange(places.shape[1]) < counts
        words = token_ids.gather(1, places)
        token_ids = token_ids.scatter(1, places, words.masked_fill(hidden, UNKNOWN))
        neighbours = None
        if self._params.neighbour_weight:
            neighbours, _ = pad(list(map(self._neighbour, windows)), self._params.window)
        labels = words.masked_fill(~hidden, SHOWN)
        return Batch(token_ids, padding_mask, labels, windows, places, neighbours)

    def _neighbour(self, window: int) -> np.ndarray:
        """The window after it, or that before the last; of a text of one window, nothing."""
        for other in (window + 1, window - 1):
            if 0 <= other < len(self._text) and self._text[other] == self._text[window]:
                return self._window(other)
        return self._ids_of_types[:0]

    def _window(self, window: int) -> np.ndarray:
        start = self._starts[window]
        text = self._corpora[self._corpus[window]][int(self._rows[window])]
        return self._ids_of_types[text[start : start + self._lengths[window]]]
