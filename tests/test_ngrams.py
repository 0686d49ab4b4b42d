"""N-grams as a plain loop over Python lists counts them."""

from collections import Counter

import numpy as np
import pytest

from sentiformer.features.ngrams import NGrams
from sentiformer.text.corpus import Block, Corpus, write_corpus

LARGEST = 2**31 - 1  # of the ids that a corpus can hold


def write_texts(path, texts, labels=None, block=4):
    """Write texts, lists of type ids, as a corpus of several blocks; open it."""
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
    """All runs of at most `max_n` tokens of a text."""
    return [tuple(text[i : i + n]) for n in range(1, max_n + 1) for i in range(len(text) - n + 1)]


def spelled(ngrams):
    """The n-grams of a vocabulary as tuples of type ids, in their order."""
    shorter, found = [()], []
    for keys in ngrams.keys:
        shorter = [(*shorter[key >> 31], key & LARGEST) for key in keys.tolist()]
        found += shorter
    return found


@pytest.mark.parametrize("max_n", [1, 2, 3])
@pytest.mark.parametrize("min_count", [1, 2, 7])
def test_counts_are_those_of_a_plain_loop(tmp_path, max_n, min_count):
    train, other = random_texts(0), random_texts(1, types=7)
    total = Counter(ngram for text in train for ngram in ngrams_of(text, max_n))
    frequent = {ngram for ngram, count in total.items() if count >= min_count}
    corpus = write_texts(tmp_path / "train.arrow", train)
    ngrams, learnt = NGrams.learn(corpus, max_n=max_n, min_count=min_count)
    names = spelled(ngrams)
    assert set(names) == frequent
    assert len(names) == len(ngrams) == len(frequent), "each has one column"
    for texts, found in (
        (train, learnt),
        (train, ngrams.count(corpus)),
        (other, ngrams.count(write_texts(tmp_path / "other.arrow", other))),
    ):
        assert found.shape == (len(texts), len(ngrams))
        for text, row in zip(texts, found.toarray(), strict=True):
            expected = Counter(ngram for ngram in ngrams_of(text, max_n) if ngram in frequent)
            assert {n: c for n, c in zip(names, row, strict=True) if c} == expected


def test_the_largest_ids_are_told_apart(tmp_path):
    texts = [[LARGEST, 0], [0, LARGEST], [LARGEST, LARGEST], [LARGEST - 1, 1]]
    corpus = write_texts(tmp_path / "train.arrow", texts)
    ngrams, learnt = NGrams.learn(corpus, max_n=2, min_count=1)
    names = spelled(ngrams)
    for counts in (learnt, ngrams.count(corpus)):
        for text, row in zip(texts, counts.toarray(), strict=True):
            assert row[names.index(tuple(text))] == 1
    assert len(names) == 4 + 4


def test_counts_are_small_in_memory(tmp_path):
    corpus = write_texts(tmp_path / "train.arrow", random_texts(0))
    ngrams, learnt = NGrams.learn(corpus, max_n=2, min_count=1)
    for counts in (learnt, ngrams.count(corpus)):
        assert counts.dtype == np.float32
        assert counts.indices.dtype == counts.indptr.dtype == np.int32
        assert counts.has_canonical_format


@pytest.mark.parametrize("texts", [[], [[]], [[], [3], []]])
def test_few_texts_and_empty_ones_have_few_ngrams(tmp_path, texts):
    corpus = write_texts(tmp_path / "train.arrow", texts)
    ngrams, learnt = NGrams.learn(corpus, max_n=3, min_count=1)
    assert spelled(ngrams) == [(3,)] * (len(texts) == 3)
    for counts in (learnt, ngrams.count(corpus)):
        assert counts.sum() == sum(map(len, texts))
        assert counts.shape == (len(texts), len(ngrams))
