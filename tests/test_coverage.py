"""When not to answer: what is measured on validation, thresholds, and unsure texts."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import RUNTIME
from scipy.stats import binom
from test_evaluation import DAMAGES, as_results, many_texts

import sentiformer
from sentiformer import UserError, cli
from sentiformer.core.files import write_csv
from sentiformer.evaluation.coverage import Answers, coverage_tables
from sentiformer.serving.threshold import Thresholds
from sentiformer.training.coverage import (
    COLUMNS,
    confidence_levels,
    coverage_rows,
    read_coverage,
    row_for,
)


@pytest.fixture(scope="module")
def model(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTIFORMER_THREADS", "1")
        return sentiformer.load(data / "model")


@pytest.fixture(scope="module")
def texts(data):
    return pd.read_parquet(data / "raw" / "validation.parquet")


def write(folder, probabilities, actual):
    folder.mkdir(exist_ok=True)
    rows = coverage_rows(probabilities, actual, confidence_levels(probabilities))
    write_csv(folder / "coverage.csv", COLUMNS, rows)
    return rows


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_rows_count_the_texts_above_each_confidence(classes, count):
    probabilities, actual = many_texts(classes, texts=count)
    rows = coverage_rows(probabilities, actual, confidence_levels(probabilities))
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != actual
    for row in rows:
        answered = confidence >= row["min_confidence"]
        assert row["coverage"] == pytest.approx(answered.mean(), abs=1e-6)
        assert row["errors"] == pytest.approx(wrong[answered].mean(), abs=1e-6)
    assert (rows[0]["min_confidence"], rows[0]["coverage"]) == (0, 1)
    levels = [row["min_confidence"] for row in rows]
    assert levels == sorted(set(levels))
    assert len(rows) <= 100


@pytest.mark.parametrize(("texts", "wrong"), [(10, 0), (10, 10), (200, 3), (1, 1)])
def test_the_upper_end_is_that_of_the_binomial_distribution(texts, wrong):
    """With more errors in truth, so few would have a probability below 5 %."""
    probabilities = np.tile([0.1, 0.9], (texts, 1))
    actual = (np.arange(texts) >= wrong).astype(int)
    (row,) = coverage_rows(probabilities, actual, np.array([0.0]))
    if wrong == texts:
        assert row["errors_high"] == 1
    else:
        assert binom.cdf(wrong, texts, row["errors_high"]) == pytest.approx(0.05, abs=1e-4)


def test_the_wanted_share_of_errors_holds_on_other_texts_of_the_same_kind():
    held, answered = [], []
    for seed in range(60):
        probabilities, actual = many_texts(3, texts=1500, seed=seed)
        rows = coverage_rows(probabilities, actual, confidence_levels(probabilities))
        row = row_for(rows, 0.1)
        other, labels = many_texts(3, texts=20_000, seed=1000 + seed)
        chosen = other.max(axis=1) >= row["min_confidence"]
        held.append((other.argmax(axis=1) != labels)[chosen].mean() <= 0.1)
        answered.append(row["coverage"])
    assert np.mean(held) >= 0.85
    assert np.mean(answered) > 0.1


def test_the_lowest_confidence_that_is_allowed_is_chosen():
    rows = [
        {"min_confidence": level, "coverage": 1 - level, "errors": 0, "errors_high": high}
        for level, high in ((0.0, 0.2), (0.6, 0.05), (0.7, 0.06), (0.9, 0.04))
    ]
    found = [row_for(rows, errors) for errors in (0.2, 0.1, 0.045, 0.01)]
    assert [row and row["min_confidence"] for row in found] == [0.0, 0.6, 0.9, None]


@pytest.mark.parametrize("fixture", ["data", "finetuned_data"])
@pytest.mark.parametrize("name", ["model", "finetuned"])
def test_a_model_carries_what_it_does_on_validation(request, fixture, name, texts):
    folder = request.getfixturevalue(fixture) / name
    if (fixture, name) == ("data", "finetuned"):
        assert not (folder / "coverage.csv").exists(), "there is no model"
        return
    rows = read_coverage(folder, made_by="train")
    answers = sentiformer.load(folder).predict(texts["text"].tolist())
    confidence = np.array([answer.probability for answer in answers])
    names = np.array(["negative", "positive"])[texts["label"]]
    wrong = np.array([answer.label for answer in answers]) != names
    for row in rows[1::9]:
        answered = confidence >= row["min_confidence"] - 1e-4
        assert answered.mean() == pytest.approx(row["coverage"], abs=0.06)
        assert wrong[answered].mean() == pytest.approx(row["errors"], abs=0.06)


def test_texts_below_the_confidence_are_unsure_and_keep_their_probabilities(model, texts):
    given = texts["text"].tolist()
    plain = model.predict(given)
    lowest = float(np.median([answer.probability for answer in plain]))
    found = model.predict(given, min_confidence=lowest)
    for before, after in zip(plain, found, strict=True):
        assert after.probabilities == before.probabilities
        assert after.probability == before.probability
        is_sure = before.probability >= lowest
        assert after.label == (before.label if is_sure else "unsure")
        assert (after.reason == "") is is_sure
    unsure = next(answer for answer in found if answer.label == "unsure")
    assert unsure.reason.startswith(f"confidence below {lowest:.4g}; ")
    assert model.predict(given, min_confidence=0) == plain
    assert {answer.label for answer in model.predict(given, min_confidence=1)} == {"unsure"}


def test_a_text_that_cannot_be_judged_is_not_unsure(model):
    found = model.predict([None, "zyzzyva"], min_confidence=1)
    assert [answer.label for answer in found] == ["?", "?"]


def test_max_errors_is_the_threshold_in_the_folder_of_the_model(data, tmp_path, texts):
    folder = shutil.copytree(data / "model", tmp_path / "alone")
    rows = read_coverage(folder, made_by="train")
    allowed = next(row for row in rows if row["min_confidence"] > 0)["errors_high"] + 1e-6
    model, given = sentiformer.load(folder), texts["text"].tolist()
    expected = row_for(rows, allowed)["min_confidence"]
    assert model.lowest_confidence(max_errors=allowed) == expected
    shutil.rmtree(folder)
    assert model.predict(given, max_errors=allowed) == model.predict(given, min_confidence=expected)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"min_confidence": 90}, "min_confidence is 90; give a probability from 0 to 1, such as"),
        ({"min_confidence": "0.9"}, "min_confidence is '0.9'; give a number from 0 to 1"),
        ({"max_errors": [0.1]}, r"max_errors is \[0.1\]; give a number from 0 to 1"),
        ({"min_confidence": -0.1}, "min_confidence is -0.1; give a probability"),
        ({"min_confidence": float("nan")}, "min_confidence is nan; give a probability"),
        ({"max_errors": 3}, "max_errors is 3; give a share between 0 and 1, such as 0.03"),
        ({"max_errors": 0}, "max_errors is 0; give a share"),
        ({"max_errors": float("nan")}, "max_errors is nan; give a share"),
        ({"max_errors": 0.1, "min_confidence": 0.9}, "are both given; give one of the two"),
        ({"max_errors": 0.0001}, "max_errors is 0.0001, but validation supports no less than 0."),
    ],
)
def test_a_threshold_that_cannot_be_is_refused_in_one_line(model, keys, words):
    with pytest.raises(UserError, match=words) as error:
        model.predict(["a great film"], **keys)
    assert "\n" not in str(error.value)


def test_what_is_said_to_be_possible_is_possible(tmp_path):
    rows = write(tmp_path / "model", *many_texts(2, texts=50))
    thresholds = Thresholds(tmp_path / "model", made_by="train")
    with pytest.raises(UserError, match="supports no less than") as error:
        thresholds.lowest(None, 1e-6)
    least = float(str(error.value).partition("no less than ")[2].partition(",")[0])
    assert thresholds.lowest(None, least) in [row["min_confidence"] for row in rows]


@pytest.mark.parametrize("texts", [7, 120, 1000])
def test_bands_count_texts_and_errors_between_two_confidences(tmp_path, texts):
    probabilities, actual = many_texts(3, texts=texts)
    write(tmp_path / "model", probabilities, actual)
    bands = Thresholds(tmp_path / "model", made_by="train").bands(texts)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != actual
    assert len(bands) == {7: 1, 120: 2}.get(texts, len(bands)) <= 10
    assert [band.low for band in bands] == [0, *(band.high for band in bands[:-1])]
    for band in bands:
        inside = (confidence >= band.low) & ((confidence < band.high) | (band.high == 1))
        assert (band.texts, band.wrong) == (inside.sum(), wrong[inside].sum())
        assert band.texts >= max(50, texts / 10) or len(bands) == 1


def test_choices_are_the_thresholds_that_validation_supports(tmp_path):
    actual = np.arange(2000) % 2
    confidence = np.linspace(0.5, 1, 2000)
    right = np.random.default_rng(0).random(2000) < confidence
    probabilities = np.where((actual != right)[:, None], [1, 0], [0, 1]) * confidence[:, None]
    probabilities += (probabilities == 0) * (1 - confidence[:, None])
    write(tmp_path / "model", probabilities, actual)
    thresholds = Thresholds(tmp_path / "model", made_by="train")
    choices = thresholds.choices()
    assert {0.05, 0.1} <= choices.keys()
    for share, row in choices.items():
        assert row["min_confidence"] == thresholds.lowest(None, share) > 0
        assert row["errors"] < share
    write(tmp_path / "model", np.eye(2)[actual], actual)
    assert 0.1 not in Thresholds(tmp_path / "model", made_by="train").choices(), "none is needed"


@pytest.mark.parametrize("damage", ["truncated", "random"])
def test_a_damaged_file_is_named_in_one_line(data, tmp_path, damage):
    folder = shutil.copytree(data / "model", tmp_path / "model")
    path = folder / "coverage.csv"
    if damage == "truncated":
        path.write_text(path.read_text().rstrip().rpartition(",")[0])
    else:
        DAMAGES[damage](path)
    with pytest.raises(UserError, match=r"coverage\.csv is corrupt.*dvc repro") as error:
        sentiformer.load(folder)
    assert "\n" not in str(error.value)


def test_the_tables_say_what_the_thresholds_do_on_test(tmp_path):
    validation, test = many_texts(2, texts=3000), many_texts(2, texts=2000, seed=1)
    rows = write(tmp_path / "model", *validation)
    sources = np.array(["reviews", "sentences"] * 1000)
    results = as_results(*test, sources=sources)
    answers = {"transformer": Answers(tmp_path / "model", "train", test[0])}
    tables = coverage_tables(answers, results, ["reviews", "sentences", "all"])
    curve, chosen = tables["coverage"], tables["thresholds"]
    assert curve[curve["split"] == "validation"][COLUMNS].to_dict("records") == rows
    confidence, wrong = test[0].max(axis=1), test[0].argmax(axis=1) != test[1]
    for name, group in (("reviews", sources == "reviews"), ("all", sources != "")):
        own = chosen[chosen["source"] == name]
        assert len(own), "validation supports some of the shares"
        for row in own.to_dict("records"):
            assert row["min_confidence"] == row_for(rows, row["max_errors"])["min_confidence"]
            answered = (confidence >= row["min_confidence"]) & group
            assert row["coverage"] == pytest.approx(answered.sum() / group.sum(), abs=1e-6)
            assert row["errors"] == pytest.approx(wrong[answered].mean(), abs=1e-6)


def test_the_evaluation_has_the_models_that_are_in_folders(finetuned_data):
    table = pd.read_csv(finetuned_data / "evaluation" / "coverage.csv")
    assert set(table["model"]) == {"transformer", "ensemble"}
    whole = table[(table["split"] == "test") & (table["min_confidence"] == 0)]
    by_source = pd.read_csv(finetuned_data / "evaluation" / "by_source.csv")
    errors = dict(zip(whole["model"], whole["errors"], strict=True))
    assert errors["transformer"] == pytest.approx(1 - by_source["accuracy"][0], abs=1e-6)
    assert errors["ensemble"] == pytest.approx(1 - by_source["ensemble_accuracy"][0], abs=1e-6)


def test_the_command_line_counts_unsure_texts(data, monkeypatch, capsys):
    monkeypatch.setenv("SENTIFORMER_THREADS", str(RUNTIME.threads))
    options = ["--model", str(data / "model"), "--min-confidence", "1"]
    cli.main(["predict", *options, "a great film", "boring and dull", "zyzzyva"])
    found = capsys.readouterr()
    assert [line.split()[0] for line in found.out.splitlines()] == ["unsure", "unsure", "?"]
    line = '3 texts: 2 "unsure" (confidence below 1), 1 "?" (no known word); '
    assert found.err.startswith(line)
    with pytest.raises(SystemExit, match="are both given; give one of the two"):
        cli.main(["predict", *options, "--max-errors", "0.1", "a great film"])


@pytest.mark.parametrize("option", ["--min-confidence", "--max-errors"])
def test_explain_refuses_a_threshold_which_it_would_not_use(capsys, option):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["explain", option, "0.1", "a great film"])
    assert stopped.value.code == 2
    assert f"unknown arguments: {option}" in capsys.readouterr().err
