"""The fine-tuned encoder in MLflow: its run, its registered model, and what serves it."""

import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from conftest import ENCODER
from test_tracking import CHAMPION, Store, everything, only_run, working_in

import sentiformer
from sentiformer import cli
from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.core.files import read_json, sha256
from sentiformer.core.seal import seal
from sentiformer.publish.names import size_name, slug
from sentiformer.tracking import models
from sentiformer.tracking.names import MODEL_TAG, NAME, model_name, run_name
from sentiformer.tracking.store import KEY_TAG, NOTE_TAG
from sentiformer.tracking.tracker import live_run, sync, sync_all

REGISTERED = f"{NAME}-finetuned"


def config_of(data):
    return read_json(data / "finetuned" / "config.json", made_by="finetune")


@pytest.fixture
def project(tmp_path, empty_store):
    """A project with an empty store; models are registered without their files."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with working_in(tmp_path) as patch:
        patch.setattr(models, "upload", lambda *_: None)
        yield tmp_path


@pytest.fixture(scope="module")
def tracked(finetuned_data, tmp_path_factory, empty_store):
    """A project whose stage finetune logged its files, and whose report then completed all."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty_store, folder / "mlflow.db")
    with working_in(folder):
        early = shutil.copytree(finetuned_data, folder / "early")
        for name in ("model", "evaluation", "report"):
            shutil.rmtree(early / name)
        sync("finetune", early)
        early_run = only_run(Store.connect(), "finetune")
        shutil.rmtree(early)
        assert sync_all(finetuned_data)
    return folder, early_run


@pytest.fixture
def store(tracked):
    with working_in(tracked[0]):
        yield Store.connect()


def test_stage_finetune_logs_a_run_that_the_report_completes(tracked, store, finetuned_data):
    _, early = tracked
    run, about = only_run(store, "finetune"), config_of(finetuned_data)
    assert run.info.run_id == early.info.run_id
    assert early.info.run_name == "film reviews · tiny-bert.v2"
    assert not [name for name in early.data.metrics if name.startswith("test/")]
    evaluation = finetuned_data / "evaluation"
    found = json.loads((evaluation / "models" / "finetuned.json").read_text())
    assert run.info.run_name == f"film reviews · {100 * found['accuracy']:.1f} % · tiny-bert.v2"
    assert run.info.status == "FINISHED"
    assert run.data.tags[KEY_TAG] == about["training_key"]
    assert run.data.tags[MODEL_TAG] == sha256(finetuned_data / "finetuned" / "model.safetensors")
    assert run.data.params["finetune.max_len"] == "32"
    curves = ("finetune/", "valid/", "epoch")
    headline = {k: v for k, v in run.data.metrics.items() if not k.startswith(curves)}
    ensemble = json.loads((evaluation / "models" / "ensemble.json").read_text())
    baselines = {
        f"test/{path.stem}_accuracy": json.loads(path.read_text())["accuracy"]
        for path in (evaluation / "baselines").iterdir()
    }
    assert headline == baselines | {
        "best/valid_accuracy": about["best"]["valid_accuracy"],
        "test/accuracy": found["accuracy"],
        "test/log_loss": found["log_loss"],
        "test/calibration_error": found["calibration_error"],
        "test/ensemble_accuracy": ensemble["accuracy"],
    }


def test_curves_are_those_of_the_files(store, finetuned_data):
    run_id = only_run(store, "finetune").info.run_id
    for name, column, key in (
        ("steps.csv", "loss", "finetune/loss"),
        ("history.csv", "valid_accuracy", "valid/accuracy"),
    ):
        table = pd.read_csv(finetuned_data / "finetuned" / name)
        points = store.client.get_metric_history(run_id, key)
        found = sorted((point.step, point.value) for point in points)
        assert found == list(zip(table["step"], table[column], strict=True))


def test_run_of_the_transformer_has_no_metric_of_the_encoder(store):
    found = only_run(store).data
    assert not {"test/finetuned_accuracy", "test/ensemble_accuracy"} & found.metrics.keys()
    assert ENCODER["name"] not in found.tags[NOTE_TAG].partition("**Metrics")[0]


def test_card_has_the_encoder_its_licence_and_that_outside_text_was_used(store):
    run = only_run(store, "finetune")
    for card in (
        run.data.tags[NOTE_TAG],
        store.client.get_registered_model(REGISTERED).description,
    ):
        for words in (
            ENCODER["name"],
            "licence apache-2.0",
            "parameters 12345",
            "trained on a billion \\<pairs\\> of sentences",
            "It has learned from text from outside the data set.",
            "fine-tuned to classify texts, in the mean with the n-gram model nb_trigrams",
            "32 tokens",
            "transformer ",
            f"models:/{REGISTERED}",
        ):
            assert words in card
        assert "None" not in card
        assert "tokenizer.json" not in card


def test_registered_model_predicts_as_the_folder(store, finetuned_data, capsys):
    text = "a great film, lovely and clever"
    expected = sentiformer.load(finetuned_data / "finetuned").predict(text)
    address = f"models:/{REGISTERED}@{CHAMPION}"
    assert sentiformer.load(address).predict(text) == expected
    cli.main(["predict", "--json", "--model", address, text])
    assert json.loads(capsys.readouterr().out)["label"] == expected.label
    served = mlflow.pyfunc.load_model(address)
    assert served.predict([text]) == [expected]
    assert list(store.client.get_registered_model(NAME).aliases) == [CHAMPION]


def test_requirements_have_transformers_and_files_have_no_pickle(store, finetuned_data):
    (output,) = only_run(store, "finetune").outputs.model_outputs
    model = store.client.get_logged_model(output.model_id)
    assert model.name == f"{REGISTERED}-tiny-bert-v2"
    folder = Path(model.artifact_location.removeprefix("file://"))
    pins = (folder / "requirements.txt").read_text().split()
    assert "transformers" in {pin.split("==")[0] for pin in pins}
    assert all("==" in pin for pin in pins)
    endings = {path.suffix for path in folder.rglob("*")}
    assert not endings & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}


def test_tracking_again_changes_nothing(store, finetuned_data):
    before = everything(store), only_run(store, "finetune").data
    assert sync_all(finetuned_data)
    after = everything(store), only_run(store, "finetune").data
    assert after[0] == before[0]
    assert after[1].metrics == before[1].metrics
    assert after[1].tags == before[1].tags
    assert len(store.client.search_model_versions(f"name = '{REGISTERED}'")) == 1


def test_live_run_has_the_curves_of_a_fine_tuning(project, finetuned_data):
    with live_run(config_of(finetuned_data)) as track:
        track(StepEvent(10, 1, 10, 0.5, 0.1, 0.1, 100))
        track(EpochEvent(1, 10, 0.6, 0.5, 0.8))
    found = only_run(Store.connect(), "finetune").data.metrics
    assert {"finetune/loss": 0.5, "finetune/epoch_loss": 0.6}.items() <= found.items()
    assert {"valid/loss": 0.5, "valid/accuracy": 0.8}.items() <= found.items()


def test_without_an_encoder_no_run_of_finetune_is_logged(project, data):
    assert sync_all(data)
    store = Store.connect()
    assert not store.client.search_runs([store.experiment_id], "tags.`dvc.stage` = 'finetune'")
    assert {found.name for found in store.client.search_registered_models()} == {NAME}


def test_evaluation_of_another_encoder_is_not_logged(project, finetuned_data):
    copy = shutil.copytree(finetuned_data, project / "data")
    path = copy / "evaluation" / "lineage.json"
    lineage = json.loads(path.read_text())
    path.write_text(json.dumps(lineage | {"finetuned_sha256": "0" * 64}))
    seal(path.parent)
    assert sync_all(copy)
    store = Store.connect()
    assert "test/accuracy" not in only_run(store, "finetune").data.metrics
    assert "test/accuracy" in only_run(store).data.metrics


@pytest.mark.parametrize(
    ("encoder", "short"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2@1110a243fdf4", "all-MiniLM-L6-v2"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("/home/me/encoders/v1.5 best/", "v1.5 best"),
        ("../a%b:c'd", "a%b:c'd"),
        (".", "encoder"),
    ],
)
def test_names_of_encoders_make_names_of_models_that_mlflow_accepts(
    project, finetuned_data, encoder, short
):
    about = json.loads(json.dumps(config_of(finetuned_data)))
    about["encoder"]["name"] = encoder
    assert run_name(about, "93.1 %") == f"film reviews · 93.1 % · {short}"
    about["params"]["download"] |= {"source": "files", "train": "mine/tickets.csv"}
    assert model_name(about) == f"{NAME}-tickets-finetuned"
    client = Store.connect().client
    client.create_registered_model(model_name(about))
    client.create_logged_model("0", name=f"{NAME}-{slug(size_name(about))}")
