"""The library in Python: `sentiformer.load` and what `predict` takes."""

import pydoc
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import ROOT

import sentiformer
from sentiformer import UserError
from sentiformer.serving.model import texts_of

TEXTS = ["a great film", "boring and dull"]


@pytest.fixture(scope="module")
def model(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTIFORMER_THREADS", "1")
        return sentiformer.load(data / "model")


def test_one_text_gets_one_prediction_and_several_a_list(model):
    one = model.predict(TEXTS[0])
    assert one.label in ("negative", "positive")
    assert one.reason == ""
    assert model.predict([TEXTS[0]]) == [one]
    assert model.predict(np.str_(TEXTS[0])) == one
    assert model.predict([]) == []


KINDS = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "array": np.array(TEXTS),
    "array of objects": np.array(TEXTS, dtype=object),
    "Series": pd.Series(TEXTS, index=[7, 7]),
    "Index": pd.Index(TEXTS),
    "generator": (text for text in TEXTS),
    "table": pd.DataFrame({"id": ["good", "bad"], "text": TEXTS}),
    "categories": pd.DataFrame({"text": pd.Categorical(TEXTS)}),
    "dictionary": {"id": ["good", "bad"], "text": TEXTS},
    "Arrow array": pa.array(TEXTS),
    "Arrow table": pa.table({"id": ["good", "bad"], "text": TEXTS}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_found_in_each_kind_of_data(kind):
    assert texts_of(KINDS[kind]) == TEXTS


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_a_missing_text_gets_a_question_mark(model, missing):
    assert texts_of([missing, "a"]) == [None, "a"]
    assert model.predict(missing).reason == "no text"
    table = pd.DataFrame({"text": ["a great film", missing]})
    answered, unanswered = model.predict(table)
    assert answered == model.predict("a great film")
    assert (unanswered.label, unanswered.reason) == ("?", "no text")


def test_the_words_nan_and_none_are_texts():
    assert texts_of(["nan", "None", "<NA>"]) == ["nan", "None", "<NA>"]


@pytest.mark.parametrize(
    ("given", "wording"),
    [
        (pd.DataFrame({"id": [1], "review": ["a"]}), "no column 'text'; its columns are: id, rev"),
        (pd.DataFrame(), "no column 'text'; its columns are: none"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), "several columns 'text'; rename"),
        ({"review": ["a"]}, "no column 'text'; its columns are: review"),
        (5, "^got '5' of type int; give a list of texts, a text, or a table"),
        (b"a film", "got .* of type bytes"),
        ({"a", "b"}, "got .* of type set"),
        (np.array("a"), "got 'a' of type str"),
        ({"text": "a film"}, "'a film' of type str in 'text' of the dict; give a list of texts$"),
        (["a", 5], "text 2 is '5' of type int, which is not a text"),
        (["a", b"b"], "text 2 is .* of type bytes, which is not a text"),
        ([["a"], ["b"]], "text 1 is .* of type list, which is not a text"),
        (np.array([["a", "b"]]), "text 1 is .* of type list, which is not a text"),
        (pd.Series([1.5]), r"text 1 is '1\.5' of type float, which is not a text"),
    ],
)
def test_other_data_are_refused_in_one_line(model, given, wording):
    with pytest.raises(UserError, match=wording) as error:
        model.predict(given)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_many_texts_are_classified_in_chunks(model, monkeypatch):
    monkeypatch.setattr("sentiformer.serving.model.CHUNK_TEXTS", 3)
    texts = [f"great {'film ' * number}" for number in range(8)]
    assert [p.label for p in model.predict(texts)] == [model.predict(t).label for t in texts]


def test_a_folder_that_mlflow_has_downloaded_is_a_model(data, tmp_path, model):
    downloaded = tmp_path / "downloaded"
    shutil.copytree(data / "model", downloaded / "artifacts" / "model")
    (downloaded / "MLmodel").touch()
    assert sentiformer.load(downloaded).predict(TEXTS) == model.predict(TEXTS)
    with pytest.raises(UserError, match=rf"did you mean {downloaded}/artifacts/model\?"):
        sentiformer.load(downloaded / "artifacts")


def test_a_folder_above_a_model_names_it(data):
    with pytest.raises(UserError, match=rf"{data} holds no model; did you mean {data}/model\?"):
        sentiformer.load(data)
    with pytest.raises(UserError, match="pretrained is from stage pretrain; give the folder of"):
        sentiformer.load(data / "pretrained")


@pytest.mark.parametrize("address", ["nothing", "models:sentiformer@champion", ""])
def test_a_missing_model_is_one_line_that_says_where_models_are(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"holds no model; `make` in .* makes data/mod"):
        sentiformer.load(address)
    with pytest.raises(UserError, match=f"^{tmp_path}/{address}".rstrip("/")):
        sentiformer.load(address)
    (tmp_path / "params.yaml").touch()
    with pytest.raises(UserError, match=f"^{address or '.'} holds no model"):
        sentiformer.load(address)


@pytest.mark.parametrize("given", [5, None, b"data/model"])
def test_what_is_no_path_and_no_address_is_refused_in_one_line(given):
    with pytest.raises(UserError, match=r"load got .* of type .*; give the folder of a model"):
        sentiformer.load(given)


def test_the_help_and_the_version_say_what_a_person_needs():
    text = pydoc.render_doc(sentiformer, renderer=pydoc.plaintext)
    for part in ("model.predict(", "load(model", "UserError", "models:/", "Raises:"):
        assert part in text
    assert re.fullmatch(r"\d+\.\d+\.\d+", sentiformer.__version__)
    assert f"\n    {sentiformer.__version__}\n" in text
    assert 'version = { attr = "sentiformer.__version__" }' in (ROOT / "pyproject.toml").read_text()
