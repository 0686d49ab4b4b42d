"""A text gets the same prediction in each batch, and each text gets one."""

import json
import shutil
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from conftest import RUNTIME
from test_evaluation import DAMAGES

from sentiformer.core.errors import UserError
from sentiformer.core.seal import seal
from sentiformer.serving.cloze import LanguageModel
from sentiformer.serving.predictor import Predictor
from sentiformer.serving.trained_model import BATCH_TOKENS, batches_by_length


@pytest.fixture(scope="module")
def predictor(data):
    return Predictor.load(data / "model", RUNTIME)


@pytest.fixture(scope="module")
def evaluated(data):
    """The test texts with the predictions of stage evaluate."""
    return pd.read_parquet(data / "evaluation" / "predictions.parquet")


@pytest.fixture
def model(data, tmp_path):
    return shutil.copytree(data / "model", tmp_path / "model")


def positive(predictions):
    return np.array([prediction.probabilities["positive"] for prediction in predictions])


def test_raw_texts_get_the_predictions_of_the_evaluation(predictor, evaluated):
    found = predictor(evaluated["text"].tolist())
    assert [prediction.label for prediction in found] == evaluated["predicted"].tolist()
    assert positive(found) == pytest.approx(evaluated["probability_positive"].to_numpy(), abs=1e-5)


def test_a_single_text_gets_the_same_prediction_as_in_a_batch(predictor, evaluated):
    texts = evaluated["text"].tolist()
    together = positive(predictor(texts))
    assert np.ptp(together) > 0.1, "predictions differ from text to text"
    alone = np.concatenate([positive(predictor([text])) for text in texts])
    assert alone == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("size", [2, 7, 33, 40])
def test_order_and_size_of_the_batch_change_nothing(predictor, evaluated, size):
    texts = np.array([*evaluated["text"].tolist(), "", "great " * 300])
    expected = positive(predictor(texts.tolist()))
    order = np.random.default_rng(size).permutation(len(texts))
    found = np.empty(len(texts))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        found[rows] = positive(predictor(texts[rows].tolist()))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("chunks", "here"), [(0, 0), (1, 1), (7, 0)])
def test_several_chunks_are_classified_in_other_processes(
    predictor, evaluated, monkeypatch, chunks, here
):
    texts = evaluated["text"].tolist()[: 3 * chunks]
    cut = [texts[start : start + 3] for start in range(0, len(texts), 3)]
    expected, called = predictor(texts), []
    classify = Predictor.__call__
    monkeypatch.setattr(
        Predictor, "__call__", lambda self, *given: called.append(1) or classify(self, *given)
    )
    found = list(predictor.predict_chunks(iter(cut), workers=2))
    assert [chunk for chunk, _ in found] == cut
    predictions = [prediction for _, chunk in found for prediction in chunk]
    assert positive(predictions) == pytest.approx(positive(expected), abs=1e-5)
    assert len(called) == here


def test_a_chunk_is_classified_before_the_next_is_read(predictor):
    def typed():
        yield ["a great film"]
        raise AssertionError("the prediction comes first")

    ((texts, predictions),) = islice(predictor.predict_chunks(typed(), workers=1), 1)
    assert predictions == predictor(texts)


def test_the_label_is_the_most_probable_class(predictor, evaluated):
    for prediction in predictor(evaluated["text"].tolist()):
        assert set(prediction.probabilities) == {"negative", "positive"}
        assert prediction.probability == max(prediction.probabilities.values())
        assert prediction.probabilities[prediction.label] == prediction.probability


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "<br />", "xyzzy plugh", "\0", "<pad>", "great " * 5000, "\U0001f600" * 250_000],
    ids=["empty", "blank", "markup", "unknown words", "nul", "special", "long", "1 MB of emoji"],
)
def test_any_text_gets_probabilities_that_sum_to_one(predictor, text):
    (prediction,) = predictor([text])
    values = list(prediction.probabilities.values())
    assert all(0 <= value <= 1 for value in values)
    assert sum(values) == pytest.approx(1)


def test_a_text_without_a_known_word_gets_the_class_frequencies_of_train(model):
    about = json.loads((model / "config.json").read_text())
    about["data"]["splits"]["train"]["label_counts"] = {"positive": 30, "negative": 10}
    (model / "config.json").write_text(json.dumps(about))
    seal(model)
    predict = Predictor.load(model, RUNTIME)
    *unknown, known = predict(["", "<br />", "xyzzy plugh " * 50, "a great film"])
    for prediction in unknown:
        assert prediction.label == "?"
        assert prediction.reason
        assert prediction.probability == 0.75
        assert prediction.probabilities == {"negative": 0.25, "positive": 0.75}
    assert known.probability not in (0.25, 0.75)
    assert predict(["xyzzy a great film"])[0] != unknown[0]


def test_a_config_without_label_counts_is_one_line(model):
    about = json.loads((model / "config.json").read_text())
    del about["data"]["splits"]["train"]["label_counts"]
    (model / "config.json").write_text(json.dumps(about))
    seal(model)
    with pytest.raises(UserError, match=r"train\.label_counts is missing; add it"):
        Predictor.load(model, RUNTIME)


def test_a_lone_surrogate_is_read_as_a_question_mark(predictor):
    texts = ["a great film \ud83d", "\udcff dull"]
    expected = predictor([text.encode("utf-8", "replace").decode() for text in texts])
    assert predictor(texts) == expected
    assert expected == predictor(["a great film ?", "? dull"])


def test_a_missing_text_gets_no_label(predictor):
    missing, known = predictor([None, "a great film"])
    assert (missing.label, missing.reason) == ("?", "no text")
    assert (known.label, known.reason) == (predictor(["a great film"])[0].label, "")


def test_an_empty_list_gets_no_predictions(predictor):
    assert predictor([]) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_missing_or_corrupt_file_is_one_line_that_names_it(model, name, damage):
    DAMAGES[damage](model / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"model/{name} is {word}.*`dvc repro .*train`") as error:
        Predictor.load(model, RUNTIME)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.json", '"negative",\n    "positive"', '"positive",\n    "negative"'),
        ("config.json", '"num_heads": 2', '"num_heads": 4'),
        ("vocab.txt", "<pad>\n<unk>\n", "<unk>\n<pad>\n"),
        ("coverage.csv", ".", ","),
    ],
)
def test_a_changed_file_of_a_model_is_found(model, name, old, new):
    text = (model / name).read_text()
    assert old in text
    (model / name).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"{name} is corrupt \(its SHA-256 is not that of files"):
        Predictor.load(model, RUNTIME)


@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_flipped_bit_of_the_weights_is_found(model, place):
    path = model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors is corrupt"):
        Predictor.load(model, RUNTIME)


@pytest.mark.parametrize("counts", [[1, 2], "many", {"negative": "1", "positive": []}, {}, None])
def test_label_counts_of_another_type_are_one_line(model, counts):
    about = json.loads((model / "config.json").read_text())
    about["data"]["splits"]["train"]["label_counts"] = counts
    (model / "config.json").write_text(json.dumps(about))
    seal(model)
    with pytest.raises(UserError, match=r"model/config\.json: .*label_counts") as error:
        Predictor.load(model, RUNTIME)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", [{}, {"/etc/hostname": "0"}, {"../other": "0"}])
def test_a_seal_names_files_of_its_folder_alone(model, names):
    (model / "files.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match=r"files\.json is corrupt \(it does not name"):
        Predictor.load(model, RUNTIME)


def test_files_beside_those_of_a_model_are_allowed(model):
    (model / "README.md").write_text("a model card")
    assert Predictor.load(model, RUNTIME)(["a great film"])[0].label == "positive"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_model_without_its_seal_is_refused(model, damage):
    DAMAGES[damage](model / "files.json")
    with pytest.raises(UserError, match=r"files\.json is (missing|corrupt).*`dvc repro .*train`"):
        Predictor.load(model, RUNTIME)


@pytest.mark.parametrize(
    ("config", "wording"),
    [
        ("[]", r"config\.json is corrupt \(it is no JSON object\)"),
        ("{}", r"config\.json is corrupt \(it lacks 'stage'\)"),
        ('{"stage": "train"}', r"config\.json: vocab_size is missing; add it; labels is missi"),
        (
            '{"stage": "train", "vocab_size": 9, "labels": "positive"}',
            r"config\.json: labels is 'positive': ",
        ),
    ],
)
def test_an_incomplete_config_names_the_missing_key(model, config, wording):
    (model / "config.json").write_text(config)
    seal(model)
    with pytest.raises(UserError, match=wording) as error:
        Predictor.load(model, RUNTIME)
    assert "\n" not in str(error.value)


def test_the_folder_of_another_stage_is_refused(data):
    with pytest.raises(
        UserError, match=r"pretrained is from stage pretrain; give the folder of stage train"
    ):
        Predictor.load(data / "pretrained", RUNTIME)
    with pytest.raises(
        UserError, match=r"model is from stage train; give the folder of stage pretrain"
    ):
        LanguageModel(data / "model", RUNTIME)


def test_weights_of_a_wrong_size_are_one_line(model):
    about = json.loads((model / "config.json").read_text())
    about["params"]["model"]["d_ff"] = 64
    (model / "config.json").write_text(json.dumps(about))
    seal(model)
    with pytest.raises(UserError, match=r"model\.safetensors is corrupt") as error:
        Predictor.load(model, RUNTIME)
    assert "\n" not in str(error.value)


def test_bf16_predictions_are_close_to_fp32(data, evaluated):
    runtime = RUNTIME.model_copy(update={"precision": "bf16"})
    found = positive(Predictor.load(data / "model", runtime)(evaluated["text"].tolist()))
    expected = evaluated["probability_positive"].to_numpy()
    assert found == pytest.approx(expected, abs=0.02)
    assert not np.array_equal(found, expected)


def test_batches_hold_each_text_once_and_a_limited_number_of_tokens():
    lengths = np.random.default_rng(0).integers(0, 600, 300)
    batches = list(batches_by_length(lengths.tolist()))
    assert sorted(np.concatenate(batches)) == list(range(300))
    assert all(lengths[rows].max() * len(rows) <= BATCH_TOKENS for rows in batches)
    assert [list(rows) for rows in batches_by_length([5000, 1])] == [[1], [0]]
    assert list(batches_by_length([])) == []
