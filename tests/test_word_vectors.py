"""Word vectors: counts, factorization, and that test is never read."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
from conftest import tiny_params
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from sentiformer.core.errors import UserError
from sentiformer.core.files import write_json
from sentiformer.core.word_vectors import FILE, Vectors, read_word_vectors
from sentiformer.features import cooccurrence, word_vectors
from sentiformer.features.cooccurrence import (
    WordStream,
    context_probabilities,
    count_words_near_ngrams,
    count_words_near_words,
    frequent_ngrams,
    positive_pmi,
)
from sentiformer.features.params import WordVectorsParams
from sentiformer.features.word_vectors import NGRAM_SCALE, factorize, fit_word_vectors, make_vectors
from sentiformer.text.corpus import Block, write_corpus

SIZE = 12  # words, the two special tokens included


@pytest.fixture(params=[10**6, 150, 1])
def stream_of(request, tmp_path, monkeypatch):
    """Makes a `WordStream` of texts, read in chunks of this many tokens.

    The type ids of the corpus are in reverse order.
    """
    monkeypatch.setattr(cooccurrence, "CHUNK_TOKENS", request.param)

    def make(texts, window, size=SIZE):
        type_ids, lengths = size - 1 - np.concatenate(texts), np.array([*map(len, texts)])
        write_corpus(tmp_path / "train.arrow", [Block(type_ids, lengths, np.zeros(len(texts)))])
        ids_of_types = np.arange(size, dtype=np.int32)[::-1]
        return WordStream([tmp_path / "train.arrow"], ids_of_types, size, window)

    return make


def made_up_texts():
    """Texts as arrays of word ids; some words are unknown."""
    rng = np.random.default_rng(0)
    return [rng.integers(1, SIZE, rng.integers(0, 15)).astype(np.int32) for _ in range(40)]


def places_within(text, place, window):
    return range(max(0, place - window), min(len(text), place + window + 1))


@pytest.mark.parametrize("window", [1, 2, 30])
def test_co_occurrence_is_counted_within_the_window_and_a_text(stream_of, window):
    expected = np.zeros((SIZE, SIZE))
    for text in made_up_texts():
        for i, one in enumerate(text):
            for j in places_within(text, i, window):
                if j != i and min(one, text[j]) > 1:
                    expected[one, text[j]] += 1 / abs(i - j)
    counts = count_words_near_words(stream_of(made_up_texts(), window))
    np.testing.assert_allclose(counts.toarray(), expected, rtol=1e-5, atol=1e-6)


def words_of(key, pair_keys=None):
    """The words of a bigram's key, or of a trigram's that begins with one of `pair_keys`."""
    before, last = divmod(int(key), SIZE)
    return (before, last) if pair_keys is None else (*words_of(pair_keys[before - 1]), last)


def ngrams_of(text, length):
    return [tuple(map(int, text[i : i + length])) for i in range(len(text) - length + 1)]


def test_the_most_frequent_ngrams_of_known_words_are_found(stream_of):
    read = made_up_texts() + made_up_texts()[:20]
    stream = stream_of(read, 2)
    pair_keys = frequent_ngrams(stream, 70)
    for length, known, shorter in ((2, None, ()), (3, pair_keys, (pair_keys,))):
        first = None if known is None else {words_of(key) for key in known}
        counts = Counter(
            ngram
            for text in read
            for ngram in ngrams_of(text, length)
            if min(ngram) > 1 and (first is None or ngram[:2] in first)
        )
        ties = sorted(ngram for ngram in counts if counts[ngram] > 1)
        twice = sorted(ties, key=lambda ngram: -counts[ngram])
        assert 20 < len(twice) < len(counts)
        for limit in (10**6, 20, 0):
            keys = frequent_ngrams(stream, limit, shorter)
            assert [words_of(key, known) for key in keys] == sorted(twice[:limit])
            assert (np.diff(keys) > 0).all()
    assert len(frequent_ngrams(stream, 10**6)) > len(pair_keys), "not all bigrams were known"


def test_ngrams_that_occur_once_are_left_out(stream_of):
    once = [np.array(words, dtype=np.int32) for words in ([2, 3, 4], [2, 3, 5], [6, 7])]
    stream = stream_of(once, 1)
    pair_keys = frequent_ngrams(stream, 9)
    assert [*map(words_of, pair_keys)] == [(2, 3)]
    assert not len(frequent_ngrams(stream, 9, (pair_keys,)))
    assert not len(frequent_ngrams(stream, 9, (pair_keys[:0],)))


@pytest.mark.parametrize("window", [1, 3])
@pytest.mark.parametrize("length", [2, 3])
def test_words_are_counted_near_both_ends_of_an_ngram(stream_of, window, length):
    read = made_up_texts() * 2
    stream = stream_of(read, window)
    pair_keys = frequent_ngrams(stream, 60)
    known, shorter = (None, ()) if length == 2 else (pair_keys, (pair_keys,))
    keys = frequent_ngrams(stream, 20, shorter)
    rows = {words_of(key, known): row for row, key in enumerate(keys)}
    assert len(rows) == 20
    expected = np.zeros((20, SIZE))
    for text in read:
        for i, ngram in enumerate(ngrams_of(text, length)):
            for distance in range(1, window + 1):
                for j in (i - distance, i + length - 1 + distance):
                    if ngram in rows and 0 <= j < len(text) and text[j] > 1:
                        expected[rows[ngram], text[j]] += 1 / distance
    found = count_words_near_ngrams(stream, keys, shorter).toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_pmi_follows_the_formula_where_it_is_positive():
    counts = np.random.default_rng(1).integers(0, 9, (SIZE, SIZE)).astype(np.float32)
    counts += counts.T
    words, contexts = counts.sum(axis=1), counts.sum(axis=1) ** 0.75
    expected = counts / counts.sum() / np.outer(words / words.sum(), contexts / contexts.sum())
    with np.errstate(divide="ignore"):
        expected = np.maximum(np.log(expected), 0)
    matrix = csr_array(counts)
    found = positive_pmi(matrix, context_probabilities(matrix)).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_factors_are_those_of_the_exact_decomposition_and_rows_project_to_them():
    rng = np.random.default_rng(2)
    matrix = (rng.normal(size=(60, 4)) * [9, 5, 3, 2]) @ rng.normal(size=(4, 60))
    vectors, projection = factorize(csr_array(matrix.astype(np.float32)), 4)
    u, s, _ = np.linalg.svd(matrix)
    expected = (u[:, :4] * s[:4]) @ u[:, :4].T  # the same for any rotation
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-3)
    np.testing.assert_allclose(matrix @ projection, vectors, atol=1e-3)


def test_words_and_bigrams_with_similar_contexts_have_similar_vectors(stream_of):
    """Words 2 to 5 and bigram 5 5 are between 10 and 11; 6 to 9 and 9 9 between 12 and 13."""
    rng, texts = np.random.default_rng(0), []
    for _ in range(300):
        group = rng.integers(0, 2)
        word = 2 + 4 * group + rng.integers(0, 4)
        words = [word, word] if word in (5, 9) else [word]
        texts.append(np.array([10 + 2 * group, *words, 11 + 2 * group], dtype=np.int32))
    params = WordVectorsParams(window=1, pairs=99, triples=0)
    vectors = make_vectors(stream_of(texts, 1, 14), params, 3)
    words = vectors.words[[2, 3, 4, 6, 7, 8]]
    pairs = vectors.pairs[np.isin(vectors.pair_keys, [5 * 14 + 5, 9 * 14 + 9])]
    similarity = np.corrcoef(np.concatenate([words, pairs]))[:, [0, 1, 2, 6, 3, 4, 5, 7]]
    similarity = similarity[[0, 1, 2, 6, 3, 4, 5, 7]]
    assert similarity[:4, :4].min() > 0.9
    assert similarity[4:, 4:].min() > 0.9
    assert similarity[:4, 4:].max() < 0.5


def test_words_are_centred_and_ngrams_are_scaled_like_them(stream_of, monkeypatch):
    stream = stream_of([text for text in made_up_texts() if not (text == 7).any()], 2)
    params = WordVectorsParams(window=2, pairs=30, triples=20)
    vectors = make_vectors(stream, params, 4)
    used = vectors.words.any(axis=1)
    assert np.flatnonzero(~used).tolist() == [0, 1, 7]
    np.testing.assert_allclose(vectors.words[used].mean(axis=0), 0, atol=1e-5)
    assert vectors.words[used].std() == pytest.approx(0.5, rel=1e-3)
    counts = count_words_near_words(stream)
    contexts = context_probabilities(counts)
    pmi = positive_pmi(counts, contexts)
    _, projection = factorize(pmi, 4)
    projected = pmi[[2, 3]] @ projection
    scale = (projected[0] - projected[1]) / (vectors.words[2] - vectors.words[3])
    for found, keys, shorter in (
        (vectors.pairs, vectors.pair_keys, ()),
        (vectors.triples, vectors.triple_keys, (vectors.pair_keys,)),
    ):
        counts = count_words_near_ngrams(stream, keys, shorter)
        projected = positive_pmi(counts, contexts)[[0, 1]] @ projection
        expected = (projected[0] - projected[1]) / scale * NGRAM_SCALE
        np.testing.assert_allclose(found[0] - found[1], expected, atol=1e-4)
    monkeypatch.setattr(word_vectors, "BLOCK_NGRAMS", 7)
    for workers in (1, 3):
        same = make_vectors(stream, params, 4, workers=workers)
        for one, other in zip(same, vectors, strict=True):
            assert np.array_equal(one, other)


def test_the_file_is_reproducible_and_does_not_depend_on_test_or_validation(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data")
    for split in ("test", "validation"):
        (folder / "tokens" / f"{split}.arrow").unlink()
    (tmp_path / "made").mkdir()
    fit_word_vectors(tiny_params().word_vectors, 16, data=folder, folder=tmp_path / "made")
    assert (tmp_path / "made" / FILE).read_bytes() == (data / "word_vectors" / FILE).read_bytes()


def test_unlabelled_texts_are_read(data, tmp_path, monkeypatch):
    monkeypatch.setattr(word_vectors, "PRETRAINING_SPLITS", ("train", "validation"))
    fit_word_vectors(tiny_params().word_vectors, 16, data=data, folder=tmp_path)
    assert (tmp_path / FILE).read_bytes() != (data / "word_vectors" / FILE).read_bytes()


def test_a_window_of_0_makes_no_vectors(data, tmp_path, capsys):
    params = tiny_params(word_vectors={"window": 0}).word_vectors
    fit_word_vectors(params, 16, data=data, folder=tmp_path)
    assert "initial vectors of words are random" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert read_word_vectors(tmp_path, (60, 16)) is None


def test_without_bigrams_there_are_vectors_of_words_only(data, tmp_path):
    fit_word_vectors(
        tiny_params(word_vectors={"pairs": 0}).word_vectors, 16, data=data, folder=tmp_path
    )
    alone = read_word_vectors(tmp_path, (60, 16))
    all_ = read_word_vectors(data / "word_vectors", (60, 16))
    assert isinstance(alone, Vectors)
    assert isinstance(all_, Vectors)
    assert np.array_equal(alone.words, all_.words)
    assert {len(part) for part in alone[1:]} == {0}, "no trigrams either"
    known = tiny_params().word_vectors
    assert len(all_.pairs) == len(all_.pair_keys) == known.pairs
    assert len(all_.triples) == len(all_.triple_keys) == known.triples


def test_with_more_dimensions_than_words_the_remaining_ones_are_0(data, tmp_path):
    fit_word_vectors(tiny_params().word_vectors, 96, data=data, folder=tmp_path)
    vectors = read_word_vectors(tmp_path, (60, 96))
    assert isinstance(vectors, Vectors)
    for table in (vectors.words, vectors.pairs, vectors.triples):
        assert not table[:, 60:].any()
        assert table[:, :40].any(axis=0).all()
        assert np.abs(table).max() < 10, "also where fewer dimensions than words are independent"


def test_stream_of_one_word_each_are_refused(stream_of):
    params = tiny_params().word_vectors
    with pytest.raises(UserError, match=r"within word_vectors\.window of each other; set it to 0"):
        make_vectors(stream_of([[2], [3], [4]], params.window), params, 2)


def test_a_missing_corrupt_or_other_file_is_refused(data, tmp_path):
    folder = shutil.copytree(data / "word_vectors", tmp_path / "word_vectors")
    with pytest.raises(UserError, match=r"are \(60, 16, .*\), not \(60, 32, "):
        read_word_vectors(folder, (60, 32))
    about = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", about | {"triples": about["triples"] + 1})
    with pytest.raises(UserError, match=r"are \(60, 16, .*\), not \(60, 16, "):
        read_word_vectors(folder, (60, 16))
    save_file({"other": load_file(folder / FILE)["words"]}, folder / FILE)
    with pytest.raises(UserError, match=r"is corrupt .*word_vectors"):
        read_word_vectors(folder, (60, 16))
    (folder / FILE).unlink()
    with pytest.raises(UserError, match="is missing; `dvc repro word_vectors` makes it"):
        read_word_vectors(folder, (60, 16))
