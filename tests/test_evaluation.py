"""Metrics computed by hand, tables that contain every text, and inputs that do not fit."""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, RUNTIME, tiny_params

from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import UserError
from sentiformer.core.params import read_yaml
from sentiformer.core.seal import SEAL, seal
from sentiformer.evaluation.evaluate import Evaluation, evaluate
from sentiformer.evaluation.groups import length_table, source_table
from sentiformer.evaluation.metrics import (
    accuracy_interval,
    compute_metrics,
    expected_calibration_error,
)
from sentiformer.evaluation.tables import (
    Results,
    calibration_table,
    class_table,
    curve_tables,
    make_tables,
    predictions_table,
)
from sentiformer.text.corpus import Corpus, read_types
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
    "raw/train.parquet",
    "raw/validation.parquet",
    "baseline/unseen.parquet",
    "baseline/lineage.json",
    "baseline/metrics.json",
    "baseline/tfidf.parquet",
    "baseline/nb_trigrams.parquet",
    "finetuned/config.json",
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


def as_results(probabilities, actual, tokens=None, sources=None):
    """The results of texts all of whose words are known."""
    tokens = np.arange(len(actual)) if tokens is None else np.array(tokens)
    sources = np.array(["texts"] * len(actual) if sources is None else sources, dtype=object)
    return Results(probabilities, actual, sources, tokens, tokens)


def area_under_roc_curve(score, is_class):
    """The probability that a text of the class has a higher score than another text."""
    gaps = score[is_class][:, None] - score[~is_class][None, :]
    return ((gaps > 0) + 0.5 * (gaps == 0)).mean()


def evaluate_folder(data, folder):
    folder.mkdir(exist_ok=True)
    return evaluate(RUNTIME, data=data, folder=folder)


def files_in(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def change_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    if (path.parent / SEAL).exists():
        seal(path.parent)


@pytest.fixture
def copy(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data")


def test_scores_of_two_classes_by_hand():
    expected = {
        "accuracy": 0.6,
        "balanced_accuracy": round((1 / 2 + 2 / 3) / 2, 6),
        "f1": round(2 * 2 / (2 * 2 + 1 + 1), 6),
        "roc_auc": round(5 / 6, 6),
        "log_loss": round(-sum(map(math.log, (0.9, 0.4, 0.4, 0.8, 0.7))) / 5, 6),
    }
    assert expected.items() <= compute_metrics(TWO, ACTUAL_TWO).items()


def test_scores_of_three_classes_are_macro_averages():
    expected = {
        "accuracy": round(4 / 6, 6),
        "balanced_accuracy": round((0.5 + 0.5 + 1) / 3, 6),
        "f1": round((0.5 + 0.5 + 1) / 3, 6),
        "roc_auc": round((7 / 8 + 7 / 8 + 1) / 3, 6),
        "log_loss": round(-sum(map(math.log, (0.7, 0.6, 0.5, 0.4, 0.7, 0.3))) / 6, 6),
    }
    assert expected.items() <= compute_metrics(THREE, ACTUAL_THREE).items()


@pytest.mark.parametrize("classes", [2, 3])
def test_roc_auc_is_the_probability_to_rank_two_texts_correctly(classes):
    probabilities, actual = many_texts(classes)
    areas = [
        area_under_roc_curve(probabilities[:, number], actual == number)
        for number in range(classes)
    ]
    assert compute_metrics(probabilities, actual)["roc_auc"] == pytest.approx(
        np.mean(areas), abs=1e-6
    )


def test_perfect_model_has_perfect_scores():
    perfect = np.eye(3)[ACTUAL_THREE]
    found = compute_metrics(perfect, ACTUAL_THREE)
    assert found["log_loss"] == pytest.approx(0, abs=1e-6)
    assert {found[name] for name in ("accuracy", "balanced_accuracy", "f1", "roc_auc")} == {1.0}


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


def test_bins_of_the_length_by_hand():
    tokens = [0, 1, 8, 9, 16, 17, 400]
    right = np.array([True, False, True, True, False, True, True])
    probabilities = np.tile([0.75, 0.25], (7, 1))
    results = as_results(probabilities, np.where(right, 0, 1), tokens)
    results = results._replace(known_words=np.array([0, 0, 6, 9, 16, 17, 300]))
    table = length_table(results)
    assert table.to_dict("list") == {
        "tokens": ["0-8", "9-16", "17-32", "257-512"],
        "texts": [3, 2, 1, 1],
        "accuracy": [0.666667, 0.5, 1.0, 1.0],
        "confidence": [0.75, 0.75, 0.75, 0.75],
        "calibration_error": [0.083333, 0.25, 0.25, 0.25],
        "unknown_words": [0.333333, 0.0, 0.0, 0.25],
    }


@pytest.mark.parametrize("longest", [0, 1, 8, 9, 900])
def test_bins_of_the_length_contain_every_text_once(longest):
    rng = np.random.default_rng(longest)
    tokens, (probabilities, actual) = rng.integers(0, longest + 1, 200), many_texts(3, texts=200)
    table = length_table(as_results(probabilities, actual, tokens))
    edges = [tuple(map(int, name.split("-"))) for name in table["tokens"]]
    counts = [((low <= tokens) & (tokens <= high)).sum() for low, high in edges]
    assert table["texts"].tolist() == counts
    assert table["texts"].sum() == 200
    assert edges == sorted(edges)
    right = (probabilities.argmax(axis=1) == actual).sum()
    assert (table["texts"] * table["accuracy"]).sum() == pytest.approx(right, abs=1e-3)
    assert not table.isna().any().any()


def test_each_source_has_its_own_metrics_and_all_have_the_last_row():
    probabilities, actual = many_texts(2)
    sources = np.array(["b", "a"] * 500, dtype=object)
    others = {"first": 1 - probabilities, "second": probabilities}
    results = as_results(probabilities, actual, sources=sources)
    table = source_table(results, ["a", "none", "b"], others)
    assert table["source"].tolist() == ["a", "b", "all"], "a source without texts has no row"
    for row in table.to_dict("records"):
        chosen = slice(None) if row["source"] == "all" else sources == row["source"]
        expected = compute_metrics(probabilities[chosen], actual[chosen])
        assert {name: row[name] for name in expected if name in row}.items() <= expected.items()
        assert row["second_accuracy"] == row["accuracy"]
        assert row["first_accuracy"] == pytest.approx(1 - row["accuracy"], abs=1e-6)


def test_one_source_has_one_row():
    probabilities, actual = many_texts(2)
    table = source_table(as_results(probabilities, actual), ["texts", "other"], {})
    assert table["source"].tolist() == ["texts"]


def test_roc_table_has_both_ends_and_its_area_is_roc_auc():
    probabilities, actual = many_texts(2)
    roc = curve_tables(probabilities, actual, ["bad", "good"])["roc"]
    assert set(roc["class"]) == {"good"}
    assert roc[["fpr", "tpr"]].iloc[[0, -1]].to_numpy().tolist() == [[0, 0], [1, 1]]
    assert roc["fpr"].is_monotonic_increasing
    assert roc["tpr"].is_monotonic_increasing
    area = np.trapezoid(roc["tpr"], roc["fpr"])
    assert area == pytest.approx(compute_metrics(probabilities, actual)["roc_auc"], abs=1e-5)


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
    results = as_results(TWO, ACTUAL_TWO, sources=list("vwxyz"))
    table = predictions_table(list("abcde"), results, ["bad", "good"], {"other": TWO[::-1]})
    assert table["text"].tolist() == list("abcde")
    assert table["source"].tolist() == list("vwxyz")
    assert table["tokens"].tolist() == table["known_words"].tolist() == [0, 1, 2, 3, 4]
    assert table["actual"].tolist() == ["good", "bad", "good", "bad", "good"]
    assert table["predicted"].tolist() == ["good", "good", "bad", "bad", "good"]
    assert table["probability_bad"].tolist() == TWO[:, 0].tolist()
    assert table["probability_good"].tolist() == TWO[:, 1].tolist()
    assert table["other_predicted"].tolist() == ["good", "bad", "bad", "good", "good"]
    assert table["other_probability"].tolist() == [0.7, 0.8, 0.6, 0.6, 0.9]


@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_and_tables_agree(classes):
    probabilities, actual = many_texts(classes)
    labels = ["a", "b", "c"][:classes]
    metrics = compute_metrics(probabilities, actual)
    tables = make_tables(as_results(probabilities, actual), labels)
    confusion = tables["confusion"]
    assert (confusion["actual"] == confusion["predicted"]).mean() == metrics["accuracy"]
    assert confusion["actual"].map(labels.index).tolist() == actual.tolist()
    by_class = tables["by_class"]
    assert by_class["class"].tolist() == labels
    assert by_class["texts"].tolist() == np.bincount(actual).tolist()
    assert by_class["recall"].mean() == pytest.approx(metrics["balanced_accuracy"], abs=1e-5)


def test_written_metrics_are_those_returned_and_valid_json(copy, tmp_path):
    metrics = evaluate_folder(copy, tmp_path / "evaluation").metrics
    text = (tmp_path / "evaluation" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == metrics, "JSON knows no NaN"


def test_number_of_metrics_does_not_depend_on_the_classes():
    probabilities, actual = many_texts(40)
    metrics = compute_metrics(probabilities, actual)
    assert len(metrics) == 9
    assert all(isinstance(value, float | int) for value in metrics.values())


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_class_without_a_text_is_left_out_of_the_averages(classes, recwarn):
    probabilities, actual = many_texts(classes)
    actual[actual == classes - 1] = 0
    predicted, scores = probabilities.argmax(axis=1), compute_metrics(probabilities, actual)
    occurring = range(classes - 1)
    recalls = [(predicted == n)[actual == n].mean() for n in occurring]
    assert scores["balanced_accuracy"] == pytest.approx(np.mean(recalls), abs=1e-6)
    if classes == 2:
        assert scores["roc_auc"] is None
        assert scores["f1"] == 0
    else:
        areas = [area_under_roc_curve(probabilities[:, n], actual == n) for n in occurring]
        assert scores["roc_auc"] == pytest.approx(np.mean(areas), abs=1e-6)
    tables = make_tables(as_results(probabilities, actual), list("abcde")[:classes])
    assert tables["by_class"]["texts"].tolist()[-1] == 0
    assert set(tables["roc"]["class"]) == set("abcde"[: classes - 1] if classes > 2 else "")
    assert not any(table.isna().any().any() for table in tables.values())
    assert not recwarn.list


def test_class_with_one_text_counts_like_the_others(recwarn):
    expected = {
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "f1": 1.0,
        "roc_auc": 1.0,
        "log_loss": round(-sum(map(math.log, (0.7, 0.6, 0.5))) / 3, 6),
    }
    assert expected.items() <= compute_metrics(THREE[:3], ACTUAL_THREE[:3]).items()
    assert not recwarn.list


def test_metrics_of_dvc_are_one_small_file_in_git():
    pipeline = read_yaml(ROOT / "dvc.yaml")
    assert pipeline["metrics"] == ["metrics.json"]
    assert {"metrics.json": {"cache": False}} in pipeline["stages"]["evaluate"]["outs"]


def test_summary_has_the_headline_the_other_sources_and_the_baselines():
    found = {"accuracy": 0.9, "difference": 0.01, "p_value": 0.5}
    metrics = {"accuracy": 0.91, "log_loss": 0.2, "calibration_error": 0.01, "f1": 0.5}
    rows = [{"source": name, "accuracy": 0.8} for name in ("reviews", "sentences")]
    evaluation = Evaluation(metrics, rows, dict.fromkeys(KINDS, found), 20_000, 0)
    assert evaluation.summary() == {
        "accuracy": 0.91,
        "log_loss": 0.2,
        "calibration_error": 0.01,
        "sentences_accuracy": 0.8,
        "tfidf_accuracy": 0.9,
        "nb_trigrams_accuracy": 0.9,
    }


def test_second_evaluation_writes_the_same_files(data, tmp_path):
    evaluate_folder(data, tmp_path / "again")
    seal(tmp_path / "again")
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
    assert found["other_alone"] == (baseline_right & ~right).sum()
    assert found["difference"] == pytest.approx(metrics["accuracy"] - found["accuracy"], abs=2e-6)
    assert accuracy_interval(baseline_right.to_numpy()).items() <= found.items()
    chosen = json.loads((data / "baseline" / "metrics.json").read_text())[name]
    assert chosen.items() <= found.items(), "with the parameters that were chosen"


def test_interval_contains_the_accuracy(data):
    metrics = json.loads((data / "evaluation" / "metrics.json").read_text())
    assert metrics["accuracy_low"] < metrics["accuracy"] < metrics["accuracy_high"]


def set_sources(data, sources):
    """Give the raw test texts these sources; returns the table."""
    path = data / "raw" / "test.parquet"
    table = pd.read_parquet(path).assign(source=sources)
    table.to_parquet(path, index=False)
    return table


def test_headline_is_the_first_source_that_has_test_texts(copy, tmp_path):
    texts = len(pd.read_parquet(copy / "raw" / "test.parquet"))
    set_sources(copy, ["sentences"] * texts)
    evaluation = evaluate_folder(copy, tmp_path / "evaluation")
    assert [row["source"] for row in evaluation.sources] == ["sentences"]
    assert evaluation.metrics["texts"] == texts
    assert evaluation.lines(tmp_path)[0].startswith("test: accuracy ")


def test_metrics_and_baselines_are_those_of_the_headline_source(copy, tmp_path):
    texts = len(pd.read_parquet(copy / "raw" / "test.parquet"))
    set_sources(copy, ["sentences", "reviews"] * (texts // 2) + ["reviews"] * (texts % 2))
    evaluation = evaluate_folder(copy, tmp_path / "evaluation")
    table = pd.read_parquet(tmp_path / "evaluation" / "predictions.parquet")
    right, is_review = table["actual"] == table["predicted"], table["source"] == "reviews"
    assert evaluation.metrics["accuracy"] == pytest.approx(right[is_review].mean(), abs=1e-6)
    assert evaluation.metrics["texts"] == is_review.sum()
    rows = {row["source"]: row for row in evaluation.sources}
    assert list(rows) == ["reviews", "sentences"]
    assert rows["sentences"]["accuracy"] == pytest.approx(right[~is_review].mean(), abs=1e-6)
    for name, found in ((name, evaluation.compared[name]) for name in KINDS):
        theirs = pd.read_parquet(copy / "baseline" / f"{name}.parquet").idxmax(axis=1)
        baseline_right = theirs == "probability_" + table["actual"]
        assert found["accuracy"] == pytest.approx(baseline_right[is_review].mean(), abs=1e-6)
        assert found["accuracy"] == rows["reviews"][f"{name}_accuracy"]
        only = (right & ~baseline_right)[is_review].sum()
        assert found["transformer_alone"] == only, "the same texts are compared"
    by_length = pd.read_csv(tmp_path / "evaluation" / "by_length.csv")
    assert by_length["texts"].sum() == texts, "lengths differ by source"
    by_class = pd.read_csv(tmp_path / "evaluation" / "by_class.csv")
    assert by_class["texts"].sum() == is_review.sum()


def test_known_words_are_those_of_the_vocabulary(data):
    table = pd.read_parquet(data / "evaluation" / "predictions.parquet")
    vocab = set((data / "model" / "vocab.txt").read_text().splitlines())
    corpus = Corpus(data / "tokens" / "test.arrow")
    types = read_types(data / "tokens")
    for row, (known, tokens) in enumerate(zip(table["known_words"], table["tokens"], strict=True)):
        words = [types[number] for number in corpus[row]]
        assert (known, tokens) == (sum(word in vocab for word in words), len(words))
    assert (table["known_words"] < table["tokens"]).any()


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


@pytest.mark.parametrize("kept", [0, 1])
def test_test_of_one_class_is_evaluated_and_roc_auc_is_null(copy, tmp_path, kept, recwarn):
    path = copy / "raw" / "test.parquet"
    table = pd.read_parquet(path)
    is_kept = table["label"] == kept
    table[is_kept].to_parquet(path)
    change_json(
        copy / "raw" / "dataset.json",
        lambda about: about["splits"]["test"].update(rows=int(is_kept.sum())),
    )
    for name in KINDS:
        probabilities = pd.read_parquet(copy / "baseline" / f"{name}.parquet")
        probabilities[is_kept].to_parquet(copy / "baseline" / f"{name}.parquet", index=False)
    before = json.loads((copy / "tokens" / "corpus.json").read_text())
    corpus = tokenize(tiny_params().tokenize, copy / "raw", copy / "tokens", workers=1)
    (copy / "tokens" / "corpus.json").write_text(json.dumps({**before, **corpus}))
    change_json(
        copy / "model" / "config.json", lambda about: about["data"].update(splits=corpus["splits"])
    )
    evaluation = evaluate_folder(copy, tmp_path / "evaluation")
    assert evaluation.metrics["roc_auc"] is None
    assert evaluation.metrics["balanced_accuracy"] == evaluation.metrics["accuracy"]
    assert evaluation.compared["tfidf"]["roc_auc"] is None
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["roc_auc"] is None
    assert pd.read_csv(tmp_path / "evaluation" / "roc.csv").columns.tolist() == [
        "class",
        "fpr",
        "tpr",
    ]
    assert not recwarn.list


def test_test_without_a_text_is_one_line(copy, tmp_path):
    path = copy / "raw" / "test.parquet"
    pd.read_parquet(path).iloc[:0].to_parquet(path)
    tokenize(tiny_params().tokenize, copy / "raw", copy / "tokens", workers=1)
    with pytest.raises(UserError, match=r"test\.arrow has no text; raise its share"):
        evaluate_folder(copy, tmp_path / "evaluation")
