"""Tracking in MLflow: complete, one run for each training, and never a delay for the training."""

import csv
import json
import math
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import ROOT
from safetensors.torch import load_file, save_file

from sentiformer import cli
from sentiformer.core.errors import UserError
from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.core.files import read_json, sha256
from sentiformer.core.seal import seal
from sentiformer.tracking import database, live, models, patience
from sentiformer.tracking import store as store_module
from sentiformer.tracking.database import default_uri
from sentiformer.tracking.datasets import data_inputs
from sentiformer.tracking.models import CHAMPION
from sentiformer.tracking.names import MODEL_TAG, NAME, model_name, run_name
from sentiformer.tracking.origin import origin_tags
from sentiformer.tracking.registry import download_model
from sentiformer.tracking.store import KEY_TAG, NOTE_TAG, Store
from sentiformer.tracking.tracker import live_run, sync_all

STEP_CURVES = {"loss", "learning_rate", "gradient_norm"}


def config_of(data):
    return read_json(data / "model" / "config.json", made_by="train")


def language_model_of(data):
    return read_json(data / "pretrained" / "config.json", made_by="pretrain")


def metric_of(store, run, key):
    return store.client.get_metric_history(run.info.run_id, key)


def rows_of(data, name):
    with (data / "curves" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def events_of(data):
    """The events of the training that wrote `data`, in their order."""
    events = []
    for name, kind in (("steps.csv", StepEvent), ("history.csv", EpochEvent)):
        for row in rows_of(data, name):
            events.append(kind(**{key: json.loads(value) for key, value in row.items()}))
    return sorted(events, key=lambda event: (event.step, isinstance(event, EpochEvent)))


def curve(store, key):
    """The points of the store's only run: (step, value), in their order."""
    points = store.client.get_metric_history(only_run(store).info.run_id, key)
    return sorted((point.step, point.value) for point in points)


def curves(store):
    return {key: curve(store, key) for key in only_run(store).data.metrics}


def only_run(store, stage="train"):
    (run,) = store.client.search_runs([store.experiment_id], f"tags.`dvc.stage` = '{stage}'")
    return run


def files_under(folder):
    """The hash of each file by its path, without the files that hold a time or an id."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    skipped = ("MLmodel", "registered_model_meta")
    return {str(p.relative_to(folder)): sha256(p) for p in paths if p.name not in skipped}


def everything(store):
    """The content of a store's only run and model, without ids and times."""
    run = only_run(store)
    inputs = [
        (tag.value, given.dataset.name, given.dataset.digest, given.dataset.profile)
        for given in run.inputs.dataset_inputs
        for tag in given.tags
    ]
    (version,) = store.client.search_model_versions(f"name = '{NAME}'")
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params,
        "tags": run.data.tags,
        "curves": curves(store),
        "inputs": sorted(inputs),
        "outputs": len(run.outputs.model_outputs),
        "artifacts": files_under(Path(run.info.artifact_uri.removeprefix("file://"))),
        "model": files_under(model_folder(store)),
        "version": (version.version, version.tags),
        "aliases": store.client.get_registered_model(NAME).aliases,
    }


def model_folder(store):
    """Where MLflow keeps the files of the logged model of the only run."""
    (output,) = only_run(store).outputs.model_outputs
    return Path(store.client.get_logged_model(output.model_id).artifact_location[7:])


def variant(data, folder, *, accuracy, held_out):
    """The files of another training, with this accuracy on validation, and these held-out texts."""
    for name in ("model", "curves"):
        shutil.copytree(data / name, folder / name)
    weights = load_file(data / "model" / "model.safetensors")
    weights["classifier.bias"] += accuracy
    save_file(weights, folder / "model" / "model.safetensors")
    about = config_of(folder)
    about["training_key"] = folder.name
    about["best"]["valid_accuracy"] = accuracy
    for split, fingerprint in held_out.items():
        about["data"]["splits"][split]["fingerprint"] = fingerprint
    (folder / "model" / "config.json").write_text(json.dumps(about))
    seal(folder / "model")
    return folder


@contextmanager
def working_in(folder):
    """Use a folder as the project; restore the working directory and the environment later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_ROOT", str(folder))
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.setenv("SENTIFORMER_THREADS", "1")
        patch.setattr(live, "BATCH_SECONDS", 0.05)
        yield patch


@pytest.fixture
def project(tmp_path, empty_store):
    """A project with an empty store; models are registered without their files."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with working_in(tmp_path) as patch:
        patch.setattr(models, "upload", lambda *_: None)  # which takes a second
        yield tmp_path


def made_from_language_model(data, folder):
    """A copy of `data` whose classifier names the language model that it was made from."""
    shutil.copytree(data, folder)
    change_config(
        folder,
        made_from={"pretrained/model.safetensors": sha256(data / "pretrained/model.safetensors")},
    )
    return folder


def change_config(folder, **values):
    """Change values in the `config.json` of a classifier."""
    path = folder / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    seal(path.parent)


@pytest.fixture(scope="module")
def data(data, tmp_path_factory):
    return made_from_language_model(data, tmp_path_factory.mktemp("linked") / "data")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, data, empty_store):
    """A project in git in whose store `data` was logged twice."""
    folder = tmp_path_factory.mktemp("tracked")
    shutil.copy(empty_store, folder / "mlflow.db")
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    with working_in(folder):
        subprocess.run([*git, "init", "--quiet"], check=True)
        (folder / "dvc.yaml").touch()
        (folder / "params.yaml").write_text("committed")
        subprocess.run([*git, "add", "dvc.yaml", "params.yaml"], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True)
        subprocess.run([*git, "config", "user.name", "Ada"], check=True)
        (folder / "params.yaml").write_text("changed")
        assert sync_all(data)
        assert sync_all(data)
    return folder


@pytest.fixture
def store(tracked):
    with working_in(tracked):
        yield Store.connect()


def test_tracking_a_model_twice_makes_one_run_and_one_version(store, data):
    assert only_run(store).info.status == "FINISHED"
    (version,) = store.client.search_model_versions(f"name = '{NAME}'")
    assert version.run_id == only_run(store).info.run_id
    assert store.client.get_registered_model(NAME).aliases == {CHAMPION: version.version}
    about = config_of(data)
    assert float(version.tags["accuracy"]) == about["best"]["valid_accuracy"]
    for split in ("validation", "test"):
        assert version.tags[split] == about["data"]["splits"][split]["fingerprint"]


def test_run_has_the_parameters_and_the_machine_of_the_config(store, data):
    about, params = config_of(data), only_run(store).data.params
    for section, keys in about["params"].items():
        for key, value in keys.items():
            assert params.pop(f"{section}.{key}") == str(value)
    for key, value in about["environment"].items():
        assert params.pop(f"machine.{key}") == str(value)
    assert not params


def test_curves_have_exactly_the_points_of_the_files(store, data):
    for column in STEP_CURVES:
        expected = [(int(row["step"]), float(row[column])) for row in rows_of(data, "steps.csv")]
        assert curve(store, f"train/{column}") == expected
    history = rows_of(data, "history.csv")
    for column, key in (("valid_accuracy", "valid/accuracy"), ("valid_loss", "valid/loss")):
        assert curve(store, key) == [(int(row["step"]), float(row[column])) for row in history]
    best = config_of(data)["best"]["valid_accuracy"]
    assert only_run(store).data.metrics["best/valid_accuracy"] == best


def test_language_model_has_its_own_run_and_the_classifier_s_run_names_it(store, data):
    run, best = only_run(store, "pretrain"), language_model_of(data)["best"]
    assert run.info.status == "FINISHED"
    losses = [point.value for point in metric_of(store, run, "pretrain/valid_loss")]
    assert losses == [best["valid_loss"]], "the tiny project has one epoch"
    perplexity = math.exp(best["valid_loss"])
    assert run.data.metrics["pretrain/perplexity"] == pytest.approx(perplexity)
    of_classifier = only_run(store).data
    key = run.data.tags["sentiformer.training_key"]
    assert of_classifier.tags["sentiformer.pretraining_key"] == key
    assert of_classifier.metrics["pretrain/perplexity"] == pytest.approx(perplexity)
    assert (
        run.info.run_name == f"film reviews · perplexity {perplexity:.1f} · d16 l1 · language model"
    )
    assert sha256(data / "pretrained/model.safetensors") in run.data.tags[NOTE_TAG]
    assert not store.client.list_artifacts(run.info.run_id), "DVC keeps the weights"


def headline_of(data):
    """The metrics on test that runs are compared by."""
    evaluation = data / "evaluation"
    found = read_json(evaluation / "metrics.json", made_by="evaluate")
    expected = {name: found[name] for name in ("accuracy", "log_loss", "calibration_error")}
    sources = pd.read_csv(evaluation / "by_source.csv").set_index("source")
    for source in [name for name in sources.index[1:] if name != "all"]:
        expected[f"{source}_accuracy"] = sources.loc[source, "accuracy"]
    for path in [*(evaluation / "baselines").iterdir(), evaluation / "models" / "ensemble.json"]:
        expected[f"{path.stem}_accuracy"] = read_json(path, made_by="evaluate")["accuracy"]
    return {f"test/{name}": value for name, value in expected.items()}


def test_run_has_few_headline_metrics_once(store, data):
    expected, found = headline_of(data), only_run(store).data.metrics
    assert {name: value for name, value in found.items() if name.startswith("test/")} == expected
    curves = ("train/", "valid/", "system/", "epoch")
    assert len([name for name in found if not name.startswith(curves)]) <= 8
    assert len(curve(store, "test/accuracy")) == 1


def test_each_source_has_its_accuracy(project, data):
    copy = shutil.copytree(data, project / "data")
    table = pd.read_csv(copy / "evaluation/by_source.csv").iloc[:1]
    others = [table.assign(source=name, accuracy=0.5) for name in ("tweets", "all")]
    pd.concat([table, *others]).to_csv(copy / "evaluation/by_source.csv", index=False)
    seal(copy / "evaluation")
    assert sync_all(copy)
    run = only_run(Store.connect())
    assert run.data.metrics["test/tweets_accuracy"] == 0.5
    assert "test/all_accuracy" not in run.data.metrics
    assert "- tweets (" in run.data.tags[NOTE_TAG]


def test_logged_model_has_the_metrics_and_the_data_sets_they_were_measured_on(store, data):
    (output,) = only_run(store).outputs.model_outputs
    model = store.client.get_logged_model(output.model_id)
    assert model.source_run_id == only_run(store).info.run_id
    about = config_of(data)
    expected = {**headline_of(data), "best/valid_accuracy": about["best"]["valid_accuracy"]}
    assert {metric.key: metric.value for metric in model.metrics} == expected
    digests = {
        item.dataset.name: item.dataset.digest for item in only_run(store).inputs.dataset_inputs
    }
    for metric in model.metrics:
        split = "test" if metric.key.startswith("test/") else "validation"
        assert metric.dataset_name == f"film reviews, {split}"
        assert metric.dataset_digest == digests[metric.dataset_name]
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": 1}]


def test_names_and_descriptions_say_data_size_and_result(store, data):
    run, accuracy = only_run(store), headline_of(data)["test/accuracy"]
    assert run.info.run_name == f"film reviews · {accuracy * 100:.1f} % · d16 l1"
    (version,) = store.client.search_model_versions(f"name = '{NAME}'")
    (output,) = run.outputs.model_outputs
    cards = {
        "version": version.description,
        "registered model": store.client.get_registered_model(NAME).description,
        "logged model": store.client.get_logged_model(output.model_id).tags[NOTE_TAG],
        "run": run.data.tags[NOTE_TAG],
    }
    rows = config_of(data)["data"]["splits"]["test"]["rows"]
    for name, card in cards.items():
        for words in ("negative, positive", f"test {rows:,}", f"{accuracy * 100:.1f} %", "curl -H"):
            assert words in card, name
    assert f"-m models:/{NAME}@{CHAMPION} " in cards["registered model"]
    assert f"-m models:/{NAME}/1 " in cards["version"]
    assert store.client.get_experiment(store.experiment_id).tags[NOTE_TAG]


def test_names_by_a_person_are_kept(project, data):
    store = Store.connect()
    with live_run(config_of(data)) as track:
        track(events_of(data)[0])
    run_id = only_run(store).info.run_id
    assert only_run(store).info.run_name == "film reviews · d16 l1", "the result is not known yet"
    store.client.update_run(run_id, name="my run")
    assert sync_all(data)
    assert only_run(store).info.run_name == "my run"
    store.client.update_registered_model(NAME, "my model")
    assert sync_all(data)
    assert store.client.get_registered_model(NAME).description == "my model"


@pytest.mark.parametrize(
    ("source", "place", "name", "registered"),
    [
        ("bundled", None, "film reviews", NAME),
        ("hub", "stanfordnlp/imdb", "stanfordnlp/imdb", f"{NAME}-stanfordnlp-imdb"),
        ("hub", "tweet_eval/emoji", "tweet_eval/emoji", f"{NAME}-tweet-eval-emoji"),
        ("files", "mine/tickets.csv", "tickets", f"{NAME}-tickets"),
        ("files", "/home/me/My Data.v2.jsonl.gz", "My Data.v2", f"{NAME}-my-data-v2"),
        ("files", "news/train/part-*.parquet", "part-", f"{NAME}-part"),
        ("files", "news/train/*.parquet", "news", f"{NAME}-news"),
        ("files", "data/train.csv", "texts", f"{NAME}-texts"),
        ("files", "отзывы/", "отзывы", f"{NAME}-отзывы"),
        ("files", "评论.csv", "评论", f"{NAME}-评论"),
        ("files", "100%.csv", "100%", f"{NAME}-100"),
        ("files", "x" * 300 + ".csv", "x" * 60, f"{NAME}-{'x' * 60}"),
    ],
)
def test_names_of_data_make_names_of_models_that_mlflow_accepts(
    project, data, source, place, name, registered
):
    about = about_source(data, source, place)
    assert run_name(about, "90.0 %") == f"{name} · 90.0 % · d16 l1"
    assert model_name(about) == registered
    client = Store.connect().client
    client.create_registered_model(registered)
    client.create_logged_model("0", name=registered)


def about_source(data, source, place, **download):
    """The `config.json` of a model of other data."""
    about = json.loads(json.dumps(config_of(data)))
    kind = "hub_dataset" if source == "hub" else "train"
    about["params"]["download"] |= {"source": source, kind: place, **download}
    return about


@pytest.mark.parametrize("call", ["log_batch", "log_inputs"])
def test_incomplete_run_is_completed(project, data, store_of_files, call):
    def fails(*_, **__):
        raise OSError("lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, call, fails)
        assert not sync_all(data)
    assert sync_all(data)
    run, about = only_run(Store.connect()), config_of(data)
    assert run.data.params["model.d_model"] == str(about["params"]["model"]["d_model"])
    assert len(run.inputs.dataset_inputs) == len(about["data"]["splits"])


def test_incomplete_upload_is_repeated(project, data):
    log_artifacts, logged = mlflow.MlflowClient.log_artifacts, []

    def fails_once(client, run_id, folder, name):
        log_artifacts(client, run_id, folder, name)
        logged.append(name)
        if logged.count("evaluation") == 1 and name == "evaluation":
            raise OSError("lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_artifacts", fails_once)
        assert not sync_all(data)
        assert sync_all(data)
        assert sync_all(data)
    assert logged == ["report", "evaluation"] * 2


def test_data_sets_have_fingerprints_as_digests(store, data):
    splits = config_of(data)["data"]["splits"]
    given = {
        tag.value: item.dataset
        for item in only_run(store).inputs.dataset_inputs
        for tag in item.tags
    }
    assert set(given) == set(splits)
    for split, dataset in given.items():
        assert dataset.digest
        assert splits[split]["fingerprint"].startswith(dataset.digest)
        assert json.loads(dataset.profile) == splits[split]
        assert mlflow.data.get_source(dataset).uri == f"data/raw/{split}.parquet"


@pytest.mark.parametrize(
    ("source", "place", "expected"),
    [
        ("hub", "a/b", {"path": "a/b", "revision": "main"}),
        ("hub", "imdb", {"path": "imdb", "revision": "main"}),
        ("hub", "a/b/c", {"path": "a/b", "config_name": "c", "revision": "main"}),
        ("files", "mine/a.csv", {"uri": "mine/a.csv"}),
        ("files", "mine/a-*.csv", {"uri": "mine"}),
        ("files", "*.csv", {"uri": "."}),
    ],
)
def test_mlflow_reads_the_sources_of_data_sets(data, source, place, expected):
    about = about_source(data, source, place, hub_revision="main")
    for given in data_inputs(about):
        found = vars(mlflow.data.get_source(given.dataset))
        assert {name.strip("_"): value for name, value in found.items() if value} == expected
    if source == "files":
        about["params"]["download"]["test"] = "mine/test.csv"
        *_, test = data_inputs(about)
        assert mlflow.data.get_source(test.dataset).uri == "mine/test.csv"


def test_tags_name_model_training_data_and_commit(store, data, tracked):
    tags, about = only_run(store).data.tags, config_of(data)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tracked, capture_output=True, text=True)
    assert tags["mlflow.source.git.commit"] == head.stdout.strip()
    assert tags["mlflow.user"] == "Ada"
    assert tags["mlflow.source.git.branch"]
    assert (tags["mlflow.source.git.dirty"], tags["git.changed"]) == ("true", "params.yaml")
    assert tags["sentiformer.model_sha256"] == sha256(data / "model" / "model.safetensors")
    assert tags["sentiformer.training_key"] == about["training_key"]
    assert tags["sentiformer.test"] == about["data"]["splits"]["test"]["fingerprint"]


def test_a_commit_of_a_repository_around_the_project_is_not_its_own(tmp_path, monkeypatch):
    """As of a ZIP file that was unpacked in a folder with another repository."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(tmp_path)]
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path / "project")
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "x"], check=True)
    assert origin_tags().keys() == {"mlflow.user"}
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "y"], check=True)
    assert origin_tags()["mlflow.source.git.dirty"] == "false"
    Path("src").mkdir()
    Path("src", "new.py").touch()
    assert origin_tags()["git.changed"] == "src/"


def test_artifacts_of_read_only_links_can_be_replaced(project, tmp_path):
    """As with `cache.type symlink` of DVC."""
    (tmp_path / "cache").write_text("<html>")
    (tmp_path / "cache").chmod(0o444)
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.html").symlink_to(tmp_path / "cache")
    store = Store.connect()
    run = store.client.create_run(store.experiment_id)
    store.log_folders(run.info.run_id, "tag", "content", report)
    place = Path(run.info.artifact_uri.removeprefix("file://")) / "report" / "report.html"
    assert place.read_text() == "<html>"
    assert not place.is_symlink()
    assert place.stat().st_mode & 0o200


def test_report_and_evaluation_are_artifacts(store, data):
    folder = Path(only_run(store).info.artifact_uri.removeprefix("file://"))
    for name in ("report", "evaluation"):
        assert files_under(folder / name) == files_under(data / name)


def test_nothing_is_written_outside_the_project(tracked):
    known = {".git", "dvc.yaml", "params.yaml", "mlartifacts", "mlflow.db", "mlflow.db.lock"}
    assert {path.name for path in tracked.iterdir()} == known


def test_command_line_predicts_with_a_model_of_the_registry(store, data, capsys):
    found = {}
    for model in (f"models:/{NAME}@{CHAMPION}", f"models:/{NAME}/1", str(data / "model")):
        cli.main(["predict", "--json", "--model", model, "a great film"])
        found[model] = capsys.readouterr().out
    assert len(set(found.values())) == 1


@pytest.mark.parametrize(
    "name",
    [f"models:/{NAME}@nobody", f"models:/{NAME}/9", "models:/no/1", "runs:/no/model", "models:/"],
)
def test_unknown_model_of_the_registry_is_one_line(store, tmp_path, name):
    line = f"{name} cannot be loaded from MLflow at sqlite:.*: .*; `make ui` lists"
    with pytest.raises(UserError, match=line) as error:
        download_model(name, tmp_path)
    assert "\n" not in str(error.value)


def test_own_registry_is_read_in_place_and_without_mlflow(store, data, tmp_path, monkeypatch):
    def is_missing():
        raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")

    monkeypatch.setattr("sentiformer.tracking.registry.import_mlflow", is_missing)
    for version in (f"@{CHAMPION}", "/1"):
        folder = download_model(f"models:/{NAME}{version}", tmp_path)
        assert folder.is_relative_to(Path.cwd() / "mlartifacts")
        assert files_under(folder) == files_under(data / "model")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModuleNotFoundError):
        download_model(f"models:/{NAME}@nobody", tmp_path)


def test_evaluations_of_versions_are_compared(store, data, capsys):
    cli.main(["compare", f"models:/{NAME}@{CHAMPION}", str(data / "model")])
    assert " are equally accurate (McNemar's exact test: p = 1)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=rf"models:/{NAME}/9: MLflow at .* has no evaluation of"):
        cli.main(["compare", f"models:/{NAME}/9", str(data / "model")])
    with pytest.raises(SystemExit, match="names no version of a model; write models:/NAME/VERS"):
        cli.main(["compare", "runs:/some/model", str(data / "model")])


def test_asking_for_a_model_creates_no_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"mlflow\.db is missing; run from the project's root"):
        download_model(f"models:/{NAME}@champion", tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_another_process_restores_a_deleted_store_from_the_files(store, data, tmp_path):
    root = Path.cwd()
    ignored = shutil.ignore_patterns("mlflow.db*")
    again = shutil.copytree(root, tmp_path / "again", ignore=ignored)
    script = f"from sentiformer.cli import main; main(['track', '--data', {str(data)!r}])"
    run_elsewhere(script, again)
    with working_in(again):
        assert everything(Store.connect()) == everything(store)


def run_elsewhere(script, *folders):
    """Run a script in each of the projects at the same time, one process for each."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "DVC_ROOT": str(folder)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


@pytest.mark.slow
def test_two_processes_create_one_store(tmp_path):
    with working_in(tmp_path):
        code = "from sentiformer.tracking.store import Store; Store.connect()"
        run_elsewhere(code, *[tmp_path] * 2)
        found = Store.connect().client.search_experiments()
        assert sorted(experiment.name for experiment in found) == ["Default", NAME]


def test_live_run_has_all_points_before_sync_and_sync_repeats_none(project, data, store_of_files):
    with live_run(config_of(data)) as track:
        for event in events_of(data):
            track(event)
    live = Store.connect()
    assert only_run(live).info.status == "RUNNING"
    logged = curves(live)
    assert len(logged["train/loss"]) == len(rows_of(data, "steps.csv")), "all before sync"
    assert len(logged["valid/accuracy"]) == len(rows_of(data, "history.csv"))
    assert sync_all(data)
    assert {k: v for k, v in curves(live).items() if not k.startswith("system/")} == store_of_files
    assert only_run(live).info.status == "FINISHED"


@pytest.fixture(scope="module")
def store_of_files(tracked):
    with working_in(tracked):
        return curves(Store.connect())


def test_resumed_training_continues_its_run_and_repeats_no_point(project, data, store_of_files):
    events = events_of(data)
    with pytest.raises(KeyboardInterrupt):
        train_until(KeyboardInterrupt(), config_of(data), events[:3])
    store = Store.connect()
    first = only_run(store)
    assert first.info.status == "KILLED"
    assert len(curve(store, "train/loss")) == len([e for e in events[:3] if type(e) is StepEvent])
    with live_run(config_of(data)) as track:
        for event in events:
            track(event)
    assert only_run(store).info.run_id == first.info.run_id
    assert curve(store, "train/loss") == store_of_files["train/loss"]
    assert sync_all(data)
    assert curve(store, "valid/loss") == store_of_files["valid/loss"]


def test_failed_training_has_a_failed_run_and_raises(project, data):
    with pytest.raises(UserError, match="diverged"):
        train_until(UserError("the loss diverged"), config_of(data), events_of(data)[:1])
    assert only_run(Store.connect()).info.status == "FAILED"


def test_finished_run_is_not_logged_again(project, data):
    assert sync_all(data)
    store = Store.connect()
    before, ended = curves(store), only_run(store).info.end_time
    with live_run(config_of(data)) as track:
        track(StepEvent(999, 1, 10, 0.5, 0.1, 0.1, 100))
    assert sync_all(data)
    assert curves(store) == before
    assert only_run(store).info.status == "FINISHED"
    assert only_run(store).info.end_time == ended


def test_new_evaluation_replaces_the_test_metrics_that_changed(project, data):
    copy = shutil.copytree(data, project / "data")
    assert sync_all(copy)
    metrics = read_json(copy / "evaluation" / "metrics.json", made_by="evaluate")
    metrics["calibration_error"] = 0.123
    (copy / "evaluation" / "metrics.json").write_text(json.dumps(metrics))
    assert sync_all(copy) is False  # another has changed it
    assert only_run(Store.connect()).data.metrics["test/calibration_error"] != 0.123
    seal(copy / "evaluation")
    assert sync_all(copy)
    store = Store.connect()
    assert only_run(store).data.metrics["test/calibration_error"] == 0.123
    assert len(curve(store, "test/accuracy")) == 1


@pytest.mark.parametrize("made_from", [None, {}, {"pretrained/model.safetensors": "0" * 64}])
def test_classifier_is_not_linked_with_a_language_model_it_was_not_made_from(
    project, data, made_from
):
    copy = shutil.copytree(data, project / "data")
    about = config_of(copy)
    del about["made_from"]
    (copy / "model" / "config.json").write_text(json.dumps(about))
    if made_from is not None:
        change_config(copy, made_from=made_from)
    assert sync_all(copy)
    store = Store.connect()
    assert "pretrain/perplexity" not in only_run(store).data.metrics
    assert "sentiformer.pretraining_key" not in only_run(store).data.tags
    assert only_run(store, "pretrain").info.status == "FINISHED", "it has its own run nevertheless"


@pytest.mark.parametrize("name", ["evaluation/lineage.json", "report/report.html"])
def test_evaluation_or_report_of_another_model_is_not_logged(project, data, name):
    copy = shutil.copytree(data, project / "data")
    made = json.loads((copy / "evaluation" / "lineage.json").read_text())["model_sha256"]
    (copy / name).write_text((copy / name).read_text().replace(made, "0" * 64))
    assert sync_all(copy)
    found = only_run(Store.connect()).data
    assert not [key for key in found.metrics if key.startswith("test/")]
    assert "%" not in only_run(Store.connect()).info.run_name
    assert "not evaluated yet" in found.tags[NOTE_TAG]


def test_two_trainings_with_equal_weights_have_a_run_each(project, data):
    assert sync_all(data)
    copy = shutil.copytree(data, project / "data")
    about = config_of(copy)
    about["params"]["train"]["patience"] += 1
    change_config(copy, training_key="another", params=about["params"])
    with live_run(config_of(copy)) as track:
        track(events_of(copy)[0])
    assert sync_all(copy)
    store = Store.connect()
    runs = runs_of(store)
    assert {run.data.tags[KEY_TAG] for run in runs} == {about["training_key"], "another"}
    assert len({run.data.params["train.patience"] for run in runs}) == len(runs) == 2
    assert len({run.data.tags[MODEL_TAG] for run in runs}) == 1
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_only_the_best_models_are_versions_and_the_best_is_the_champion(project, data, capsys):
    best = config_of(data)["best"]["valid_accuracy"]
    other, third = {"validation": "other texts"}, {"test": "other texts"}
    trainings = {  # accuracy, held-out texts, number of its version, champion after it
        "equal": (best, {}, None, "1"),
        "worse": (best - 0.1, {}, None, "1"),
        "elsewhere": (best + 0.1, other, "2", "1"),
        "better": (best + 0.05, {}, "3", "3"),
        "less": (best + 0.03, {}, None, "3"),
        "elsewhere worse": (best + 0.08, other, None, "3"),
        "elsewhere else": (best + 0.2, third, "4", "3"),
    }
    assert sync_all(data)
    store = Store.connect()
    for name, (accuracy, held_out, number, champion) in trainings.items():
        copy = variant(data, project / name, accuracy=accuracy, held_out=held_out)
        assert sync_all(copy)
        (run,) = [run for run in runs_of(store) if run.data.tags[KEY_TAG] == name]
        versions = store.client.search_model_versions(f"run_id = '{run.info.run_id}'")
        assert [str(version.version) for version in versions] == ([number] if number else []), name
        found = store.client.get_registered_model(NAME).aliases[CHAMPION]
        assert str(found) == champion, name
        line = f"{NAME}@{CHAMPION} is still version {champion}: version {number} has other held-out"
        assert (line in capsys.readouterr().out) is (number in ("2", "4"))
        sha = sha256(copy / "model" / "model.safetensors")
        restore = f"type `dvc repro`. The SHA-256 of `data/model/model.safetensors` is then {sha}."
        assert (restore in run.data.tags[NOTE_TAG]) is (number is None)
    assert sync_all(data)
    assert str(store.client.get_registered_model(NAME).aliases[CHAMPION]) == "3"


def test_models_of_different_data_are_different_registered_models(project, data):
    assert sync_all(data)
    copy = shutil.copytree(data, project / "data")
    about = about_source(copy, "files", "mine/tickets.csv")
    change_config(copy, training_key="tickets", params=about["params"])
    assert sync_all(copy)
    found = Store.connect().client.search_registered_models()
    assert {model.name: model.aliases for model in found} == {
        NAME: {CHAMPION: 1},
        f"{NAME}-tickets": {CHAMPION: 1},
    }


def test_champion_and_version_by_a_person_are_no_rivals(project, data, capsys):
    client = Store.connect().client
    client.create_registered_model(NAME)
    client.create_model_version(NAME, "elsewhere")
    client.set_registered_model_alias(NAME, CHAMPION, "1")
    assert sync_all(data)
    assert "@champion is still version 1: version 2 has other held-out" in capsys.readouterr().out


def test_address_of_the_environment_is_used(project, data, empty_store, monkeypatch):
    (project / "elsewhere").mkdir()
    address = f"sqlite:///{shutil.copy(empty_store, project / 'elsewhere' / 'other.db')}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    before = (project / "mlflow.db").read_bytes()
    assert sync_all(data)
    assert only_run(Store.connect()).data.tags[KEY_TAG] == config_of(data)["training_key"]
    assert (project / "mlflow.db").read_bytes() == before
    assert not (project / "mlartifacts").exists()


def test_address_that_mlflow_sets_in_the_environment_is_the_project_s_own(project):
    first = Store.connect()
    assert os.environ["MLFLOW_TRACKING_URI"] == default_uri(project)
    first.client.rename_experiment(first.experiment_id, "renamed")
    second = Store.connect()
    experiment = second.client.get_experiment(second.experiment_id)
    assert experiment.artifact_location == (project / "mlartifacts").as_uri()


def runs_of(store):
    return store.client.search_runs([store.experiment_id], "tags.`dvc.stage` = 'train'")


def test_own_database_that_is_still_being_created_is_waited_for(project, data, monkeypatch):
    create_run = mlflow.MlflowClient.create_run

    def create_slowly(client, *arguments, **values):
        time.sleep(1)
        return create_run(client, *arguments, **values)

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", create_slowly)
    monkeypatch.setattr(patience, "_setting", lambda: 0.1)
    with live_run(config_of(data)) as track:
        track(events_of(data)[0])
    assert sync_all(data)
    assert len(runs_of(Store.connect())) == 1


def test_slow_store_makes_one_run_for_one_training(project, data, monkeypatch, capfd):
    create_run, answers = mlflow.MlflowClient.create_run, threading.Event()

    def create_slowly(client, *arguments, **values):
        assert answers.wait(60)
        return create_run(client, *arguments, **values)

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", create_slowly)
    monkeypatch.setattr(patience, "_setting", lambda: 0.1)
    monkeypatch.setattr(store_module, "LOCK_SECONDS", 0.1)
    with live_run(config_of(data)) as track:
        track(events_of(data)[0])
    assert not sync_all(data)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.endswith(
        " fails (it is still busy with the live run); the files in data/ are not affected, "
        "`make track` logs this run later"
    )
    answers.set()
    track._thread.join()
    assert sync_all(data)
    (run,) = runs_of(Store.connect())
    assert run.info.status == "FINISHED"


def test_second_run_of_a_training_is_deleted(project, data):
    store = Store.connect()
    tags = {KEY_TAG: config_of(data)["training_key"], "dvc.stage": "train"}
    first, _ = (
        store.client.create_run(store.experiment_id, start_time=start, tags=tags)
        for start in (1000, 2000)
    )
    assert sync_all(data)
    assert only_run(store).info.run_id == first.info.run_id


def test_end_of_a_training_waits_for_no_interval(project, data, monkeypatch):
    monkeypatch.setattr(live, "BATCH_SECONDS", 60)
    started = time.monotonic()
    with live_run(config_of(data)) as track:
        for event in events_of(data):
            track(event)
    assert not track._thread.is_alive()
    assert time.monotonic() - started < 30
    assert len(curve(Store.connect(), "train/loss")) == len(rows_of(data, "steps.csv"))


def track_and_fail(data, capfd):
    """Train and track; returns the lines that are printed."""
    with live_run(config_of(data)) as track:
        for event in events_of(data):
            track(event)
    assert sync_all(data) is False
    return capfd.readouterr().err.splitlines()


def require_lines(lines, start):
    """Require the two lines of a training whose store does not work."""
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(start)
        assert line.endswith(
            "; the files in data/ are not affected, `make track` logs this run later"
        )


def test_server_that_is_down_costs_two_lines_and_no_time(project, data, monkeypatch, capfd):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    started = time.monotonic()
    lines = track_and_fail(data, capfd)
    assert time.monotonic() - started < 5
    require_lines(lines, f"MLflow at http://127.0.0.1:{port} fails (")


def test_server_that_hangs_delays_the_end_of_a_training_once(project, data, monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it accepts, and never answers
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
        monkeypatch.setattr(patience, "_setting", lambda: 0.5)
        started = time.monotonic()
        with live_run(config_of(data)) as track:
            for event in events_of(data):
                track(event)
        assert not sync_all(data)
        assert time.monotonic() - started < 3, "0.5 s for the live run, nothing for `sync`"
        track._thread.join()
    busy, training = capfd.readouterr().err.splitlines()
    assert busy.startswith(f"MLflow at {address} fails (it is still busy with the live run); ")
    assert "timed out" in training


def test_database_that_is_locked_costs_two_lines(project, data, monkeypatch, capfd):
    monkeypatch.setattr(database, "WRITER_SECONDS", 0.1)
    with closing(sqlite3.connect(project / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        lines = track_and_fail(data, capfd)
    require_lines(lines, f"MLflow at sqlite:///{project}/mlflow.db fails (database is locked)")


def test_damaged_file_of_a_later_stage_fails_no_training(project, data, tmp_path, capfd):
    copy = shutil.copytree(data, tmp_path / "copy")
    (copy / "evaluation" / "lineage.json").write_text("{")
    assert sync_all(copy) is False
    (line,) = capfd.readouterr().err.splitlines()
    fix = "`dvc repro --force evaluate` creates it again"
    assert re.search(rf"^\S*lineage\.json is corrupt .*{fix}", line)


def test_deleted_experiment_can_be_restored_as_the_line_says(project, data, capfd):
    assert sync_all(data)
    client = Store.connect().client
    client.delete_experiment(client.get_experiment_by_name(NAME).experiment_id)
    assert sync_all(data) is False
    (line,) = capfd.readouterr().err.splitlines()
    command = line.split("restore it with `mlflow ")[1].split("`")[0]
    from mlflow.cli import cli as mlflow_cli

    assert CliRunner().invoke(mlflow_cli, command.split()).exit_code == 0
    assert sync_all(data)
    assert only_run(Store.connect()).info.status == "FINISHED"


def test_another_name_of_the_experiment_helps_if_it_was_deleted(project, data, monkeypatch):
    client = Store.connect().client
    client.delete_experiment(client.get_experiment_by_name(NAME).experiment_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "again")
    assert sync_all(data)


def test_files_that_are_links_are_uploaded(project, data):
    copy = shutil.copytree(data, project / "data")
    for folder in ("report", "evaluation"):
        shutil.rmtree(copy / folder)
        shutil.copytree(data / folder, copy / folder, copy_function=os.symlink)
    assert sync_all(copy)
    artifacts = Path(only_run(Store.connect()).info.artifact_uri.removeprefix("file://"))
    for folder in ("report", "evaluation"):
        assert files_under(artifacts / folder) == files_under(data / folder)
    assert not any(path.is_symlink() for path in artifacts.rglob("*"))


def train_until(error, about, events):
    """Train for some events; then the training ends with an error."""
    with live_run(about) as track:
        for event in events:
            track(event)
        raise error


class DyingServer(BaseHTTPRequestHandler):
    """A server that knows the experiment, and fails in one of three ways after that."""

    failure = "500"

    def do_GET(self):
        if self.path.startswith("/api/2.0/mlflow/experiments/get-by-name"):
            experiment = {"experiment_id": "1", "name": NAME, "lifecycle_stage": "active"}
            return self.answer(200, json.dumps({"experiment": experiment}).encode())
        return self.do_POST()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.failure == "closes":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self.failure == "garbage":
            self.answer(200, b"<html>\xff\n\n{")
        else:
            self.answer(500, b"Traceback\nmany\nlines")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture(params=["500", "garbage", "closes"])
def dying_server(request):
    handler = type("Handler", (DyingServer,), {"failure": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_server_that_fails_after_the_connection_fails_no_training(
    project, data, monkeypatch, capfd, dying_server
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", dying_server)
    require_lines(track_and_fail(data, capfd), f"MLflow at {dying_server} fails (")
