"""Baselines: their weights follow the formulas, validation chooses, the files are reproducible."""

import json
import shutil
import subprocess
import sys

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
    LogCountRatio,
    fit_baseline,
    fit_baselines,
    linear_model,
    load_baselines,
)
from sentiformer.baselines.ngram_counts import count_ngrams
from sentiformer.baselines.ngram_model import BLOCK_TEXTS, NgramModel
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json
from sentiformer.core.names import SPLITS
from sentiformer.text.corpus import Corpus, read_types

NGRAM_FILES = ["ngrams/files.json", "ngrams/model.safetensors", "ngrams/words.txt"]
WRITTEN = {
    *("choices.csv", "lineage.json", "metrics.json", "unseen.parquet", *NGRAM_FILES),
    *(f"{name}.parquet" for name in KINDS),
}


def corpus_of(data):
    return read_json(data / "tokens" / "corpus.json", made_by="tokenize")


def fit_folder(data, folder, workers=1):
    """Fit the baselines; return the files of `folder`."""
    folder.mkdir()
    fit_baselines(data / "tokens", folder, workers=workers)
    return files_of(folder)


def files_of(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def tokens_of(data, split):
    """The texts of a split as lists of tokens."""
    corpus, types = Corpus(data / "tokens" / f"{split}.arrow"), read_types(data / "tokens")
    return [[types[i] for i in corpus[row].tolist()] for row in range(len(corpus))]


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
    known, train_counts = count_ngrams(corpora[0], [None] * 2)
    tfidf = KINDS["tfidf"].weighting.fit(train_counts)
    other_counts = count_ngrams(corpora[1], known)[1]
    ours = [tfidf.transform(counts).toarray() for counts in (train_counts, other_counts)]
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
    weighting = LogCountRatio().fit(counts, np.array([1, 1, 0]))
    p, q = np.array([1 + 2, 1 + 1, 1 + 0]), np.array([1 + 0, 1 + 1, 1 + 1])
    ratio = np.log((p / 6) / (q / 5))
    other = csr_array(np.array([[5, 0, 7], [0, 1, 0]], dtype=np.float32))
    found = weighting.transform(other)
    assert found.toarray() == pytest.approx(np.array([[1, 0, 1], [0, 1, 0]]) * ratio, abs=1e-6)
    assert found.dtype == np.float32


def test_the_log_count_ratio_of_the_other_class_is_the_negative():
    counts = csr_array(np.random.default_rng(0).integers(0, 3, (9, 5)).astype(np.float32))
    is_class = (np.arange(9) < 4).astype(int)
    ours, theirs = (LogCountRatio().fit_transform(counts, y) for y in (is_class, 1 - is_class))
    assert ours.toarray() == pytest.approx(-theirs.toarray(), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_classes_is_learned_in_their_order(classes, kind):
    rng = np.random.default_rng(classes)
    actual = rng.integers(0, classes, 150)
    own = 3 * np.eye(classes, dtype=int)[actual]  # each class has a word of its own
    counts = csr_array(np.hstack([own, rng.integers(0, 2, (150, 7))]).astype(np.float32))
    model = linear_model(KINDS[kind].weighting, 10.0).fit(counts[:100], actual[:100])
    found = model.predict_proba(counts[100:])
    assert found.shape == (50, classes)
    assert (found.argmax(axis=1) == actual[100:]).mean() > 0.9
    assert found.sum(axis=1) == pytest.approx(1)
    assert found.min() >= 0


@pytest.mark.parametrize("name", KINDS)
def test_baselines_learn_to_classify_the_made_up_reviews(data, name):
    baseline = load_baselines(data / "baseline", corpus_of(data))[name]
    labels = Corpus(data / "tokens" / "test.arrow").labels
    assert (baseline.probabilities.argmax(axis=1) == labels).mean() > 0.7


def test_the_files_do_not_depend_on_the_number_of_workers(data, tmp_path):
    files = fit_folder(data, tmp_path / "one")
    assert files.keys() == WRITTEN
    assert fit_folder(data, tmp_path / "two", workers=2) == files
    assert files_of(data / "baseline") == files


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
        return fit_baseline(name, tokens=copy / "tokens", labels=labels)

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
    known, _ = count_ngrams(Corpus(data / "tokens" / "train.arrow"), [None] * KINDS[name].max_n)
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
@pytest.mark.parametrize("name", ["corpus.json", "types.txt", *(f"{s}.arrow" for s in SPLITS)])
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


@pytest.fixture
def three_classes(copy):
    """A copy with three classes; the third is that of texts with an even number of tokens."""

    def change(texts, labels):
        return texts, [
            2 if len(text) % 2 == 0 else y for text, y in zip(texts, labels, strict=True)
        ]

    for split in SPLITS:
        rewrite(copy, split, change)
    labels = ["negative", "positive", "even"]
    change_json(copy / "tokens" / "corpus.json", lambda about: about.update(labels=labels))
    return copy


@pytest.mark.parametrize("project", ["copy", "three_classes"])
def test_the_ngram_model_equals_the_fitted_baseline(project, request, tmp_path):
    data = request.getfixturevalue(project)
    fit_folder(data, tmp_path / "folder")
    model = NgramModel.load(tmp_path / "folder" / "ngrams")
    expected = pd.read_parquet(tmp_path / "folder" / "nb_trigrams.parquet").to_numpy()
    assert np.abs(model.probabilities(tokens_of(data, "test")) - expected).max() < 1e-6
    assert len(np.unique(expected, axis=0)) > 10


def test_the_ngram_model_ignores_unknown_words_other_texts_and_repetitions(data):
    model = NgramModel.load(data / "baseline" / "ngrams")
    text = ["the", "film", "was", "awful", "."]
    (expected,) = model.probabilities([text])
    unknown = ["never-seen", "<unk>", "<pad>", ""]
    many = [[*text, *unknown, *text], [], *[["the"]] * BLOCK_TEXTS, text, unknown]
    found = model.probabilities(many)
    assert np.array_equal(found[0], expected)
    assert np.array_equal(found[-2], expected)
    assert np.array_equal(found[1], found[-1]), "no known word: the intercept alone"
    assert not np.array_equal(found[1], expected)
    assert model.probabilities([]).shape == (0, 2)


def test_the_ngram_model_is_certain_at_most_and_never_nan():
    arrays = {"weights": np.full((3, 1), -1e4), "intercepts": np.zeros(3)}
    model = NgramModel(["a"], arrays | dict.fromkeys(("bigrams", "trigrams"), np.zeros(0, int)))
    assert model.probabilities([["a"]]) == pytest.approx(1 / 3)


def test_the_ngram_model_needs_neither_scikit_learn_nor_scipy(data):
    code = (
        "import sys; from pathlib import Path; absent = ('scipy', 'sklearn', 'pandas', 'torch');"
        "sys.modules.update(dict.fromkeys(absent));"
        "from sentiformer.baselines.ngram_model import NgramModel;"
        "assert NgramModel.load(Path(sys.argv[1])).probabilities([['the']]).shape == (1, 2)"
    )
    folder = str(data / "baseline" / "ngrams")
    subprocess.run([sys.executable, "-c", code, folder], check=True)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NGRAM_FILES)
def test_a_missing_or_corrupt_ngram_model_is_named_in_one_line(copy, name, damage):
    DAMAGES[damage](copy / "baseline" / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"ngrams/.* is {word}.*dvc repro.* finetune") as error:
        NgramModel.load(copy / "baseline" / "ngrams", made_by="finetune")
    assert "\n" not in str(error.value)


def test_changed_words_of_an_ngram_model_are_found(copy):
    with (copy / "baseline" / "ngrams" / "words.txt").open("a") as file:
        file.write("another\n")
    with pytest.raises(UserError, match=r"words\.txt is corrupt \(its SHA-256 is not that of"):
        NgramModel.load(copy / "baseline" / "ngrams")
