"""Metrics computed by hand, tables that contain every text, and inputs that do not fit."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import RUNTIME, tiny_params

from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import UserError
from sentiformer.evaluation.evaluate import evaluate
from sentiformer.evaluation.metrics import (
    accuracy_interval,
    compute_metrics,
    compute_scores,
    expected_calibration_error,
)
from sentiformer.evaluation.tables import (
    calibration_table,
    class_table,
    curve_tables,
    length_table,
    make_tables,
    predictions_table,
)
from sentiformer.text.tokenizer import tokenize

POSITIVE = np.array([0.9, 0.6, 0.4, 0.2, 0.7])
TWO = np.stack([1 - POSITIVE, POSITIVE], axis=1)
ACTUAL_TWO = np.array([1, 0, 1, 0, 1])  # predicted: 1, 1, 0, 0, 1
THREE = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.1, 0.6, 0.3],
        [0.2, 0.3, 0.5],
        [0.5, 0.4, 0.1],
        [0.1, 0.2, 0.7],
        [0.3, 0.5, 0.2],
    ]
)
ACTUAL_THREE = np.array([0, 1, 2, 1, 2, 0])  # predicted: 0, 1, 2, 0, 2, 1
INPUTS = [
    "model/model.safetensors",
    "model/config.json",
    "model/vocab.txt",
    "tokens/corpus.json",
    "tokens/test.arrow",
    "tokens/types.txt",
    "raw/test.parquet",
    "baseline/lineage.json",
    "baseline/metrics.json",
    "baseline/tfidf.parquet",
    "baseline/nb_trigrams.parquet",
]
DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "random": lambda path: path.write_bytes(np.random.default_rng(3).bytes(path.stat().st_size)),
}


def many_texts(classes, texts=1000, seed=0):
    """Probabilities of a mediocre model, and the true classes."""
    rng = np.random.default_rng(seed)
    actual = rng.integers(0, classes, texts)
    logits = rng.normal(size=(texts, classes)) + 1.5 * np.eye(classes)[actual]
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True), actual


def area_under_roc_curve(score, is_class):
    """The probability that a text of the class has a higher score than another text."""
    gaps = score[is_class][:, None] - score[~is_class][None, :]
    return ((gaps > 0) + 0.5 * (gaps == 0)).mean()


def evaluate_folder(data, folder):
    folder.mkdir(exist_ok=True)
    inputs = {name: data / name for name in ("model", "baseline", "tokens", "raw")}
    return evaluate(RUNTIME, **inputs, folder=folder)


def files_in(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def change_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


def test_scores_of_two_classes_by_hand():
    assert compute_scores(TWO, ACTUAL_TWO) == {
        "accuracy": 0.6,
        "balanced_accuracy": round((1 / 2 + 2 / 3) / 2, 6),
        "f1": round(2 * 2 / (2 * 2 + 1 + 1), 6),
        "roc_auc": round(5 / 6, 6),
        "log_loss": round(-sum(map(math.log, (0.9, 0.4, 0.4, 0.8, 0.7))) / 5, 6),
    }


def test_scores_of_three_classes_are_macro_averages():
    assert compute_scores(THREE, ACTUAL_THREE) == {
        "accuracy": round(4 / 6, 6),
        "balanced_accuracy": round((0.5 + 0.5 + 1) / 3, 6),
        "f1": round((0.5 + 0.5 + 1) / 3, 6),
        "roc_auc": round((7 / 8 + 7 / 8 + 1) / 3, 6),
        "log_loss": round(-sum(map(math.log, (0.7, 0.6, 0.5, 0.4, 0.7, 0.3))) / 6, 6),
    }


@pytest.mark.parametrize("classes", [2, 3])
def test_roc_auc_is_the_probability_to_rank_two_texts_correctly(classes):
    probabilities, actual = many_texts(classes)
    areas = [
        area_under_roc_curve(probabilities[:, number], actual == number)
        for number in range(classes)
    ]
    assert compute_scores(probabilities, actual)["roc_auc"] == pytest.approx(
        np.mean(areas), abs=1e-6
    )


def test_perfect_model_has_perfect_scores():
    perfect = np.eye(3)[ACTUAL_THREE]
    found = compute_scores(perfect, ACTUAL_THREE)
    assert found.pop("log_loss") == pytest.approx(0, abs=1e-6)
    assert set(found.values()) == {1.0}


def test_scores_of_each_class_by_hand():
    found = class_table(TWO.argmax(axis=1), ACTUAL_TWO, ["bad", "good"])
    assert found.to_dict("records") == [
        {"class": "bad", "precision": 0.5, "recall": 0.5, "f1": 0.5, "texts": 2},
        {"class": "good", "precision": 0.666667, "recall": 0.666667, "f1": 0.666667, "texts": 3},
    ]


def test_class_that_is_never_predicted_has_zero_precision_and_no_warning():
    found = class_table(np.array([0, 0, 1]), np.array([0, 2, 1]), ["a", "b", "c"])
    assert found.iloc[2].tolist() == ["c", 0.0, 0.0, 0.0, 1]


def test_calibration_bins_and_error_by_hand():
    confidence = np.array([0.55, 0.65, 0.90, 0.95, 1.0])
    right = np.array([True, False, True, True, False])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    table = calibration_table(probabilities, np.where(right, 0, 1), bins=5)
    assert table.to_dict("list") == {
        "texts": [1, 1, 3],
        "confidence": [0.55, 0.65, 0.95],
        "accuracy": [1.0, 0.0, 0.666667],
    }
    by_hand = (1 * 0.45 + 1 * 0.65 + 3 * (0.95 - 2 / 3)) / 5
    assert expected_calibration_error(table) == pytest.approx(by_hand, abs=1e-6)


def test_calibration_bins_contain_the_texts_between_their_edges():
    probabilities, actual = many_texts(3)
    table, confidence = calibration_table(probabilities, actual), probabilities.max(axis=1)
    counts, _ = np.histogram(confidence, bins=15, range=(0, 1))
    assert table["texts"].tolist() == counts[counts > 0].tolist()
    assert table["texts"].sum() == len(actual)


def test_perfectly_calibrated_model_has_no_calibration_error():
    sure = np.tile([0.75, 0.25], (4, 1))
    table = calibration_table(sure, np.array([0, 0, 0, 1]), bins=10)
    assert expected_calibration_error(table) == pytest.approx(0)


def test_length_bins_have_equal_numbers_of_texts_from_short_to_long():
    lengths = np.array([10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    right = np.array([True, True, True, False, False, False, True, False, True, True])
    assert length_table(right, lengths).to_dict("list") == {
        "tokens": ["1-2", "3-4", "5-6", "7-8", "9-10"],
        "texts": [2, 2, 2, 2, 2],
        "accuracy": [1.0, 0.5, 0.0, 0.5, 1.0],
    }


@pytest.mark.parametrize("bins", [1, 2, 5, 50])
@pytest.mark.parametrize("longest", [1, 2, 7, 900])
def test_length_bins_contain_every_text_once_when_lengths_are_equal(bins, longest):
    rng = np.random.default_rng(longest)
    lengths, right = rng.integers(1, longest + 1, 200), rng.random(200) < 0.7
    table = length_table(right, lengths, bins)
    edges = [int(edge) for name in table["tokens"] for edge in name.split("-")]
    assert table["texts"].sum() == 200
    assert (table["texts"] * table["accuracy"]).sum() == pytest.approx(right.sum(), abs=1e-3)
    assert len(table) <= bins
    assert edges == sorted(edges)
    assert len(set(table["tokens"])) == len(table), "no two bins have one name"


def test_roc_table_has_both_ends_and_its_area_is_roc_auc():
    probabilities, actual = many_texts(2)
    roc = curve_tables(probabilities, actual, ["bad", "good"])["roc"]
    assert set(roc["class"]) == {"good"}
    assert roc[["fpr", "tpr"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    assert roc["fpr"].is_monotonic_increasing
    assert roc["tpr"].is_monotonic_increasing
    area = np.trapezoid(roc["tpr"], roc["fpr"])
    assert area == pytest.approx(compute_scores(probabilities, actual)["roc_auc"], abs=1e-5)


def test_points_of_precision_and_recall_belong_to_a_threshold():
    probabilities, actual = many_texts(2, texts=60)
    table = curve_tables(probabilities, actual, ["bad", "good"])["precision_recall"]
    possible = {(0.0, 1.0)}
    for threshold in probabilities[:, 1]:
        said, is_good = probabilities[:, 1] >= threshold, actual == 1
        hits = (said & is_good).sum()
        possible.add((round(hits / is_good.sum(), 6), round(hits / said.sum(), 6)))
    points = set(zip(table["recall"], table["precision"], strict=True))
    assert points <= possible
    assert {recall for recall, _ in points} == {recall for recall, _ in possible}


def test_each_of_three_classes_has_a_curve():
    probabilities, actual = many_texts(3, texts=100)
    for name, table in curve_tables(probabilities, actual, ["a", "b", "c"]).items():
        assert table["class"].unique().tolist() == ["a", "b", "c"], name
        assert not table.isna().any().any()


def test_predictions_table_has_one_row_per_text():
    table = predictions_table(list("abcde"), TWO, ACTUAL_TWO, np.arange(5), ["bad", "good"])
    assert table["text"].tolist() == list("abcde")
    assert table["tokens"].tolist() == [0, 1, 2, 3, 4]
    assert table["actual"].tolist() == ["good", "bad", "good", "bad", "good"]
    assert table["predicted"].tolist() == ["good", "good", "bad", "bad", "good"]
    assert table["probability_bad"].tolist() == TWO[:, 0].tolist()
    assert table["probability_good"].tolist() == TWO[:, 1].tolist()


@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_and_tables_agree(classes):
    probabilities, actual = many_texts(classes)
    labels = ["a", "b", "c"][:classes]
    metrics = compute_metrics(probabilities, actual)
    tables = make_tables(probabilities, actual, np.arange(len(actual)), labels)
    confusion = tables["confusion"]
    assert (confusion["actual"] == confusion["predicted"]).mean() == metrics["accuracy"]
    assert confusion["actual"].map(labels.index).tolist() == actual.tolist()
    by_class = tables["by_class"]
    assert by_class["class"].tolist() == labels
    assert by_class["texts"].tolist() == np.bincount(actual).tolist()
    assert by_class["recall"].mean() == pytest.approx(metrics["balanced_accuracy"], abs=1e-5)
    by_length = tables["by_length"]
    assert by_length["texts"].sum() == len(actual)
    right = (by_length["texts"] * by_length["accuracy"]).sum()
    assert right / len(actual) == pytest.approx(metrics["accuracy"], abs=1e-5)


def test_written_metrics_are_those_returned_and_valid_json(copy, tmp_path):
    metrics = evaluate_folder(copy, tmp_path / "evaluation")
    text = (tmp_path / "evaluation" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == metrics, "JSON knows no NaN"


def test_number_of_metrics_does_not_depend_on_the_classes():
    probabilities, actual = many_texts(40)
    metrics = compute_metrics(probabilities, actual)
    assert len(metrics) == 8, "DVC shows a column for each"
    assert all(isinstance(value, float) for value in metrics.values())


def test_second_evaluation_writes_the_same_files(data, tmp_path):
    evaluate_folder(data, tmp_path / "again")
    assert files_in(tmp_path / "again") == files_in(data / "evaluation")


def test_written_predictions_belong_to_the_metrics(data):
    table = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    metrics = json.loads((data / "evaluation" / "metrics.json").read_text())
    raw = pd.read_parquet(data / "raw" / "test.parquet")
    assert table["text"].tolist() == raw["text"].tolist()
    assert (table["actual"] == "positive").astype(int).tolist() == raw["label"].tolist()
    assert (table["actual"] == table["predicted"]).mean() == pytest.approx(metrics["accuracy"])
    sums = table["probability_negative"] + table["probability_positive"]
    assert sums.to_numpy() == pytest.approx(1)


@pytest.mark.parametrize("name", KINDS)
def test_baseline_is_evaluated_on_the_texts_of_the_transformer(data, name):
    found = json.loads((data / "evaluation" / "baselines" / f"{name}.json").read_text())
    metrics = json.loads((data / "evaluation" / "metrics.json").read_text())
    ours = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    theirs = pd.read_parquet(data / "baseline" / f"{name}.parquet")
    right = ours["actual"] == ours["predicted"]
    baseline_right = theirs.idxmax(axis=1) == "probability_" + ours["actual"]
    assert found["accuracy"] == pytest.approx(baseline_right.mean(), abs=1e-6)
    assert found["transformer_alone"] == (right & ~baseline_right).sum()
    assert found["baseline_alone"] == (baseline_right & ~right).sum()
    assert found["difference"] == pytest.approx(metrics["accuracy"] - found["accuracy"], abs=2e-6)
    assert accuracy_interval(baseline_right.to_numpy()).items() <= found.items()
    chosen = json.loads((data / "baseline" / "metrics.json").read_text())[name]
    assert chosen.items() <= found.items(), "with the parameters that were chosen"


def test_interval_contains_the_accuracy(data):
    metrics = json.loads((data / "evaluation" / "metrics.json").read_text())
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]


def test_baselines_of_other_texts_are_refused(copy, tmp_path):
    path = copy / "baseline" / "lineage.json"
    change_json(path, lambda lineage: lineage.update(validation="another"))
    with pytest.raises(UserError, match=r"baseline was made from other texts than .*; run `dvc"):
        evaluate_folder(copy, tmp_path / "evaluation")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", INPUTS)
def test_missing_or_corrupt_input_is_one_line_that_names_it(copy, tmp_path, name, damage):
    DAMAGES[damage](copy / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"{name} is {word}.*dvc repro") as error:
        evaluate_folder(copy, tmp_path / "evaluation")
    assert "\n" not in str(error.value)


def test_table_of_types_without_its_end_is_corrupt(copy, tmp_path):
    path = copy / "tokens" / "types.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"types\.txt is corrupt \(it holds \d+ types, corpus.json"):
        evaluate_folder(copy, tmp_path / "evaluation")


def test_config_without_a_section_names_the_section(copy, tmp_path):
    change_json(copy / "model" / "config.json", lambda about: about["params"].pop("model"))
    with pytest.raises(UserError, match=r"config\.json: params\.model is missing"):
        evaluate_folder(copy, tmp_path / "evaluation")


def test_different_number_of_raw_texts_is_refused(copy, tmp_path):
    path = copy / "raw" / "test.parquet"
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    with pytest.raises(UserError, match="do not belong together; run `dvc repro`"):
        evaluate_folder(copy, tmp_path / "evaluation")


def test_raw_texts_of_another_split_are_refused(copy, tmp_path):
    shutil.copy(copy / "raw" / "validation.parquet", copy / "raw" / "test.parquet")
    with pytest.raises(UserError, match="do not belong together"):
        evaluate_folder(copy, tmp_path / "evaluation")


def test_model_of_other_splits_is_refused_because_it_may_have_seen_these_texts(copy, tmp_path):
    def other_texts(about):
        about["data"]["splits"]["train"]["fingerprint"] = "another"

    change_json(copy / "model" / "config.json", other_texts)
    with pytest.raises(UserError, match="do not belong together"):
        evaluate_folder(copy, tmp_path / "evaluation")


def test_class_without_a_test_text_is_one_line(copy, tmp_path):
    path = copy / "raw" / "test.parquet"
    table = pd.read_parquet(path)
    table[table["label"] == 0].to_parquet(path)
    corpus = tokenize(tiny_params().tokenize, copy / "raw", copy / "tokens", workers=1)
    change_json(
        copy / "model" / "config.json", lambda about: about["data"].update(splits=corpus["splits"])
    )
    with pytest.raises(UserError, match=r"test\.arrow has no text labelled positive; give test"):
        evaluate_folder(copy, tmp_path / "evaluation")
