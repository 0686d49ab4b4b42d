"""The baselines: weights from their formulas, chosen on validation, the same bytes every time."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_params
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer
from test_evaluation import DAMAGES, change_json
from test_ngrams import random_texts, write_texts

from sentiformer.baselines.linear import (
    KINDS,
    fit_baseline,
    fit_baselines,
    load_baselines,
    log_count_ratio,
    predict,
    tfidf,
)
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json
from sentiformer.features.ngrams import NGrams
from sentiformer.text.corpus import Corpus

WRITTEN = {"choices.csv", "lineage.json", "metrics.json", *(f"{name}.parquet" for name in KINDS)}


def corpus_of(data):
    return read_json(data / "tokens" / "corpus.json", made_by="tokenize")


def fit_folder(data, folder, workers=1, by="nobody", **params):
    folder.mkdir()
    changed = tiny_params(baseline=params, teach={"by": by})
    seconds = fit_baselines(
        changed.baseline, changed.teach, data / "tokens", folder, workers=workers
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}, seconds


def rewrite(data, split, change):
    """Write a split anew, its texts and labels changed."""
    path = data / "tokens" / f"{split}.arrow"
    corpus = Corpus(path)
    texts = [corpus[i].tolist() for i in range(len(corpus))]
    texts, labels = change(texts, corpus.labels.copy())
    path.unlink()
    write_texts(path, texts, labels)


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


def test_tfidf_is_that_of_scikit_learns_vectorizer_on_the_same_tokens(tmp_path):
    train, other = random_texts(3), random_texts(4)
    corpora = [write_texts(tmp_path / f"{n}.arrow", t) for n, t in enumerate((train, other))]
    ngrams, of_train = NGrams.learn(corpora[0], max_n=2, min_count=1)
    counts = [of_train, ngrams.count(corpora[1])]
    weigh = tfidf(counts[0], np.zeros(len(train), dtype=bool))
    ours = [weigh(of).toarray() for of in counts]
    vectorizer = TfidfVectorizer(
        tokenizer=lambda text: [str(i) for i in text],
        preprocessor=lambda text: text,
        token_pattern=None,
        ngram_range=(1, 2),
        sublinear_tf=True,
    )
    theirs = [vectorizer.fit(train).transform(texts).toarray() for texts in (train, other)]
    for one, two in ((0, 0), (0, 1), (1, 1)):  # products know no order of the columns
        assert ours[one] @ ours[two].T == pytest.approx(theirs[one] @ theirs[two].T, abs=1e-5)


def test_log_count_ratios_are_those_computed_by_hand():
    counts = csr_array(np.array([[2, 1, 0], [1, 0, 0], [0, 3, 1]], dtype=np.float32))
    weigh = log_count_ratio(counts, np.array([True, True, False]))
    p, q = np.array([1 + 2, 1 + 1, 1 + 0]), np.array([1 + 0, 1 + 1, 1 + 1])
    ratio = np.log((p / 6) / (q / 5))
    other = csr_array(np.array([[5, 0, 7], [0, 1, 0]], dtype=np.float32))
    found = weigh(other)
    assert found.toarray() == pytest.approx(np.array([[1, 0, 1], [0, 1, 0]]) * ratio, abs=1e-6)
    assert found.dtype == np.float32


def test_a_ratio_is_the_opposite_of_the_other_class():
    counts = csr_array(np.random.default_rng(0).integers(0, 3, (9, 5)).astype(np.float32))
    of_class = np.arange(9) < 4
    ours, theirs = (log_count_ratio(counts, of)(counts) for of in (of_class, ~of_class))
    assert ours.toarray() == pytest.approx(-theirs.toarray(), abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_classes_is_learned_in_their_order(classes, kind):
    rng = np.random.default_rng(classes)
    actual = rng.integers(0, classes, 150)
    own = 3 * np.eye(classes, dtype=int)[actual]  # a word of each class' own, among others
    counts = csr_array(np.hstack([own, rng.integers(0, 2, (150, 7))]).astype(np.float32))
    splits = [counts[:100], counts[100:120], counts[120:]]
    found = predict(splits, actual[:100], classes, [0.1, 10.0], KINDS[kind].weighting)
    assert [of.shape for of in found] == [(2, 20, classes), (2, 30, classes)]
    assert (found[1][1].argmax(axis=1) == actual[120:]).mean() > 0.9
    for of in found:
        assert of.sum(axis=2) == pytest.approx(1)
        assert of.min() >= 0


@pytest.mark.parametrize("name", KINDS)
def test_baselines_learn_to_tell_the_made_up_reviews_apart(data, name):
    baseline = load_baselines(data / "baseline", corpus_of(data))[name]
    labels = Corpus(data / "tokens" / "test.arrow").labels
    assert (baseline.probabilities.argmax(axis=1) == labels).mean() > 0.7


def test_the_same_files_whatever_the_number_of_workers(data, tmp_path):
    files, seconds = fit_folder(data, tmp_path / "one")
    assert files.keys() == WRITTEN
    assert fit_folder(data, tmp_path / "two", workers=2)[0] == files
    assert {path.name: path.read_bytes() for path in (data / "baseline").iterdir()} == files
    assert seconds.keys() == KINDS.keys()
    assert min(seconds.values()) > 0


def test_the_best_c_on_validation_is_taken_and_the_smallest_of_equals(copy, tmp_path):
    rows = pd.read_csv(copy / "baseline" / "choices.csv")
    metrics = read_json(copy / "baseline" / "metrics.json", made_by="baseline")
    for name, of in rows.groupby("baseline"):
        assert of["c"].tolist() == tiny_params().baseline.c_values
        best = of[of["validation_accuracy"] == of["validation_accuracy"].max()]
        assert metrics[name]["c"] == best["c"].min()
        assert metrics[name]["validation_accuracy"] == best["validation_accuracy"].iloc[0]
    files, _ = fit_folder(copy, tmp_path / "equal", c_values=[1e-9, 1e-10, 1e-8])
    assert {of["c"] for of in json.loads(files["metrics.json"]).values()} == {1e-10}


@pytest.mark.parametrize("name", KINDS)
def test_test_is_predicted_with_the_chosen_c(copy, name):
    rewrite(copy, "validation", lambda texts, labels: (texts, 1 - labels))  # the worst is the best

    def fit(c_values):
        params = tiny_params(baseline={"c_values": c_values}).baseline
        labels = ["negative", "positive"]
        return fit_baseline(name, params=params, tokens=copy / "tokens", labels=labels).baseline

    among_others = fit([0.1, 1.0, 10.0, 100.0])
    alone = fit([among_others.metrics["c"]])
    assert among_others.metrics["c"] > 0.1
    assert np.array_equal(among_others.probabilities, alone.probabilities)


def test_validation_decides_alone(copy, tmp_path):
    """With its labels turned round the worst C is the best."""
    before = pd.read_csv(copy / "baseline" / "choices.csv")
    rewrite(copy, "validation", lambda texts, labels: (texts, 1 - labels))
    fit_folder(copy, tmp_path / "turned")
    after = pd.read_csv(tmp_path / "turned" / "choices.csv")
    turned = 1 - before["validation_accuracy"]
    assert after["validation_accuracy"].tolist() == pytest.approx(turned.tolist(), abs=2e-6)


def test_the_labels_of_test_change_nothing(copy, tmp_path):
    files, _ = fit_folder(copy, tmp_path / "before")
    rewrite(copy, "test", lambda texts, labels: (texts, 1 - labels))
    assert fit_folder(copy, tmp_path / "after")[0] == files


def test_the_texts_of_test_change_only_what_is_said_of_them(copy, tmp_path):
    files, _ = fit_folder(copy, tmp_path / "before")
    rewrite(copy, "test", lambda texts, labels: ([*texts[:-1], [1, 2, 3] * 50], labels))
    changed, _ = fit_folder(copy, tmp_path / "after")
    for name in KINDS:
        del files[f"{name}.parquet"], changed[f"{name}.parquet"]
        both = [pd.read_parquet(tmp_path / n / f"{name}.parquet") for n in ("before", "after")]
        assert both[0].iloc[:-1].equals(both[1].iloc[:-1])
    assert changed == files


@pytest.mark.parametrize("name", KINDS)
def test_the_number_of_ngrams_is_that_of_train(data, tmp_path, name):
    params = tiny_params(baseline={"min_count": 3}).baseline
    fit = fit_baseline(name, params=params, tokens=data / "tokens", labels=["no", "yes"])
    train = Corpus(data / "tokens" / "train.arrow")
    ngrams, _ = NGrams.learn(train, max_n=KINDS[name].max_n, min_count=3)
    assert fit.baseline.metrics["ngrams"] == len(ngrams)
    assert len(ngrams.keys) == {"tfidf": 2, "nb_trigrams": 3}[name]


def test_a_count_that_no_word_reaches_is_one_line(data, tmp_path):
    with pytest.raises(UserError, match=r"baseline\.min_count is 99999, but no word .*; lower it"):
        fit_folder(data, tmp_path / "folder", min_count=99999)


def test_a_class_without_a_train_text_is_one_line(copy, tmp_path):
    rewrite(copy, "train", lambda texts, labels: (texts, 0 * labels))
    with pytest.raises(UserError, match=r"train\.arrow has no text labelled positive; give train"):
        fit_folder(copy, tmp_path / "folder")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_without_a_text_is_one_line(copy, tmp_path, split):
    rewrite(copy, split, lambda texts, labels: ([], labels[:0]))
    with pytest.raises(UserError, match=rf"{split}\.arrow holds no text; raise its share in the"):
        fit_folder(copy, tmp_path / "folder")


def test_texts_without_a_known_word_are_judged_too(copy, tmp_path):
    rewrite(copy, "test", lambda texts, labels: ([[] for _ in texts], labels))
    fit_folder(copy, tmp_path / "folder")
    for name in KINDS:
        assert len(pd.read_parquet(tmp_path / "folder" / f"{name}.parquet").drop_duplicates()) == 1


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["corpus.json", "train.arrow", "validation.arrow", "test.arrow"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_or_corrupt_input_is_one_line_that_names_it(
    copy, tmp_path, name, damage, workers
):
    DAMAGES[damage](copy / "tokens" / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"{name} is {word}.*dvc repro") as error:
        fit_folder(copy, tmp_path / "folder", workers=workers)
    assert "\n" not in str(error.value)


def test_baselines_of_other_texts_are_refused(copy):
    change_json(copy / "baseline" / "lineage.json", lambda lineage: lineage.update(train="another"))
    with pytest.raises(UserError, match="baseline is of other texts than those at hand; run `dvc"):
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
