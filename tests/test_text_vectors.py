"""Vectors of texts, against the likelihood that they are to make large, and as a teacher."""

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import RUNTIME
from scipy.sparse import csr_array
from test_ngrams import write_texts
from torch.nn import functional as F

from sentiformer.baselines import text_vectors
from sentiformer.baselines.text_vectors import (
    BY_CHANCE,
    NGRAM_EXPONENT,
    SCALE,
    Side,
    count_ngrams,
    kernel_regression,
    label_by_text_vectors,
    likelihood_ratios,
)
from sentiformer.core.errors import UserError
from sentiformer.text.corpus import Corpus

TOPICS = 3


def texts_of_topics(texts=90, words=20, length=12, seed=0):
    """Texts of a topic each, (texts, n-grams): two words in three are its own."""
    rng = np.random.default_rng(seed)
    topics = np.arange(texts) % TOPICS
    counts = np.zeros((texts, TOPICS * words), dtype=np.float32)
    for text, topic in enumerate(topics):
        own = rng.random(length) < 2 / 3
        found = np.where(own, topic * words, 0) + rng.integers(
            0, np.where(own, words, TOPICS * words)
        )
        np.add.at(counts[text], found, 1)
    return csr_array(counts), topics


def log_likelihood(own, other, pairs, mass, chances):
    """Of the weighted pairs that stand together, and of those by chance, each written out."""
    cosines = F.normalize(own) @ F.normalize(other).T
    together = torch.from_numpy(pairs.toarray())
    logits = SCALE * cosines - math.log(BY_CHANCE)
    by_chance = mass[:, None] * chances
    return (F.logsigmoid(logits) * together + F.logsigmoid(-logits) * by_chance).sum()


def points(count, seed=0, dimensions=8):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dimensions, generator=generator))


@pytest.fixture
def sides():
    """Weighted pairs, and what moves: texts, and n-grams."""
    counts, _ = texts_of_topics()
    weights = np.random.default_rng(1).uniform(0.5, 4, counts.shape[1]).astype(np.float32)
    pairs = (counts.sign() * weights).tocsr()
    return pairs, Side.of(pairs, 1.0, 50), Side.of(pairs.T.tocsr(), NGRAM_EXPONENT, 200_000)


def test_an_ngram_weighs_as_many_times_as_it_is_likelier_in_a_class():
    """Columns: what only class 0, only 1, all, none has, and an unlabelled text alone."""
    rows = [[3, 0, 1, 0, 0], [1, 0, 1, 0, 0], [1, 0, 2, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 0, 9]]
    counts = csr_array(np.array(rows, dtype=np.float32))
    found = likelihood_ratios(counts, np.array([0, 0, 0, 1]))
    assert found == pytest.approx([(4 + 3 / 0.75) / 4, (4 + 1 / 0.25) / 4, 1, 1, 1])
    assert found.dtype == np.float32


def test_of_several_classes_the_one_that_an_ngram_tells_most_of_counts():
    counts = csr_array(np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2]])
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert likelihood_ratios(counts, labels) == pytest.approx([(3 + 2 * 3) / 3] * 3)
    assert likelihood_ratios(counts, labels % 2) == pytest.approx([2, 3, 2])


def test_the_chance_of_an_ngram_is_its_smoothed_weight(sides):
    pairs, texts, ngrams = sides
    sums = pairs.toarray().sum(axis=0) ** 0.75
    assert ngrams.chances.numpy() == pytest.approx(sums / sums.sum())
    of_texts = pairs.toarray().sum(axis=1)
    assert texts.chances.numpy() == pytest.approx(of_texts / of_texts.sum())
    assert texts.mass.numpy() == pytest.approx(BY_CHANCE * of_texts), "as much as stands together"


def test_draws_follow_the_chances(sides):
    ngrams = sides[2]
    drawn = np.bincount(ngrams.draw(torch.Generator().manual_seed(1)), minlength=len(ngrams))
    assert drawn / 200_000 == pytest.approx(ngrams.chances.numpy(), abs=0.003)


@pytest.mark.parametrize("move", ["texts", "ngrams"])
def test_a_move_ends_where_the_likelihood_is_largest(sides, move):
    pairs, texts, ngrams = sides
    own, other = (texts, ngrams) if move == "texts" else (ngrams, texts)
    matrix = pairs if move == "texts" else pairs.T.tocsr()
    drawn = own_draws(other, 4000)
    vectors, others = points(len(own)), points(len(other), seed=1)
    mass = BY_CHANCE * matrix.sum() * own.chances.float()
    chances = torch.bincount(drawn, minlength=len(other)) / len(drawn)

    def value(of):
        return log_likelihood(of, others, matrix, mass, chances)

    found = [value(vectors).item()]
    for _ in range(150):
        own.move(vectors, others, drawn)
        found.append(value(vectors).item())
    assert all(after > before - 0.02 for before, after in pairwise(found)), "no step is too long"
    left, first = (gradients(value, of) for of in (vectors, points(len(own))))
    share = (left < 0.02 * first.mean()).float().mean()
    assert share > 0.9, "nearly everywhere nothing is left to gain on the sphere"
    assert vectors.norm(dim=1) == pytest.approx(torch.ones(len(own)), abs=1e-5)


def gradients(value, of):
    """The (M,) lengths of a value's gradients by each point."""
    of = of.clone().requires_grad_()
    (found,) = torch.autograd.grad(value(of), of)
    return found.norm(dim=1)


def own_draws(side, count):
    """About as many of each as its chance says."""
    return torch.repeat_interleave((side.chances * count).round().long())


def test_blocks_change_nothing(sides, monkeypatch):
    _, texts, ngrams = sides
    drawn, others = own_draws(ngrams, 1000), points(len(ngrams))
    whole, parts = points(len(texts), seed=1), points(len(texts), seed=1)
    texts.move(whole, others, drawn)
    monkeypatch.setattr(text_vectors, "PAIRS_AT_ONCE", 40)
    monkeypatch.setattr(text_vectors, "POINTS_AT_ONCE", 3)
    texts.move(parts, others, drawn)
    assert parts.numpy() == pytest.approx(whole.numpy(), abs=1e-5)


def test_texts_of_a_topic_come_to_lie_together():
    counts, topics = texts_of_topics(texts=200)
    vectors = text_vectors.text_vectors(counts, dimensions=8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(vectors)), abs=1e-5)
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert (topics[cosines.argmax(axis=1)] == topics).mean() > 0.9
    assert (text_vectors.text_vectors(counts, dimensions=8) == vectors).all(), "the same bits"


def test_texts_without_an_ngram_have_a_vector_too(monkeypatch):
    monkeypatch.setattr(text_vectors, "POINTS_AT_ONCE", 10)  # a block of nothing else
    counts, _ = texts_of_topics()
    counts = csr_array(np.vstack([counts.toarray(), np.zeros((25, counts.shape[1]))]))
    vectors = text_vectors.text_vectors(counts, dimensions=8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(115), abs=1e-5)


def test_only_frequent_ngrams_count(tmp_path):
    texts = write_texts(tmp_path / "texts.arrow", [[1, 2, 3]] * 5 + [[4, 5]] * 4)
    assert count_ngrams(texts).shape == (9, 6)
    with pytest.raises(UserError, match=r"no word stands 5 times .*set teach\.by to nb_trigrams"):
        count_ngrams(write_texts(tmp_path / "few.arrow", [[1, 2]] * 4))


def test_any_number_of_classes_is_told(tmp_path):
    rng = np.random.default_rng(0)

    def write(name, labels):
        texts = [rng.integers(20 * label, 20 * label + 20, 12).tolist() for label in labels]
        write_texts(tmp_path / f"{name}.arrow", texts, labels)

    actual = np.arange(40) % TOPICS
    write("train", np.arange(60) % TOPICS)
    write("unlabeled", actual)
    found = label_by_text_vectors(tmp_path, RUNTIME).probabilities
    assert found.shape == (40, TOPICS)
    assert found.sum(axis=1) == pytest.approx(np.ones(40))
    assert (found.argmax(axis=1) == actual).mean() > 0.95


def test_a_pair_weighs_what_its_ngram_tells_however_often_it_stands_there(tmp_path, monkeypatch):
    fitted = []
    fit = text_vectors.text_vectors
    monkeypatch.setattr(
        text_vectors, "text_vectors", lambda pairs: fitted.append(pairs) or fit(pairs)
    )
    texts, labels = [[1, 1, 2], [1, 3], [2, 3]] * 6, [0, 1, 1] * 6
    train = write_texts(tmp_path / "train.arrow", texts, labels)
    write_texts(tmp_path / "unlabeled.arrow", [[1, 2, 2], [4]])
    label_by_text_vectors(tmp_path, RUNTIME)
    counts = count_ngrams(Corpus(tmp_path / "train.arrow", tmp_path / "unlabeled.arrow"))
    assert counts.max() == 2
    expected = counts.toarray().clip(max=1) * likelihood_ratios(counts, train.labels)
    assert fitted[0].toarray() == pytest.approx(expected)
    assert expected.max() > 1.5


def test_the_regression_tells_what_no_plane_divides():
    vectors = np.random.default_rng(0).standard_normal((1500, 2)) * [1, 100]
    far = (np.linalg.norm(vectors / [1, 100], axis=1) > 1.2).astype(int)
    found = kernel_regression(vectors[:1000], far[:1000], vectors[1000:])
    assert found.sum(axis=1) == pytest.approx(np.ones(500))
    assert (found.argmax(axis=1) == far[1000:]).mean() > 0.95


def test_no_unlabelled_text_is_one_line(tmp_path):
    write_texts(tmp_path / "train.arrow", [[1, 2]] * 6, [0, 1] * 3)
    write_texts(tmp_path / "unlabeled.arrow", [], [])
    with pytest.raises(UserError, match=r"unlabeled\.arrow holds no text"):
        label_by_text_vectors(tmp_path, RUNTIME)


def test_nobody_who_teaches_by_vectors_needs_no_torch():
    code = "import sys, pipeline.teach; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
