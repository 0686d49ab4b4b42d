"""Numbers of n-grams in NumPy and torch, and counts of n-grams equal to those of a plain loop."""

from collections import Counter

import numpy as np
import pytest
import torch

from sentiformer.baselines import ngram_counts
from sentiformer.baselines.ngram_counts import count_ngrams
from sentiformer.text.corpus import Block, Corpus, write_corpus
from sentiformer.text.ngrams import ngram_keys, ngram_numbers

LARGEST = 2**31 - 1  # type id that a corpus can hold


def write_texts(path, texts, labels=None, block=4):
    """Write texts, lists of type ids, as a corpus of several blocks, and open it."""
    labels = np.zeros(len(texts), dtype=int) if labels is None else np.asarray(labels)

    def blocks():
        for start in range(0, len(texts), block):
            part = texts[start : start + block]
            ids = np.array([i for text in part for i in text], dtype=np.int32)
            yield Block(ids, np.array([len(t) for t in part]), labels[start : start + block])

    write_corpus(path, blocks())
    return Corpus(path)


def random_texts(seed, texts=23, types=5, longest=11):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, types, rng.integers(0, longest)).tolist() for _ in range(texts)]


def ngrams_of(text, max_n):
    """All n-grams of a text, n up to `max_n`."""
    return [tuple(text[i : i + n]) for n in range(1, max_n + 1) for i in range(len(text) - n + 1)]


def spelled(vocabulary):
    """The n-grams of a vocabulary as tuples of type ids, in their order."""
    words = shorter = found = [(key - 1,) for key in vocabulary[0].tolist()]
    for keys in vocabulary[1:]:
        parts = [divmod(key, 1 + len(words)) for key in keys.tolist()]
        shorter = [shorter[before - 1] + words[last - 1] for before, last in parts]
        found = found + shorter
    return found


@pytest.mark.parametrize("to_array", [np.array, torch.tensor])
def test_numbers_are_1_plus_the_position_of_the_key_and_0_for_unknown_ngrams(to_array):
    words = to_array([[2, 3, 4, 2, 3, 0, 3, 4], [3, 4, 2, 3, 4, 4, 0, 0]])
    bigrams = to_array([2 * 5 + 3, 3 * 5 + 4])
    keys = ngram_keys(words, words, 5)
    assert keys.tolist() == [[0, 13, 19, 22, 13, 0, 0, 19], [0, 19, 22, 13, 19, 24, 0, 0]]
    numbers = ngram_numbers(keys, bigrams)
    assert numbers.tolist() == [[0, 1, 2, 0, 1, 0, 0, 2], [0, 2, 0, 1, 2, 0, 0, 0]]
    keys = ngram_keys(numbers, words, 5)
    assert keys.tolist() == [[0, 0, 9, 12, 0, 0, 0, 0], [0, 0, 12, 0, 9, 14, 0, 0]]
    assert ngram_numbers(keys, to_array([9])).tolist() == (to_array(keys.tolist()) == 9).tolist()
    assert not ngram_numbers(keys, bigrams[:0]).any(), "no n-gram is known"


@pytest.mark.parametrize("max_n", [1, 2, 3])
@pytest.mark.parametrize("min_count", [1, 2, 7])
def test_counts_are_those_of_a_plain_loop(tmp_path, monkeypatch, max_n, min_count):
    monkeypatch.setattr(ngram_counts, "MIN_COUNT", min_count)
    train, other = random_texts(0), random_texts(1, types=7)
    total = Counter(ngram for text in train for ngram in ngrams_of(text, max_n))
    frequent = {ngram for ngram, count in total.items() if count >= min_count}
    corpus = write_texts(tmp_path / "train.arrow", train)
    known, train_counts = count_ngrams(corpus, [None] * max_n)
    names = spelled(known)
    assert set(names) == frequent
    assert len(names) == len(frequent), "each has one column"
    for texts, found in (
        (train, train_counts),
        (train, count_ngrams(corpus, known)[1]),
        (other, count_ngrams(write_texts(tmp_path / "other.arrow", other), known)[1]),
    ):
        assert found.shape == (len(texts), len(names))
        for text, row in zip(texts, found.toarray(), strict=True):
            expected = Counter(ngram for ngram in ngrams_of(text, max_n) if ngram in frequent)
            assert {n: c for n, c in zip(names, row, strict=True) if c} == expected


@pytest.fixture
def keep_all(monkeypatch):
    """Keep n-grams that occur once."""
    monkeypatch.setattr(ngram_counts, "MIN_COUNT", 1)


@pytest.mark.usefixtures("keep_all")
def test_the_largest_type_ids_are_distinguished(tmp_path):
    texts = [[LARGEST, 0], [0, LARGEST], [LARGEST, LARGEST], [LARGEST - 1, 1]]
    corpus = write_texts(tmp_path / "train.arrow", texts)
    known, train_counts = count_ngrams(corpus, [None] * 2)
    names = spelled(known)
    for counts in (train_counts, count_ngrams(corpus, known)[1]):
        for text, row in zip(texts, counts.toarray(), strict=True):
            assert row[names.index(tuple(text))] == 1
    assert len(names) == 4 + 4


@pytest.mark.usefixtures("keep_all")
def test_counts_are_32_bit(tmp_path):
    corpus = write_texts(tmp_path / "train.arrow", random_texts(0))
    known, train_counts = count_ngrams(corpus, [None] * 2)
    for counts in (train_counts, count_ngrams(corpus, known)[1]):
        assert counts.dtype == np.float32
        assert counts.indices.dtype == counts.indptr.dtype == np.int32
        assert counts.has_canonical_format


@pytest.mark.usefixtures("keep_all")
@pytest.mark.parametrize("texts", [[], [[]], [[], [3], []]])
def test_empty_texts_have_no_ngrams(tmp_path, texts):
    corpus = write_texts(tmp_path / "train.arrow", texts)
    known, train_counts = count_ngrams(corpus, [None] * 3)
    assert spelled(known) == [(3,)] * (len(texts) == 3)
    for counts in (train_counts, count_ngrams(corpus, known)[1]):
        assert counts.sum() == sum(map(len, texts))
        assert counts.shape == (len(texts), len(spelled(known)))
