"""The fine-tuned encoder and the ensemble beside the Transformer: evaluation, report and page."""

import html
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ENCODER, RUNTIME
from test_evaluation import change_json, evaluate_folder, files_in
from test_reporting import Page, report

import sentiformer
from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, sha256
from sentiformer.core.seal import seal
from sentiformer.evaluation.metrics import compute_metrics
from sentiformer.serving.trained_model import load_classifier
from sentiformer.web import page


def json_of(data, name):
    return read_json(data / "evaluation" / name, made_by="evaluate")


def probabilities(data, name):
    return pd.read_parquet(data / "baseline" / f"{name}.parquet").to_numpy()


def predictions(data):
    return pd.read_parquet(data / "evaluation" / "predictions.parquet")


def of_transformer(data):
    return predictions(data)[["probability_negative", "probability_positive"]].to_numpy()


def actual(data):
    return (predictions(data)["actual"] == "positive").to_numpy().astype(int)


@pytest.fixture
def copy(finetuned_data, tmp_path):
    return shutil.copytree(finetuned_data, tmp_path / "data")


def test_without_an_encoder_the_ensemble_is_the_mean_of_the_transformer_and_nb_trigrams(data):
    found = json_of(data, "models/ensemble.json")
    mean = (of_transformer(data) + probabilities(data, "nb_trigrams")) / 2
    assert compute_metrics(mean, actual(data)).items() <= found.items()
    assert found["parts"] == ["transformer", "nb_trigrams"]
    assert found["outside_text"] is False
    assert not (data / "evaluation" / "models" / "finetuned.json").exists()
    assert not [name for name in predictions(data) if name.startswith("finetuned")]


def test_encoder_is_evaluated_alone_and_the_ensemble_as_the_artifact_predicts(finetuned_data):
    data, table = finetuned_data, predictions(finetuned_data)
    texts = table["text"].tolist()
    answers = sentiformer.load(data / "finetuned").predict(texts)
    mean = np.array([list(answer.probabilities.values()) for answer in answers])
    alone = 2 * mean - probabilities(data, "nb_trigrams")
    for name, expected in (("finetuned", alone), ("ensemble", mean)):
        found = json_of(data, f"models/{name}.json")
        scores = compute_metrics(expected, actual(data))
        assert found["outside_text"] is True
        assert found["accuracy"] == pytest.approx(scores["accuracy"], abs=1e-6)
        assert found["log_loss"] == pytest.approx(scores["log_loss"], abs=0.003)
        assert table[f"{name}_probability"].to_numpy() == pytest.approx(
            expected.max(axis=1), abs=0.01
        )
        names = np.array(["negative", "positive"])[expected.argmax(axis=1)]
        assert table[f"{name}_predicted"].tolist() == names.tolist()
        right = table["actual"] == table["predicted"]
        theirs = table["actual"] == table[f"{name}_predicted"]
        assert found["other_alone"] == (theirs & ~right).sum()
        by_source = pd.read_csv(data / "evaluation" / "by_source.csv")
        assert by_source[f"{name}_accuracy"][0] == found["accuracy"]
    assert json_of(data, "models/ensemble.json")["parts"] == ["finetuned", "nb_trigrams"]
    assert ENCODER.items() <= json_of(data, "models/finetuned.json")["encoder"].items()


def test_headline_stays_that_of_the_transformer(data, finetuned_data):
    assert json_of(finetuned_data, "metrics.json") == json_of(data, "metrics.json")
    assert of_transformer(finetuned_data).tolist() == of_transformer(data).tolist()


def test_the_summary_ends_with_the_encoder_and_the_ensemble(copy, tmp_path):
    evaluation = evaluate_folder(copy, tmp_path / "evaluation")
    assert evaluation.compared["ensemble"]["outside_text"] is True
    assert list(evaluation.summary())[-2:] == ["finetuned_accuracy", "ensemble_accuracy"]


def test_transformer_taught_by_the_encoder_has_used_outside_text(copy, tmp_path):
    def teach(about):
        about["params"]["teach"]["by"] = "encoder"

    change_json(copy / "model" / "config.json", teach)
    shutil.rmtree(copy / "evaluation")
    evaluation = evaluate_folder(copy, copy / "evaluation")
    assert evaluation.metrics["outside_text"] is True
    text = Page(report(copy, tmp_path / "report")).text
    assert "the texts of the data set alone with text from outside the data set" in text
    assert "that encoder labelled, which has learned from text from outside" in text


def test_second_evaluation_writes_the_same_files(finetuned_data, tmp_path):
    evaluate_folder(finetuned_data, tmp_path)
    seal(tmp_path)
    assert files_in(tmp_path) == files_in(finetuned_data / "evaluation")


def test_encoder_of_other_texts_is_refused(copy, tmp_path):
    def other_texts(about):
        about["data"]["splits"]["train"]["fingerprint"] = "another"

    change_json(copy / "finetuned" / "config.json", other_texts)
    with pytest.raises(UserError, match=r"finetuned was trained on other texts .*; run `dvc repro"):
        evaluate_folder(copy, tmp_path / "evaluation")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_damaged_file_of_the_encoder_is_one_line(copy, tmp_path, name):
    path = copy / "finetuned" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"{name} is corrupt.*dvc repro") as error:
        evaluate_folder(copy, tmp_path / "evaluation")
    assert "\n" not in str(error.value)


def test_report_keeps_results_with_outside_text_in_a_group(finetuned_data):
    source = (finetuned_data / "report" / "report.html").read_text()
    text = Page(source).text
    header = "Transformer TF-IDF bigram model NB-weighted trigram model fine-tuned encoder mean of"
    ensemble = "the fine-tuned encoder and the NB-weighted trigram model"
    assert f"{header} {ensemble} accuracy, %" in text
    assert "The encoder was trained on text from outside the data set before" in text
    assert 'colspan="3">the texts of the data set alone</th>' in source
    assert 'colspan="2">with text from outside the data set</th>' in source
    for fact in (ENCODER["name"], "12345", "apache-2.0", "a billion <pairs> of sentences"):
        assert fact in text
    assert "url" not in text, "a fact that is unknown has no row"
    assert "tokenizer.json" not in text, "hashes of files are not shown"
    assert sha256(finetuned_data / "finetuned" / "model.safetensors") in text


def test_report_without_an_encoder_has_no_group(data):
    text = Page((data / "report" / "report.html").read_text()).text
    assert "outside" not in text
    assert "mean of the Transformer and the NB-weighted trigram model" in text


@pytest.mark.parametrize("name", ["ensemble", "finetuned"])
def test_model_of_the_evaluation_that_is_corrupt_is_one_line(copy, tmp_path, name):
    (copy / "evaluation" / "models" / f"{name}.json").write_text("{")
    with pytest.raises(UserError, match=rf"{name}\.json is corrupt.*dvc repro"):
        report(copy, tmp_path / "report")


def shown_on_page(data, name):
    model = load_classifier(data / name, RUNTIME)
    return html.unescape(page.render_page(str(data / name), model.config, model.thresholds))


def test_page_has_the_accuracy_of_what_the_folder_predicts(copy):
    for name, column in (("model", "accuracy"), ("finetuned", "ensemble_accuracy")):
        accuracy = pd.read_csv(copy / "evaluation" / "by_source.csv")[column][0]
        assert f"{100 * accuracy:.1f} % of the <bdi>" in shown_on_page(copy, name)
    assert f"The pretrained encoder {ENCODER['name']}, fine-tuned on" in shown_on_page(
        copy, "finetuned"
    )
    shutil.rmtree(copy / "finetuned" / "ngrams")
    change_json(
        copy / "finetuned" / "config.json",
        lambda about: about["params"]["finetune"].update(ensemble=False),
    )
    accuracy = json_of(copy, "models/finetuned.json")["accuracy"]
    assert f"{100 * accuracy:.1f} % of the <bdi>" in shown_on_page(copy, "finetuned")


def test_ensemble_of_the_transformer_can_be_made_as_the_docs_say(data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "data")
    made = shutil.copytree(copy / "model", copy / "ensemble")
    shutil.copytree(copy / "baseline" / "ngrams", made / "ngrams")
    answers = sentiformer.load(made).predict(predictions(copy)["text"].tolist())
    found = [answer.probabilities["positive"] for answer in answers]
    mean = (of_transformer(copy) + probabilities(copy, "nb_trigrams")) / 2
    assert found == pytest.approx(mean[:, 1], abs=1e-4)
    assert "of the <bdi>" in shown_on_page(copy, "ensemble")
    path = copy / "evaluation" / "models" / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parts": ["finetuned"]}))
    assert "of the <bdi>" not in shown_on_page(copy, "ensemble")


def test_names_of_the_baselines_are_not_those_of_other_models():
    assert not {"finetuned", "ensemble", "transformer"} & KINDS.keys()
