"""Word vectors: what is counted, what is factorized, and that test is never read."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
from conftest import tiny_params
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from sentiformer import word_vectors
from sentiformer.console import UserError
from sentiformer.word_vectors import (
    FILE,
    cooccurrences,
    factorize,
    fit_word_vectors,
    positive_pmi,
    read_word_vectors,
)

SIZE = 12  # words, the two specials included


def made_up_texts(seed=0):
    """Texts as type ids, and what maps them to words; some words are unknown."""
    rng = np.random.default_rng(seed)
    texts = [rng.integers(0, 20, rng.integers(0, 15)).astype(np.int32) for _ in range(40)]
    ids = np.where(np.arange(20) < SIZE - 2, np.arange(20) + 2, 1).astype(np.int32)
    return texts, ids


def counted_by_hand(texts, ids, window):
    counts = np.zeros((SIZE, SIZE))
    for text in texts:
        words = ids[text]
        for i, one in enumerate(words):
            for j, other in enumerate(words):
                if 0 < abs(i - j) <= window and min(one, other) > 1:
                    counts[one, other] += 1 / abs(i - j)
    return counts


@pytest.mark.parametrize("window", [1, 2, 30])
@pytest.mark.parametrize("cuts", [[], [3, 3, 17]])
def test_pairs_are_counted_within_the_window_and_a_text(window, cuts):
    texts, ids = made_up_texts()
    bounds = [0, *cuts, len(texts)]
    chunks = [texts[a:b] for a, b in pairwise(bounds) if a < b]
    counts = cooccurrences(iter(chunks), ids, SIZE, window)
    np.testing.assert_allclose(
        counts.toarray(), counted_by_hand(texts, ids, window), rtol=1e-5, atol=1e-6
    )


def test_pmi_is_that_of_the_formula_where_it_is_positive():
    counts = np.random.default_rng(1).integers(0, 9, (SIZE, SIZE)).astype(np.float32)
    counts += counts.T
    words, contexts = counts.sum(axis=1), counts.sum(axis=1) ** 0.75
    expected = counts / counts.sum() / np.outer(words / words.sum(), contexts / contexts.sum())
    with np.errstate(divide="ignore"):
        expected = np.maximum(np.log(expected), 0)
    found = positive_pmi(csr_array(counts)).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_factor_is_that_of_the_exact_decomposition_scaled():
    rng = np.random.default_rng(2)
    left, right = rng.normal(size=(60, 4)), rng.normal(size=(4, 60))
    matrix = (left * [9, 5, 3, 2]) @ right
    matrix[0] = 0
    vectors = factorize(csr_array(matrix.astype(np.float32)), 4)
    u, s, _ = np.linalg.svd(matrix)
    expected = u[1:, :4] * np.sqrt(s[:4])
    expected -= expected.mean(axis=0)
    products = expected @ expected.T / (expected.var() * 4)  # the same for any turn of the axes
    np.testing.assert_allclose(vectors[1:] @ vectors[1:].T, products, atol=1e-3)
    assert not vectors[0].any(), "a word without company has no vector"
    assert vectors[1:].std() == pytest.approx(0.5)


def test_words_in_like_company_have_like_vectors():
    """Words 2 to 5 stand between 10 and 11, words 6 to 9 between 12 and 13."""
    rng, texts = np.random.default_rng(0), []
    for _ in range(200):
        group = rng.integers(0, 2)
        word = 2 + 4 * group + rng.integers(0, 4)
        texts.append(np.array([10 + 2 * group, word, 11 + 2 * group], dtype=np.int32))
    counts = cooccurrences(iter([texts]), np.arange(14, dtype=np.int32), 14, 1)
    vectors = factorize(positive_pmi(counts), 3)
    similarity = np.corrcoef(vectors[2:10])
    assert similarity[:4, :4].min() > 0.9
    assert similarity[4:, 4:].min() > 0.9
    assert similarity[:4, 4:].max() < 0.5


def test_the_same_bytes_again_and_never_from_test_or_validation(data, tmp_path):
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


def test_a_window_of_0_makes_none(data, tmp_path, capsys):
    params = tiny_params(word_vectors={"window": 0}).word_vectors
    fit_word_vectors(params, 16, data=data, folder=tmp_path)
    assert "first vectors of words are random" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert read_word_vectors(tmp_path, (60, 16)) is None


def test_more_dimensions_than_words_is_one_line(data, tmp_path):
    with pytest.raises(UserError, match=r"model\.d_model is 64 and the vocabulary has 60 words"):
        fit_word_vectors(tiny_params().word_vectors, 64, data=data, folder=tmp_path)


def test_missing_cut_off_or_of_another_shape_is_one_line(data, tmp_path):
    folder = shutil.copytree(data / "word_vectors", tmp_path / "word_vectors")
    with pytest.raises(UserError, match=r"its shape is \(60, 16\), the model's \(60, 32\)"):
        read_word_vectors(folder, (60, 32))
    save_file({"other": load_file(folder / FILE)["word_vectors"]}, folder / FILE)
    with pytest.raises(UserError, match=r"is corrupt .*word_vectors"):
        read_word_vectors(folder, (60, 16))
    (folder / FILE).unlink()
    with pytest.raises(UserError, match="is missing; `dvc repro word_vectors` makes it"):
        read_word_vectors(folder, (60, 16))
