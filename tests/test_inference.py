"""The same text gives the same answer in any company, and any text gives one."""

import json
import shutil
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from conftest import RUNTIME
from test_evaluation import DAMAGES

from sentiformer.core.errors import UserError
from sentiformer.serving.cloze import LanguageModel
from sentiformer.serving.predictor import BATCH_TOKENS, Predictor, batches_of_tokens


@pytest.fixture(scope="module")
def predictor(data):
    return Predictor.load(data / "model", RUNTIME)


@pytest.fixture(scope="module")
def judged(data):
    """The test texts as stage evaluate judged them."""
    return pd.read_parquet(data / "evaluation" / "predictions.parquet")


@pytest.fixture
def model(data, tmp_path):
    return shutil.copytree(data / "model", tmp_path / "model")


def positive(predictions):
    return np.array([prediction.probabilities["positive"] for prediction in predictions])


def test_raw_texts_get_the_answers_of_the_evaluation(predictor, judged):
    found = predictor(judged["text"].tolist())
    assert [prediction.label for prediction in found] == judged["predicted"].tolist()
    assert positive(found) == pytest.approx(judged["probability_positive"].to_numpy(), abs=1e-5)


def test_a_text_alone_gets_the_answer_that_it_gets_among_others(predictor, judged):
    texts = judged["text"].tolist()
    together = positive(predictor(texts))
    assert np.ptp(together) > 0.1, "answers differ from text to text"
    alone = np.concatenate([positive(predictor([text])) for text in texts])
    assert alone == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("size", [2, 7, 33, 40])
def test_order_and_size_of_the_batch_change_nothing(predictor, judged, size):
    texts = np.array([*judged["text"].tolist(), "", "great " * 300])
    expected = positive(predictor(texts.tolist()))
    order = np.random.default_rng(size).permutation(len(texts))
    found = np.empty(len(texts))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        found[rows] = positive(predictor(texts[rows].tolist()))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("chunks", "here"), [(0, 0), (1, 1), (7, 0)])
def test_chunks_are_classified_in_other_processes_where_there_are_several(
    predictor, judged, monkeypatch, chunks, here
):
    texts = judged["text"].tolist()[: 3 * chunks]
    cut = [texts[start : start + 3] for start in range(0, len(texts), 3)]
    expected, called = predictor(texts), []
    classify = Predictor.__call__
    monkeypatch.setattr(
        Predictor, "__call__", lambda self, texts: called.append(1) or classify(self, texts)
    )
    found = list(predictor.in_chunks(iter(cut), workers=2))
    assert [chunk for chunk, _ in found] == cut
    predictions = [prediction for _, of in found for prediction in of]
    assert positive(predictions) == pytest.approx(positive(expected), abs=1e-5)
    assert len(called) == here


def test_a_chunk_is_answered_before_the_next_is_there(predictor):
    def typed():
        yield ["a great film"]
        raise AssertionError("the answer comes first")

    ((texts, predictions),) = islice(predictor.in_chunks(typed(), workers=1), 1)
    assert predictions == predictor(texts)


def test_the_label_is_the_likeliest_and_its_probability_is_told(predictor, judged):
    for prediction in predictor(judged["text"].tolist()):
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


def test_a_text_without_a_known_word_gets_the_shares_of_the_classes_in_train(model):
    about = json.loads((model / "config.json").read_text())
    about["data"]["splits"]["train"]["label_counts"] = {"positive": 30, "negative": 10}
    (model / "config.json").write_text(json.dumps(about))
    predict = Predictor.load(model, RUNTIME)
    *nothing, something = predict(["", "<br />", "xyzzy plugh " * 50, "a great film"])
    for prediction in nothing:
        assert prediction.label == "positive"
        assert prediction.probabilities == {"negative": 0.25, "positive": 0.75}
    assert something.probability not in (0.25, 0.75)
    assert predict(["xyzzy a great film"])[0] != nothing[0]


def test_a_config_without_its_data_is_one_line(model):
    about = json.loads((model / "config.json").read_text())
    del about["data"]["splits"]["train"]["label_counts"]
    (model / "config.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"config\.json is corrupt \(it lacks 'label_counts'\); "):
        Predictor.load(model, RUNTIME)


def test_half_a_character_is_read_as_a_question_mark(predictor):
    texts = ["a great film \ud83d", "\udcff dull"]
    expected = predictor([text.encode("utf-8", "replace").decode() for text in texts])
    assert predictor(texts) == expected
    assert expected == predictor(["a great film ?", "? dull"])


def test_no_text_gets_no_answer(predictor):
    assert predictor([]) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocab.txt"])
def test_a_missing_or_corrupt_file_is_one_line_that_names_it(model, name, damage):
    DAMAGES[damage](model / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"model/{name} is {word}.*`dvc repro .*train`") as error:
        Predictor.load(model, RUNTIME)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_vocabulary_of_another_size_than_the_models_is_corrupt(model, change):
    path = model / "vocab.txt"
    words = path.read_text().splitlines()
    words = words[:-1] if change < 0 else [*words, "another"]
    path.write_text("\n".join(words) + "\n")
    wording = rf"vocab\.txt is corrupt \(it holds {len(words)} words, the model knows 60\)"
    with pytest.raises(UserError, match=wording):
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
def test_a_config_that_says_too_little_names_what_it_lacks(model, config, wording):
    (model / "config.json").write_text(config)
    with pytest.raises(UserError, match=wording) as error:
        Predictor.load(model, RUNTIME)
    assert "\n" not in str(error.value)


def test_the_model_of_another_stage_is_named_as_such(data):
    with pytest.raises(UserError, match=r"pretrained is of stage pretrain; give what stage train"):
        Predictor.load(data / "pretrained", RUNTIME)
    with pytest.raises(UserError, match=r"model is of stage train; give what stage pretrain wrote"):
        LanguageModel(data / "model", RUNTIME)


def test_weights_of_another_size_than_the_config_says_are_one_line(model):
    about = json.loads((model / "config.json").read_text())
    about["params"]["model"]["d_ff"] = 64
    (model / "config.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"model\.safetensors is corrupt") as error:
        Predictor.load(model, RUNTIME)
    assert "\n" not in str(error.value)


def test_in_bf16_the_answers_are_nearly_those_of_fp32(data, judged):
    runtime = RUNTIME.model_copy(update={"precision": "bf16"})
    found = positive(Predictor.load(data / "model", runtime)(judged["text"].tolist()))
    expected = judged["probability_positive"].to_numpy()
    assert found == pytest.approx(expected, abs=0.02)
    assert not np.array_equal(found, expected)


def test_batches_hold_every_text_once_and_no_more_tokens_than_they_may():
    lengths = np.random.default_rng(0).integers(0, 600, 300)
    batches = list(batches_of_tokens(lengths.tolist()))
    assert sorted(np.concatenate(batches)) == list(range(300))
    assert all(lengths[rows].max() * len(rows) <= BATCH_TOKENS for rows in batches)
    assert [list(rows) for rows in batches_of_tokens([5000, 1])] == [[1], [0]]
    assert list(batches_of_tokens([])) == []
