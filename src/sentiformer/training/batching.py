"""Batches of texts: truncation, buckets of similar length, padding.

The batches of an epoch depend on seed and epoch alone, so a resumed training skips those it has
done.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sentiformer.model.attention_kernels import LENGTH_MULTIPLE
from sentiformer.text.corpus import Corpus
from sentiformer.text.truncation import truncate
from sentiformer.text.vocab import PAD, UNKNOWN

POOL_BATCHES = 50  # number of batches with texts that are sorted by length together
PREFETCHED = 4  # batches that are prepared while a GPU computes


class Batch(NamedTuple):
    """Some texts, padded to the longest.

    Attributes:
        token_ids: (B, T) int64.
        padding_mask: (B, T) bool, True at padding; None without padding, where attention is faster.
        labels: (B,) int64 classes, (B, C) float32 probabilities of the classes, or (B, M) int64
            masked words.
        rows: (B,) the numbers of the texts in their corpus.
        places: (B, M) positions of the masked words; None in classification.
    """

    token_ids: Tensor
    padding_mask: Tensor | None
    labels: Tensor
    rows: np.ndarray
    places: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens, without padding."""
        padding = 0 if self.padding_mask is None else int(self.padding_mask.sum())
        return self.token_ids.numel() - padding

    def take(self, rows: slice) -> "Batch":
        """Some texts of the batch, with the same padding."""
        return Batch._make(None if value is None else value[rows] for value in self)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; see `to_device`."""
        return Batch._make(
            to_device(value, device) if isinstance(value, Tensor) else value for value in self
        )


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; a GPU continues to compute while it is copied."""
    if tensor.is_cpu and device.type == "cuda":  # only pinned memory is copied without waiting
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def pad(
    texts: Sequence[np.ndarray], max_len: int, multiple: int = LENGTH_MULTIPLE, padding: int = PAD
) -> tuple[Tensor, Tensor | None]:
    """Stack texts of different lengths; an empty text becomes a single unknown word.

    T is the greatest length, rounded up to a multiple of `multiple` but at most `max_len`.

    Returns:
        (B, T) token ids, and (B, T) padding or None.
    """
    lengths = np.array([len(ids) for ids in texts])
    longest = -(-max(1, lengths.max()) // multiple) * multiple
    places = np.arange(min(longest, max_len))
    token_ids = np.full((len(texts), len(places)), padding, dtype=np.int64)
    token_ids[:, 0] = UNKNOWN
    token_ids[places < lengths[:, None]] = np.concatenate(texts)
    padding_mask = places >= np.maximum(lengths, 1)[:, None]
    mask = torch.from_numpy(padding_mask) if padding_mask.any() else None
    return torch.from_numpy(token_ids), mask


def shuffled_buckets(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Row numbers in batches of random texts, similar in length within a batch, in random order."""
    pools = split_rows(rng.permutation(len(lengths)), batch_size * POOL_BATCHES)
    ordered = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in pools])
    batches = split_rows(ordered, batch_size)
    return [batches[i] for i in rng.permutation(len(batches))]


def split_rows(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Divide row numbers into batches; the last may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def prefetch(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, prepared in a thread while a GPU computes."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, batches, None) for _ in range(PREFETCHED))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, batches, None))
            yield batch


class Batches(ABC):
    """Batches of items of similar length; an item is a text or a window of a text.

    `lengths` are the numbers of tokens of the items. The seed decides the order of the items, and
    what is random within a batch.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self._lengths) // self._batch_size)

    @property
    def items(self) -> int:
        """Number of items in an epoch."""
        return len(self._lengths)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
        """Yield the training batches of an epoch, from number `skip` on."""
        rng = np.random.default_rng([self._seed, epoch])
        buckets = shuffled_buckets(self._lengths, self._batch_size, rng)
        for number, rows in enumerate(buckets[skip:], start=skip):
            yield self._batch(rows, [self._seed, epoch, number], training=True)

    def in_order_of_length(self) -> Iterator[Batch]:
        """Yield every item once, shortest first, for evaluation: the same batches each time."""
        order = np.argsort(self._lengths, kind="stable")
        for number, rows in enumerate(split_rows(order, self._batch_size)):
            yield self._batch(rows, [number], training=False)

    @abstractmethod
    def _batch(self, rows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        """Make the batch of some items; `key` seeds what is random in it."""


class TextBatches(Batches):
    """Batches of whole texts.

    Args:
        texts: as type ids.
        ids_of_types: (types,) vocabulary id of each type.
        labels: (N,) classes, or (N, C) float32 probabilities of them; None: those of `texts`.
    """

    def __init__(
        self,
        texts: Corpus,
        ids_of_types: np.ndarray,
        *,
        batch_size: int,
        max_len: int,
        labels: np.ndarray | None = None,
        seed: int = 0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__(np.minimum(texts.lengths, max_len), batch_size, seed)
        self.texts, self._ids_of_types = texts, ids_of_types
        labels = texts.labels if labels is None else labels
        self._labels = labels if labels.ndim == 2 else labels.astype(np.int64)
        self._max_len, self._word_dropout = max_len, word_dropout

    def _batch(self, rows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        texts = [
            self._ids_of_types[truncate(self.texts[row], self._max_len)] for row in rows.tolist()
        ]
        if training and self._word_dropout:
            drop = np.random.default_rng(key)
            texts = [np.where(drop.random(len(t)) < self._word_dropout, UNKNOWN, t) for t in texts]
        return Batch(*pad(texts, self._max_len), torch.from_numpy(self._labels[rows]), rows)
