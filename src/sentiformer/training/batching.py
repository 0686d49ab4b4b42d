"""Texts to batches: truncation, buckets of like length, padding.

Everything here is a pure function of its arguments: the batches of an epoch depend on seed and
epoch alone, so a resumed training finds its place by counting.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from sentiformer.model.attention_kernels import LENGTH_MULTIPLE
from sentiformer.text.vocab import PAD, UNKNOWN

Truncation = Literal["head", "tail", "head_tail"]

POOL_BATCHES = 50  # batches whose texts are sorted by length together
MADE_AHEAD = 4  # batches that wait while a GPU computes


class Batch(NamedTuple):
    """Some texts, padded to the longest.

    Attributes:
        token_ids: (B, T) int64.
        padding_mask: (B, T) bool, True where there is padding; None where there is none, for
            which attention is faster.
        labels: (B,) int64 of texts, (B, C) float32 of a class each, or (B, M) int64 of the words
            that are hidden in them.
        rows: which texts of the corpus they are.
        places: (B, M) where in the texts the hidden words stand; None where none is hidden.
    """

    token_ids: Tensor
    padding_mask: Tensor | None
    labels: Tensor
    rows: np.ndarray
    places: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Tokens that are no padding."""
        padding = 0 if self.padding_mask is None else int(self.padding_mask.sum())
        return self.token_ids.numel() - padding

    @property
    def tensors(self) -> list[Tensor]:
        """All of it but the rows."""
        return [of for of in self if isinstance(of, Tensor)]

    @property
    def shapes(self) -> tuple[tuple[int, ...] | None, ...]:
        """Of all that it holds; None of what it lacks."""
        return tuple(None if of is None else tuple(of.shape) for of in self)

    def take(self, rows: slice) -> "Batch":
        """Some of its texts, padded as they are."""
        return self._each(itemgetter(rows))._replace(rows=self.rows[rows])

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; to a GPU it is copied while the GPU computes."""
        return self._each(partial(copied, device=device))

    def _each(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        made: Any = {n: function(of) for n, of in self._asdict().items() if isinstance(of, Tensor)}
        return self._replace(**made)


def copied(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; no GPU is waited for."""
    if tensor.is_cpu and device.type == "cuda":  # only pinned memory is copied without waiting
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def truncate(ids: np.ndarray, max_len: int, truncation: Truncation) -> np.ndarray:
    """Keep at most `max_len` ids: the first, the last, or the first and the last half."""
    if len(ids) <= max_len:
        return ids
    if truncation == "head":
        return ids[:max_len]
    if truncation == "tail":
        return ids[-max_len:]
    head = max_len // 2
    return np.concatenate([ids[:head], ids[head - max_len :]])


def pad(
    texts: Sequence[np.ndarray], max_len: int, multiple: int = LENGTH_MULTIPLE
) -> tuple[Tensor, Tensor | None]:
    """Stack texts of unlike length; an empty one becomes a single unknown word.

    T is the longest length, rounded up to a multiple of `multiple` but not beyond `max_len`.

    Returns:
        (B, T) token ids, and (B, T) padding or None.
    """
    lengths = np.array([len(ids) for ids in texts])
    longest = -(-max(1, lengths.max()) // multiple) * multiple
    places = np.arange(min(longest, max_len))
    token_ids = np.full((len(texts), len(places)), PAD, dtype=np.int64)
    token_ids[:, 0] = UNKNOWN
    token_ids[places < lengths[:, None]] = np.concatenate(texts)
    padding_mask = places >= np.maximum(lengths, 1)[:, None]
    return torch.from_numpy(token_ids), (
        torch.from_numpy(padding_mask) if padding_mask.any() else None
    )


def shuffled_buckets(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Batches of row numbers: random texts, of like length within a batch, in random order."""
    order = rng.permutation(len(lengths))
    pool = batch_size * POOL_BATCHES
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    ordered = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in pools])
    batches = split_rows(ordered, batch_size)
    return [batches[i] for i in rng.permutation(len(batches))]


def sorted_buckets(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Batches of row numbers for judging: every text once, shortest first."""
    return split_rows(np.argsort(lengths, kind="stable"), batch_size)


def split_rows(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut row numbers into batches, the last of which may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def made_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, made in a thread of their own while a GPU computes."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, batches, None) for _ in range(MADE_AHEAD))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, batches, None))
            yield batch


class Batches(ABC):
    """What a training goes through, in batches of like length.

    Args:
        lengths: tokens of each item, be it a text or a piece of one.
        batch_size: items in a batch.
        seed: of their order, and of all else that chance decides in an epoch.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._lengths) // self._batch_size)

    def epoch(self, epoch: int, *, skip: int = 0) -> Iterator[Batch]:
        """Yield the training batches of an epoch, from number `skip` on."""
        rng = np.random.default_rng([self._seed, epoch])
        buckets = shuffled_buckets(self._lengths, self._batch_size, rng)
        for number, rows in enumerate(buckets[skip:], start=skip):
            yield self._batch(rows, [self._seed, epoch, number], training=True)

    def in_order_of_length(self) -> Iterator[Batch]:
        """Yield everything once, shortest first, for judging: the same batches each time."""
        for number, rows in enumerate(sorted_buckets(self._lengths, self._batch_size)):
            yield self._batch(rows, [number], training=False)

    @abstractmethod
    def _batch(self, rows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        """Make the batch of some items; `key` seeds what chance decides in it."""


class Texts(Protocol):
    """Texts as type ids, such as a `Corpus`; (N,) labels, or (N, C) probabilities of them."""

    lengths: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """N."""

    def __getitem__(self, index: int) -> np.ndarray:
        """The type ids of a text."""


class Batcher(Batches):
    """Makes the batches of a corpus.

    Args:
        corpus: the texts as type ids.
        ids_of_types: maps a type id to its vocabulary id.
        batch_size: texts in a batch.
        max_len: tokens that are kept of a text.
        truncation: which part of a longer text is kept.
        seed: of the order of the texts, and of the words that are dropped.
        word_dropout: probability with which a word of a training batch becomes an unknown one.
    """

    def __init__(
        self,
        corpus: Texts,
        ids_of_types: np.ndarray,
        *,
        batch_size: int,
        max_len: int,
        truncation: Truncation,
        seed: int = 0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__(np.minimum(corpus.lengths, max_len), batch_size, seed)
        self.corpus = corpus
        self._ids_of_types = ids_of_types
        self._max_len = max_len
        self._truncation: Truncation = truncation
        self._word_dropout = word_dropout

    def _batch(self, rows: np.ndarray, key: list[int], *, training: bool) -> Batch:
        texts = [
            self._ids_of_types[truncate(self.corpus[row], self._max_len, self._truncation)]
            for row in rows.tolist()
        ]
        if training and self._word_dropout:
            drop = np.random.default_rng(key)
            texts = [np.where(drop.random(len(t)) < self._word_dropout, UNKNOWN, t) for t in texts]
        labels = self.corpus.labels[rows]
        kind = np.int64 if labels.ndim == 1 else np.float32
        return Batch(*pad(texts, self._max_len), torch.from_numpy(labels.astype(kind)), rows)
