"""Truncation, padding, buckets; batches depend on seed and epoch alone."""

import numpy as np
import pytest
import torch

from sentiformer.text.corpus import Block, Corpus, write_corpus
from sentiformer.text.truncation import truncate
from sentiformer.text.vocab import PAD, UNKNOWN
from sentiformer.training.batching import (
    TextBatches,
    pad,
    prefetch,
    shuffled_buckets,
)

TYPES = 101


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 40, size=203)
    block = Block(rng.integers(0, TYPES, lengths.sum()), lengths, rng.integers(0, 2, 203))
    write_corpus(tmp_path / "train.arrow", [block])
    return Corpus(tmp_path / "train.arrow")


def batcher(corpus, **changes):
    settings = {"batch_size": 8, "max_len": 30, **changes}
    return TextBatches(corpus, np.arange(2, TYPES + 2, dtype=np.int32), **settings)


def mask_of(batch):
    none = torch.zeros(batch.token_ids.shape, dtype=torch.bool)
    return none if batch.padding_mask is None else batch.padding_mask


def test_truncation_keeps_the_beginning_and_the_end():
    assert truncate(np.arange(11), 5).tolist() == [0, 1, 8, 9, 10]
    assert truncate(np.arange(11), 1).tolist() == [10]
    assert truncate(np.arange(5), 5).tolist() == [0, 1, 2, 3, 4]


def test_padding_follows_the_tokens_and_an_empty_text_is_one_unknown_word():
    token_ids, padding_mask = pad([np.array([5, 6, 7]), np.array([], dtype=int), np.array([8])], 3)
    assert token_ids.tolist() == [[5, 6, 7], [UNKNOWN, PAD, PAD], [8, PAD, PAD]]
    assert padding_mask.tolist() == [[False] * 3, [False, True, True], [False, True, True]]


@pytest.mark.parametrize(
    ("lengths", "max_len", "padded"),
    [([3, 8], 30, 8), ([9, 2], 30, 16), ([30, 1], 30, 30), ([0], 30, 8), ([4, 4], 4, 4)],
)
def test_the_length_of_a_batch_is_a_multiple_of_eight_or_max_len(lengths, max_len, padded):
    token_ids, padding_mask = pad([np.full(length, 7) for length in lengths], max_len)
    assert token_ids.shape == (len(lengths), padded)
    assert (padding_mask is None) == all(length == padded for length in lengths)


def test_a_part_of_a_batch_has_its_rows_with_the_same_padding(corpus):
    batch = next(iter(batcher(corpus).in_order_of_length()))
    part = batch.take(slice(1, 8, 3))
    assert part.rows.tolist() == batch.rows[[1, 4, 7]].tolist()
    assert torch.equal(part.token_ids, batch.token_ids[[1, 4, 7]])
    assert torch.equal(part.padding_mask, batch.padding_mask[[1, 4, 7]])
    assert torch.equal(part.labels, batch.labels[[1, 4, 7]])


def test_an_epoch_holds_every_text_once(corpus):
    batches = list(batcher(corpus).epoch(1))
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows) == list(range(len(corpus)))
    assert len(batches) == len(batcher(corpus))
    for batch in batches:
        assert batch.labels.tolist() == corpus.labels[batch.rows].tolist()
        for row, ids, mask in zip(batch.rows, batch.token_ids, mask_of(batch), strict=True):
            expected = (truncate(corpus[row], 30) + 2).tolist() or [UNKNOWN]
            assert ids[~mask].tolist() == expected


def test_batches_depend_on_seed_and_epoch_alone_and_can_be_skipped(corpus):
    def ids(seed=1, epoch=1, skip=0):
        made = batcher(corpus, seed=seed, word_dropout=0.3).epoch(epoch, skip=skip)
        return [batch.token_ids.tolist() for batch in made]

    assert ids() == ids()
    assert ids()[5:] == ids(skip=5)
    assert ids() != ids(seed=2)
    assert ids() != ids(epoch=2)


@pytest.mark.parametrize("batches", [0, 1, 3, 26])
def test_batches_prefetch_are_the_same_in_the_same_order(corpus, batches):
    made = [list(batcher(corpus).epoch(1, skip=26 - batches)) for _ in range(2)]
    ahead = list(prefetch(iter(made[1])))
    assert len(ahead) == batches
    for one, other in zip(made[0], ahead, strict=True):
        assert torch.equal(one.token_ids, other.token_ids)


def test_an_error_while_prefetching_is_raised_at_its_batch():
    def two_of_them():
        yield "a batch"
        raise MemoryError

    batches = prefetch(two_of_them())
    assert next(batches) == "a batch"
    with pytest.raises(MemoryError):
        next(batches)


def test_word_dropout_replaces_the_given_share_of_words(corpus):
    batches = list(batcher(corpus, word_dropout=0.25).epoch(1))
    tokens = torch.cat([batch.token_ids[~mask_of(batch)] for batch in batches])
    assert (tokens == UNKNOWN).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_buckets_hold_texts_of_similar_length_in_random_order():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 500, size=4000)
    buckets = shuffled_buckets(lengths, 16, rng)
    padded = sum(lengths[rows].max() * len(rows) for rows in buckets)
    assert lengths.sum() / padded > 0.95, "bucketed batches are nearly free of padding"
    means = [lengths[rows].mean() for rows in buckets]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3, "their order is random"


def test_evaluation_goes_once_from_the_shortest_text_to_the_longest(corpus):
    batches = list(batcher(corpus).in_order_of_length())
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows) == list(range(len(corpus)))
    lengths = np.minimum(corpus.lengths[rows], 30)
    assert lengths.tolist() == sorted(lengths)
    assert {len(batch.rows) for batch in batches[:-1]} == {8}


def test_tokens_of_a_batch_leave_padding_out(corpus):
    batches = list(batcher(corpus).in_order_of_length())
    total = sum(batch.tokens for batch in batches)
    assert total == np.maximum(np.minimum(corpus.lengths, 30), 1).sum()
