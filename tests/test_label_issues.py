"""Which labels may be wrong: judged by models that have not learned them, and listed."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from test_evaluation import evaluate_folder

from sentiformer.baselines import out_of_fold as folds
from sentiformer.baselines.logistic_regression import KINDS, ROUGH, linear_model
from sentiformer.baselines.out_of_fold import fold_numbers, out_of_fold
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json
from sentiformer.evaluation.label_issues import COLUMNS, find_label_issues, label_issue_table


def made_up(classes, texts=400, seed=0, wrong=0.0):
    """Counts of words of which each class has one of its own, the classes, and which are wrong."""
    rng = np.random.default_rng(seed)
    actual = rng.integers(0, classes, texts)
    own = rng.integers(0, 4, (texts, 1)) * np.eye(classes, dtype=int)[actual]
    counts = np.hstack([own, rng.integers(0, 2, (texts, 9))]).astype(np.float32)
    is_wrong = rng.random(texts) < wrong
    shift = rng.integers(1, classes, texts)
    return csr_array(counts), np.where(is_wrong, (actual + shift) % classes, actual), is_wrong


def model(kind="tfidf"):
    return linear_model(KINDS[kind].weighting, KINDS[kind].fold_c, tolerance=ROUGH)


@pytest.mark.parametrize("number", [3, 5])
def test_folds_have_equal_sizes_and_each_class_is_spread_over_them(number):
    labels = np.random.default_rng(1).permutation([0] * 50 + [1] * 7 + [2] * 2 + [3])
    found = fold_numbers(labels, number)
    assert np.ptp(np.bincount(found[found >= 0], minlength=number)) <= 2
    assert np.ptp(np.bincount(found[labels == 0], minlength=number)) <= 1
    assert len(set(found[labels == 2])) == 2, "a class of two texts is always known"
    assert (found[labels == 3] == -1).all()
    assert (found == fold_numbers(labels, number)).all()
    in_rows = found[labels == 0]
    assert (np.diff(in_rows) != 1).any(), "the order of the texts does not decide"


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_judged_by_a_model_that_has_learned_its_label(kind):
    """A word that one text alone has tells its label to a model that has seen it, and no other."""
    labels = np.random.default_rng(0).integers(0, 2, 300)
    counts = csr_array(np.eye(300, dtype=np.float32))
    found = out_of_fold(model(kind), counts, labels)
    of_label = found[np.arange(300), labels]
    assert np.abs(of_label - 0.5).max() < 0.1
    seen = model(kind).fit(counts, labels).predict_proba(counts)[np.arange(300), labels]
    assert seen.mean() > of_label.mean()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_wrong_labels_are_found_in_any_number_of_classes(classes, kind):
    counts, labels, is_wrong = made_up(classes, texts=900, wrong=0.06)
    found = out_of_fold(model(kind), counts, labels)
    assert found.sum(axis=1) == pytest.approx(1)
    listed = find_label_issues(found, labels)[: int(is_wrong.sum() / 2)]
    assert is_wrong[listed].mean() > 0.9
    of_label = found[listed, labels[listed]]
    assert (np.diff(of_label) >= 0).all(), "the least probable label is first"


def test_labels_in_great_doubt_are_not_learned_in_the_second_round(monkeypatch):
    counts, labels, _ = made_up(2, texts=2000, wrong=0.2)
    twice = out_of_fold(model(), counts, labels)
    monkeypatch.setattr(folds, "DOUBTFUL", 1.0)
    once = out_of_fold(model(), counts, labels)
    rows = np.arange(len(labels))
    sure = np.abs(once[rows, labels] - 0.5) > 0.2
    assert np.abs(twice - 0.5)[sure].mean() > np.abs(once - 0.5)[sure].mean()


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 2), (1, 30), (2, 30), (1, 2, 30), (30, 25)])
def test_rare_classes_are_judged_but_not_suspected(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    counts = csr_array(rng.integers(0, 2, (len(labels), 5)).astype(np.float32))
    found = out_of_fold(model("nb_trigrams"), counts, labels)
    assert found.shape == (len(labels), len(sizes))
    assert np.isfinite(found).all()
    listed = find_label_issues(found, labels)
    few = np.array(sizes) <= 5
    assert not few[labels[listed]].any()


def test_a_class_whose_labels_are_all_doubtful_is_still_learned():
    """Texts of the second class look like those of the first."""
    labels = np.arange(200) % 10 == 0
    counts = csr_array(np.ones((200, 3), dtype=np.float32))
    found = out_of_fold(model(), counts, labels.astype(int))
    assert found[:, 1] == pytest.approx(0.1, abs=0.1)


def test_the_file_has_the_texts_the_labels_and_what_is_suggested(data):
    table = pd.read_csv(data / "evaluation" / "label_issues.csv", keep_default_na=False)
    assert list(table) == COLUMNS
    for split, rows in table.groupby("split"):
        raw = pd.read_parquet(data / "raw" / f"{split}.parquet").set_index("text")["label"]
        given = raw[rows["text"]].map({0: "negative", 1: "positive"})
        assert given.tolist() == rows["label"].tolist()
    assert (table["label"] != table["suggested"]).all()
    assert table["label_probability"].is_monotonic_increasing
    sums = table["label_probability"] + table["suggested_probability"]
    assert sums.to_numpy() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "text", ["one\rtwo", 'say "no", he said', "first\nsecond", "NA", "   ", "=1+1"]
)
def test_any_text_survives_the_file(data, tmp_path, text):
    folder = shutil.copytree(data, tmp_path / "data")
    about = read_json(folder / "tokens" / "corpus.json", made_by="tokenize")
    row = int(_unseen(folder)[:300, 1].argmax())
    raw = pd.read_parquet(folder / "raw" / "train.parquet")
    raw.loc[row, ["text", "label"]] = [text, 0]
    raw.to_parquet(folder / "raw" / "train.parquet", index=False)
    table = label_issue_table(folder, about)
    evaluate_folder(folder, tmp_path / "evaluation")
    written = pd.read_csv(tmp_path / "evaluation" / "label_issues.csv", keep_default_na=False)
    assert text in set(written["text"])
    assert written["text"].tolist() == table["text"].tolist()


def _unseen(data):
    return pd.read_parquet(data / "baseline" / "unseen.parquet").to_numpy()


def test_flipped_labels_of_train_are_listed_and_test_is_not_read(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "raw" / "test.parquet").unlink()
    about = read_json(folder / "tokens" / "corpus.json", made_by="tokenize")
    raw = pd.read_parquet(folder / "raw" / "train.parquet")
    sure = np.argsort(-np.abs(_unseen(folder)[: len(raw), 0] - 0.5), kind="stable")[:20]
    raw.loc[sure, "label"] = 1 - raw.loc[sure, "label"]
    raw.to_parquet(folder / "raw" / "train.parquet", index=False)
    listed = label_issue_table(folder, about)
    assert len(set(raw.loc[sure, "text"]) & set(listed["text"])) >= 15


def test_probabilities_of_other_texts_are_refused(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data")
    path = folder / "raw" / "train.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path, index=False)
    with pytest.raises(UserError, match="are of other texts; run `dvc repro`"):
        evaluate_folder(folder, tmp_path / "evaluation")


@pytest.mark.slow
def test_the_benchmark_counts_flipped_labels(data):
    from test_benchmarks import run

    printed = run("label_issues.py", "--data", data, "--texts", 200, "--first", 5)
    ours, theirs = printed.splitlines()
    assert re.fullmatch(r"baselines: \d of the first 5 listed are flipped .*, 10 are .* s", ours)
    assert theirs.startswith("TF-IDF: ")
