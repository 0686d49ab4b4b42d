"""Baselines: their weights follow the formulas, validation chooses, the files are reproducible."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from test_evaluation import DAMAGES, change_json
from test_ngrams import random_texts, write_texts

from sentiformer.baselines import logistic_regression, ngram_counts
from sentiformer.baselines.logistic_regression import (
    KINDS,
    fit_baseline,
    fit_baselines,
    load_baselines,
    log_count_ratio,
    predict,
    tfidf,
)
from sentiformer.baselines.ngram_counts import count_ngrams, learn_ngrams
from sentiformer.baselines.params import TeachParams
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json
from sentiformer.text.corpus import Corpus

WRITTEN = {"choices.csv", "lineage.json", "metrics.json", *(f"{name}.parquet" for name in KINDS)}


def corpus_of(data):
    return read_json(data / "tokens" / "corpus.json", made_by="tokenize")


def fit_folder(data, folder, workers=1):
    """Fit the baselines without a teacher; return the files of `folder`."""
    teacher = folder.with_name("no-teacher")
    folder.mkdir()
    teacher.mkdir(exist_ok=True)
    fit_baselines(TeachParams(by=None), data / "tokens", folder, teacher, workers=workers)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rewrite(data, split, change):
    """Write a split again, with other texts and labels."""
    path = data / "tokens" / f"{split}.arrow"
    corpus = Corpus(path)
    texts = [corpus[i].tolist() for i in range(len(corpus))]
    texts, labels = change(texts, corpus.labels.copy())
    path.unlink()
    write_texts(path, texts, labels)


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


def test_tfidf_equals_that_of_scikit_learns_vectorizer(tmp_path, monkeypatch):
    monkeypatch.setattr(ngram_counts, "MIN_COUNT", 1)
    train, other = random_texts(3), random_texts(4)
    corpora = [write_texts(tmp_path / f"{n}.arrow", t) for n, t in enumerate((train, other))]
    known, train_counts = learn_ngrams(corpora[0], 2)
    weigh = tfidf(train_counts, np.zeros(len(train), dtype=bool))
    ours = [weigh(counts).toarray() for counts in (train_counts, count_ngrams(corpora[1], known))]
    vectorizer = TfidfVectorizer(
        tokenizer=lambda text: [str(i) for i in text],
        preprocessor=lambda text: text,
        token_pattern=None,
        ngram_range=(1, 2),
        sublinear_tf=True,
    )
    theirs = [vectorizer.fit(train).transform(texts).toarray() for texts in (train, other)]
    for one, two in ((0, 0), (0, 1), (1, 1)):  # products do not depend on the order of columns
        assert ours[one] @ ours[two].T == pytest.approx(theirs[one] @ theirs[two].T, abs=1e-5)


def test_log_count_ratios_equal_those_computed_by_hand():
    counts = csr_array(np.array([[2, 1, 0], [1, 0, 0], [0, 3, 1]], dtype=np.float32))
    weigh = log_count_ratio(counts, np.array([True, True, False]))
    p, q = np.array([1 + 2, 1 + 1, 1 + 0]), np.array([1 + 0, 1 + 1, 1 + 1])
    ratio = np.log((p / 6) / (q / 5))
    other = csr_array(np.array([[5, 0, 7], [0, 1, 0]], dtype=np.float32))
    found = weigh(other)
    assert found.toarray() == pytest.approx(np.array([[1, 0, 1], [0, 1, 0]]) * ratio, abs=1e-6)
    assert found.dtype == np.float32


def test_the_log_count_ratio_of_the_other_class_is_the_negative():
    counts = csr_array(np.random.default_rng(0).integers(0, 3, (9, 5)).astype(np.float32))
    is_class = np.arange(9) < 4
    ours, theirs = (log_count_ratio(counts, rows)(counts) for rows in (is_class, ~is_class))
    assert ours.toarray() == pytest.approx(-theirs.toarray(), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_classes_is_learned_in_their_order(classes, kind, monkeypatch):
    monkeypatch.setattr(logistic_regression, "C_VALUES", (0.1, 10.0))
    rng = np.random.default_rng(classes)
    actual = rng.integers(0, classes, 150)
    own = 3 * np.eye(classes, dtype=int)[actual]  # each class has a word of its own
    counts = csr_array(np.hstack([own, rng.integers(0, 2, (150, 7))]).astype(np.float32))
    splits = [counts[:100], counts[100:120], counts[120:]]
    found = predict(splits, actual[:100], classes, KINDS[kind].weighting)
    assert [split.shape for split in found] == [(2, 20, classes), (2, 30, classes)]
    assert (found[1][1].argmax(axis=1) == actual[120:]).mean() > 0.9
    for split in found:
        assert split.sum(axis=2) == pytest.approx(1)
        assert split.min() >= 0


@pytest.mark.parametrize("name", KINDS)
def test_baselines_learn_to_classify_the_made_up_reviews(data, name):
    baseline = load_baselines(data / "baseline", corpus_of(data))[name]
    labels = Corpus(data / "tokens" / "test.arrow").labels
    assert (baseline.probabilities.argmax(axis=1) == labels).mean() > 0.7


def test_the_files_do_not_depend_on_the_number_of_workers(data, tmp_path):
    files = fit_folder(data, tmp_path / "one")
    assert files.keys() == WRITTEN
    assert fit_folder(data, tmp_path / "two", workers=2) == files
    assert {path.name: path.read_bytes() for path in (data / "baseline").iterdir()} == files


def test_the_best_c_on_validation_is_chosen_and_the_smallest_of_equals(copy, tmp_path, monkeypatch):
    rows = pd.read_csv(copy / "baseline" / "choices.csv")
    metrics = read_json(copy / "baseline" / "metrics.json", made_by="baseline")
    for name, table in rows.groupby("baseline"):
        assert table["c"].tolist() == list(logistic_regression.C_VALUES)
        best = table[table["validation_accuracy"] == table["validation_accuracy"].max()]
        assert metrics[name]["c"] == best["c"].min()
        assert metrics[name]["validation_accuracy"] == best["validation_accuracy"].iloc[0]
    monkeypatch.setattr(logistic_regression, "C_VALUES", (1e-10, 1e-9, 1e-8))
    metrics = json.loads(fit_folder(copy, tmp_path / "equal")["metrics.json"])
    assert {metrics[name]["c"] for name in KINDS} == {1e-10}


@pytest.mark.parametrize("name", KINDS)
def test_test_is_predicted_with_the_chosen_c(copy, name, monkeypatch):
    def fit(*c_values):
        monkeypatch.setattr(logistic_regression, "C_VALUES", c_values)
        labels = ["negative", "positive"]
        return fit_baseline(name, tokens=copy / "tokens", labels=labels, teacher=None)

    both, low, high = fit(0.01, 10.0), fit(0.01), fit(10.0)
    chosen, other = (low, high) if both.metrics["c"] == 0.01 else (high, low)
    assert np.array_equal(both.probabilities, chosen.probabilities)
    assert not np.allclose(both.probabilities, other.probabilities)


def test_validation_alone_decides(copy, tmp_path):
    """With its labels inverted, the worst C is the best."""
    before = pd.read_csv(copy / "baseline" / "choices.csv")
    rewrite(copy, "validation", lambda texts, labels: (texts, 1 - labels))
    fit_folder(copy, tmp_path / "inverted")
    after = pd.read_csv(tmp_path / "inverted" / "choices.csv")
    inverted = 1 - before["validation_accuracy"]
    assert after["validation_accuracy"].tolist() == pytest.approx(inverted.tolist(), abs=2e-6)


def test_the_labels_of_test_change_nothing(copy, tmp_path):
    files = fit_folder(copy, tmp_path / "before")
    rewrite(copy, "test", lambda texts, labels: (texts, 1 - labels))
    assert fit_folder(copy, tmp_path / "after") == files


def test_the_texts_of_test_change_only_their_predictions(copy, tmp_path):
    files = fit_folder(copy, tmp_path / "before")
    rewrite(copy, "test", lambda texts, labels: ([*texts[:-1], [1, 2, 3] * 50], labels))
    changed = fit_folder(copy, tmp_path / "after")
    for name in KINDS:
        del files[f"{name}.parquet"], changed[f"{name}.parquet"]
        both = [pd.read_parquet(tmp_path / n / f"{name}.parquet") for n in ("before", "after")]
        assert both[0].iloc[:-1].equals(both[1].iloc[:-1])
    assert changed == files


@pytest.mark.parametrize("name", KINDS)
def test_the_number_of_ngrams_is_that_of_train(data, name):
    metrics = read_json(data / "baseline" / "metrics.json", made_by="baseline")
    known, _ = learn_ngrams(Corpus(data / "tokens" / "train.arrow"), KINDS[name].max_n)
    assert metrics[name]["ngrams"] == sum(map(len, known))
    assert len(known) == {"tfidf": 2, "nb_trigrams": 3}[name]


def test_train_without_a_frequent_word_is_refused(copy, tmp_path):
    rewrite(copy, "train", lambda texts, labels: ([[i] for i in range(len(texts))], labels))
    with pytest.raises(
        UserError, match=r"train\.arrow has no word that occurs 2 times; give train"
    ):
        fit_folder(copy, tmp_path / "folder")


def test_a_class_without_a_train_text_is_refused(copy, tmp_path):
    rewrite(copy, "train", lambda texts, labels: (texts, 0 * labels))
    with pytest.raises(UserError, match=r"train\.arrow has no text labelled positive; give train"):
        fit_folder(copy, tmp_path / "folder")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_a_text_is_refused(copy, tmp_path, split):
    rewrite(copy, split, lambda texts, labels: ([], labels[:0]))
    with pytest.raises(UserError, match=rf"{split}\.arrow has no text; raise its share in the"):
        fit_folder(copy, tmp_path / "folder")


def test_texts_without_a_known_word_are_predicted_too(copy, tmp_path):
    rewrite(copy, "test", lambda texts, labels: ([[] for _ in texts], labels))
    fit_folder(copy, tmp_path / "folder")
    for name in KINDS:
        assert len(pd.read_parquet(tmp_path / "folder" / f"{name}.parquet").drop_duplicates()) == 1


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["corpus.json", "train.arrow", "validation.arrow", "test.arrow"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_or_corrupt_input_is_named_in_one_line(copy, tmp_path, name, damage, workers):
    DAMAGES[damage](copy / "tokens" / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"{name} is {word}.*dvc repro") as error:
        fit_folder(copy, tmp_path / "folder", workers=workers)
    assert "\n" not in str(error.value)


def test_baselines_of_other_texts_are_refused(copy):
    change_json(copy / "baseline" / "lineage.json", lambda lineage: lineage.update(train="another"))
    with pytest.raises(
        UserError, match="baseline was made from other texts than data/tokens; run `dvc"
    ):
        load_baselines(copy / "baseline", corpus_of(copy))


def test_metrics_without_a_baseline_are_corrupt(copy):
    change_json(copy / "baseline" / "metrics.json", lambda metrics: metrics.pop("tfidf"))
    with pytest.raises(UserError, match=r"metrics\.json is corrupt \(it lacks 'tfidf'\)"):
        load_baselines(copy / "baseline", corpus_of(copy))


def test_probabilities_of_another_number_of_texts_are_corrupt(copy):
    path = copy / "baseline" / "tfidf.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(UserError, match=r"tfidf\.parquet is corrupt \(it holds .* values, not"):
        load_baselines(copy / "baseline", corpus_of(copy))
