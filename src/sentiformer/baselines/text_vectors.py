"""Vectors of texts, learnt without a label, and what they say about the texts that have none.

Every text and every n-gram has a point on a sphere, and an n-gram is the likelier to stand in a
text the nearer their points are: where pairs of the two are drawn from the texts, and five times
as often by chance, the sigmoid of a multiple of the cosine tells which pair is of which kind
(Thongtan & Phienthrakul 2019, section 3). There gradient steps move one point after another. Here
all texts move at once, then all n-grams, each by a step of Newton's method whose curvature is that
of the other side's points together. It needs no learning rate, and few rounds. A pair weighs the
more the more its n-gram tells of a class, as in naive Bayes subsampling (Zhang & Arefyev 2022).

Shapes: M points that move, N of the other side, D dimensions, P pairs that stand together.
"""

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sentiformer.console import progress
from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.runtime import Runtime
from sentiformer.features.ngrams import NGrams
from sentiformer.text.corpus import Corpus, nonempty_corpus

if TYPE_CHECKING:
    from scipy.sparse import csr_array

DIMENSIONS = 128
MAX_N, MIN_COUNT = 3, 5  # of the n-grams
ALPHA = 1.0  # texts that are added to a class's, or to the others', with each n-gram
SCALE = 6.0  # of a cosine as a logit
BY_CHANCE = 5.0  # pairs drawn by chance, for each that stands together
NGRAM_EXPONENT = 0.75  # of an n-gram's frequency, when it is drawn by chance
NGRAMS_DRAWN, TEXTS_DRAWN = 2048, 512  # of those that stand for all, anew in each step
ROUNDS = 10
TEXT_STEPS = 2  # of a round; the n-grams, of which there are more, take one
CURVATURE = 0.6  # mean slope of the sigmoids, as a share of their distance from the truth
LEAST_TENSION = 0.1  # of the sphere, where nothing pulls a point outwards
PAIRS_AT_ONCE = 2**20  # whose cosines are held in memory
POINTS_AT_ONCE = 2**12  # whose products with all drawn points are held
LANDMARKS = 1000  # texts that stand for all in the kernel
LOGISTIC_C = 10.0  # of the regression
SEED = 0


class Labels(NamedTuple):
    """What text vectors say: (N, C) probabilities, the seconds and the environment of the fit."""

    probabilities: np.ndarray
    seconds: float
    environment: dict[str, str | int]


def label_by_text_vectors(tokens: Path, runtime: Runtime) -> Labels:
    """The probabilities of the unlabelled texts' classes, by kernel regression on their vectors.

    The vectors are learnt from train and the unlabelled texts together; no other split is read.

    Raises:
        UserError: a split is missing, corrupt or empty, or no n-gram is frequent enough.
    """
    started = time.perf_counter()
    device = prepare_device(runtime.model_copy(update={"device": "cpu"}))
    paths = [tokens / f"{split}.arrow" for split in PRETRAINING_SPLITS]
    train, _ = map(nonempty_corpus, paths)
    pairs = count_ngrams(Corpus(*paths))
    pairs.data[:] = likelihood_ratios(pairs, train.labels)[pairs.indices]  # instead of counts
    vectors = text_vectors(pairs)
    found = kernel_regression(vectors[: len(train)], train.labels, vectors[len(train) :])
    return Labels(found, time.perf_counter() - started, device.environment)


def count_ngrams(texts: Corpus) -> "csr_array":
    """How often each frequent n-gram stands in each text: (texts, n-grams).

    Raises:
        UserError: none is frequent enough.
    """
    ngrams, counts = NGrams.learn(texts, max_n=MAX_N, min_count=MIN_COUNT)
    if not len(ngrams):
        raise UserError(
            f"no word stands {MIN_COUNT} times in train and the unlabelled texts; for vectors of "
            "texts give more of them, or set teach.by to nb_trigrams or nobody"
        )
    return counts


def likelihood_ratios(counts: "csr_array", labels: np.ndarray) -> np.ndarray:
    """How much each n-gram tells of a class: (n-grams,) float32, 1 where nothing.

    It is how many times as often it stands in texts of a class as in others, or the other way
    round, whichever is most; by the (N,) labels of the first N texts.
    """
    of_class = labels == np.unique(labels)[:, None]  # (C, N)
    found = of_class.astype(np.float32) @ counts[: len(labels)].sign()  # exact, as they are whole
    share = of_class.mean(axis=1, keepdims=True)
    more = ALPHA / np.minimum(share, 1 - share)
    ratios = (more + found / share) / (more + (found.sum(axis=0) - found) / (1 - share))
    return np.maximum(ratios, 1 / ratios).max(axis=0).astype(np.float32)


def text_vectors(pairs: "csr_array", *, dimensions: int = DIMENSIONS) -> np.ndarray:
    """The (texts, D) float32 vectors of length 1 of texts, by which n-grams stand in them.

    Args:
        pairs: (texts, n-grams) float32, the weight of each pair that stands together.
    """
    texts = Side.of(pairs, 1.0, TEXTS_DRAWN)
    ngrams = Side.of(pairs.T.tocsr(), NGRAM_EXPONENT, NGRAMS_DRAWN)
    generator = torch.Generator().manual_seed(SEED)
    of_texts, of_ngrams = (
        F.normalize(torch.randn(len(side), dimensions, generator=generator))
        for side in (texts, ngrams)
    )
    for number in progress(range(ROUNDS), total=ROUNDS, what="vectors of texts, rounds"):
        if number:
            ngrams.move(of_ngrams, of_texts, texts.draw(generator))
        for _ in range(TEXT_STEPS):
            texts.move(of_texts, of_ngrams, ngrams.draw(generator))
    return of_texts.numpy()


@dataclass(frozen=True)
class Side:
    """One of the two sides, the texts or the n-grams: which of the other stand with each of it.

    Attributes:
        starts: (M + 1,) where the partners of each begin.
        partners: (P,) numbers of the other side.
        weights: (P,) of the pairs.
        chances: (M,) of being drawn by chance.
        mass: (M,) weight of what is drawn by chance for each.
        drawn: how many of them stand for all, anew in each step.
    """

    starts: Tensor
    partners: Tensor
    weights: Tensor
    chances: Tensor
    mass: Tensor
    drawn: int

    @classmethod
    def of(cls, pairs: "csr_array", exponent: float, drawn: int) -> Self:
        """The rows of (M, N) pairs, drawn as the sum of their weights to the power `exponent`."""
        sums = torch.from_numpy(pairs.sum(axis=1, dtype=np.float64))
        chances = sums**exponent / (sums**exponent).sum()
        return cls(
            torch.from_numpy(pairs.indptr.astype(np.int64)),
            torch.from_numpy(pairs.indices.astype(np.int64)),
            torch.from_numpy(pairs.data),
            chances,
            (BY_CHANCE * sums.sum() * chances).float(),
            drawn,
        )

    def __len__(self) -> int:
        """M."""
        return len(self.chances)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Some of them by chance."""
        places = torch.rand(self.drawn, generator=generator, dtype=torch.float64)
        return torch.searchsorted(self.chances.cumsum(0), places).clamp_max(len(self) - 1)

    def move(self, own: Tensor, other: Tensor, drawn: Tensor) -> None:
        """Move all points, (M, D), one step towards the likeliest; the other side's, (N, D), rest.

        At the best place the pull of all partners, less that of what is drawn by chance, points
        outwards, so it is parallel to the point. The pull is taken to fall with the distance as
        the sigmoids' slopes have it, along the axes in which the other side's points lie.
        """
        by_chance = other[drawn]
        spread, axes = torch.linalg.eigh((other.T @ other / len(other)).double())
        stiffness, axes = SCALE * CURVATURE * spread.float(), axes.float()
        for rows in self._blocks():
            points = own[rows]
            pull = self._pull(rows, points, other, by_chance)  # (rows, D), in units of its weight
            tension = torch.linalg.vecdot(points, pull)[:, None]
            along = pull.addcmul_(tension, points, value=-1) @ axes  # the sphere
            step = along.div_(tension.clamp_min(LEAST_TENSION) + stiffness)
            own[rows] = F.normalize(points + step @ axes.T)

    def _pull(self, rows: slice, points: Tensor, other: Tensor, by_chance: Tensor) -> Tensor:
        """The mean of the other side's points, weighted by how wrong each pair's sigmoid is."""
        starts = self.starts[rows.start : rows.stop + 1]
        pairs, starts = slice(starts[0], starts[-1]), starts - starts[0]
        partners = self.partners[pairs]
        cosines = _cosines(points, other, starts, partners)
        missed = torch.sigmoid(math.log(BY_CHANCE) - SCALE * cosines).mul_(self.weights[pairs])
        bias = torch.full((len(by_chance),), -math.log(BY_CHANCE))
        mistaken = torch.addmm(bias, points, by_chance.T, alpha=SCALE).sigmoid_()
        mass = self.mass[rows] / len(by_chance)
        pull = F.embedding_bag(
            partners, other, starts[:-1], mode="sum", per_sample_weights=missed
        ).addcmul_(mass[:, None], mistaken @ by_chance, value=-1)
        weight = torch.segment_reduce(missed, "sum", lengths=starts.diff())
        weight.addcmul_(mass, mistaken.sum(dim=1))
        return pull.div_(weight.clamp_min_(torch.finfo(torch.float32).tiny)[:, None])

    def _blocks(self) -> Iterator[slice]:
        """Slices of points with some `PAIRS_AT_ONCE` pairs, `POINTS_AT_ONCE` points at most."""
        start = 0
        while start < len(self):
            full = int(torch.searchsorted(self.starts, self.starts[start] + PAIRS_AT_ONCE))
            stop = min(max(full, start + 1), start + POINTS_AT_ONCE, len(self))
            yield slice(start, stop)
            start = stop


def _cosines(points: Tensor, other: Tensor, starts: Tensor, partners: Tensor) -> Tensor:
    """The (P,) products of each point with its partners."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        size = len(points), len(other)
        pairs = torch.sparse_csr_tensor(
            starts, partners, torch.zeros(len(partners)), size, check_invariants=False
        )
    return torch.sparse.sampled_addmm(pairs, points, other.T).values()


def kernel_regression(learnt: np.ndarray, labels: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """The (N, C) probabilities of the classes of the judged (N, D), by those that are learnt from.

    A logistic regression of standardized vectors with a Gaussian kernel, for which some of those
    learnt from stand (Williams & Seeger 2001).
    """
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    texts, dimensions = learnt.shape
    kernel = Nystroem(gamma=1 / dimensions, n_components=min(LANDMARKS, texts), random_state=SEED)
    model = make_pipeline(StandardScaler(), kernel, LogisticRegression(C=LOGISTIC_C, max_iter=1000))
    with threadpool_limits(1):  # the bits do not depend on the number of cores
        return model.fit(learnt, labels).predict_proba(judged)
