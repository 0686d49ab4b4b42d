"""Batches of the tokens that a pretrained encoder reads."""

from typing import Any

import numpy as np
import torch

from sentiformer.encoder.tokens import EncoderTokenizer
from sentiformer.text.corpus import Corpus
from sentiformer.training.batching import Batch, TextBatches, pad


class EncoderBatches(TextBatches):
    """Batches of texts as the encoder reads them; see `TextBatches`."""

    def __init__(self, texts: Corpus, tokenizer: EncoderTokenizer, **settings: Any) -> None:
        super().__init__(texts, np.zeros(0, dtype=np.int64), **settings)
        self._lengths = np.minimum(texts.lengths + tokenizer.added, self._max_len)
        self._tokenizer = tokenizer

    def _batch(self, rows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        framed = [self._tokenizer.framed(self.texts[row], self._max_len) for row in rows.tolist()]
        padded = pad(framed, self._max_len, padding=self._tokenizer.padding)
        return Batch(*padded, torch.from_numpy(self._labels[rows]), rows)
