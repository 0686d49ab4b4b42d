"""The project's database: created atomically, checked before use, and moved with its folder."""

import shutil
import sqlite3
from contextlib import closing

import filelock
import mlflow
import pytest

from sentiformer.core.errors import UserError
from sentiformer.tracking import database
from sentiformer.tracking.database import (
    artifacts_of,
    check_address,
    database_of,
    default_uri,
    locked_database,
    prepare_database,
)
from sentiformer.tracking.names import MODEL_TAG
from sentiformer.tracking.registry import find_run
from sentiformer.tracking.store import KEY_TAG, NAME, Store

TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table'"


@pytest.fixture
def project(tmp_path, empty_store, monkeypatch):
    """A project with a store; the environment is restored later."""
    folder = tmp_path / "first"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    return folder


def touch(root):
    """Lock the database; returns the addresses at which one was to be created."""
    created = []
    with locked_database(root, created.append):
        pass
    return created


def test_moved_project_has_its_artifacts_in_the_new_folder(project, monkeypatch):
    store = Store.connect()
    run = store.client.create_run(store.experiment_id)
    store.client.log_text(run.info.run_id, "1", "a.txt")
    elsewhere = store.client.create_experiment("theirs", artifact_location="/elsewhere/x")
    moved = shutil.copytree(project, project.parent / "mo ved")
    monkeypatch.setenv("DVC_ROOT", str(moved))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", default_uri(moved))
    again = Store.connect()
    assert again.client.get_experiment(again.experiment_id).artifact_location == artifacts_of(moved)
    address = again.client.get_run(run.info.run_id).info.artifact_uri
    assert address == f"{artifacts_of(moved)}/{run.info.run_id}/artifacts"
    assert again.client.get_experiment(elsewhere).artifact_location == "/elsewhere/x"


def test_database_copied_without_artifacts_keeps_the_addresses_of_old_ones(project):
    store = Store.connect()
    run = store.client.create_run(store.experiment_id)
    copy = project.parent / "copy"
    copy.mkdir()
    shutil.copy(database_of(project), copy)
    touch(copy)
    client = mlflow.MlflowClient(default_uri(copy))
    assert client.get_run(run.info.run_id).info.artifact_uri.startswith(artifacts_of(project))
    assert client.get_experiment(store.experiment_id).artifact_location == artifacts_of(copy)


def test_no_table_has_an_old_address_after_a_move(project, monkeypatch):
    """MLflow stores addresses in the columns of `ARTIFACT_COLUMNS` only."""
    store = Store.connect()
    run = store.client.create_run(store.experiment_id)

    @mlflow.pyfunc.utils.pyfunc
    def model(model_input: list[str]) -> list[str]:
        return model_input

    with mlflow.start_run(run_id=run.info.run_id, log_system_metrics=False):
        mlflow.pyfunc.log_model(
            name="model",
            python_model=model,
            registered_model_name=NAME,
            pip_requirements=[],
        )
    moved = project.rename(project.parent / "moved")
    touch(moved)
    with closing(sqlite3.connect(database_of(moved))) as opened:
        tables = [name for (name,) in opened.execute(TABLES)]
        rows = [str(row) for name in tables for row in opened.execute(f'SELECT * FROM "{name}"')]
    assert any(f"{moved}/mlartifacts" in row for row in rows)
    assert not any(f"{project}/mlartifacts" in row for row in rows)


def test_missing_or_empty_database_is_created(tmp_path):
    for prepare in (lambda path: None, lambda path: path.touch()):
        prepare(database_of(tmp_path))
        with pytest.raises(FileNotFoundError, match="partial"):  # `created.append` writes no file
            touch(tmp_path)


def test_file_that_is_not_a_database_is_refused(tmp_path):
    database_of(tmp_path).write_bytes(b"junk" * 1000)
    with pytest.raises(UserError, match=r"mlflow\.db: file is not a database; delete it"):
        touch(tmp_path)
    database_of(tmp_path).unlink()
    database_of(tmp_path).mkdir()
    (database_of(tmp_path) / "x").touch()
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        touch(tmp_path)


def test_database_that_cannot_be_written_can_be_read(project, monkeypatch):
    Store.connect()
    monkeypatch.setattr(database, "WRITER_SECONDS", 0.01)
    moved = project.rename(project.parent / "moved")
    project.symlink_to(moved)
    with closing(sqlite3.connect(database_of(project))) as other:
        other.execute("BEGIN IMMEDIATE")
        prepare_database(project)
        prepare_database(moved)  # the addresses stay old, but the database can be read
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            prepare_database(project, write=True)


def test_failed_creation_leaves_no_file(tmp_path):
    def create(address):
        (tmp_path / "mlflow.db.partial").write_text("half")
        raise OSError("database or disk is full")

    with pytest.raises(OSError, match="full"), locked_database(tmp_path, create):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db.lock"]


@pytest.mark.parametrize("name", ["my%20project", "what?", 'so "called"'])
def test_path_with_special_characters_is_refused(tmp_path, name):
    root = tmp_path / name
    root.mkdir()
    with pytest.raises(UserError, match="in its name; rename the folder, or set MLFLOW_TRACKING"):
        touch(root)
    assert not list(root.iterdir())


def test_other_database_that_cannot_be_opened_is_refused(tmp_path):
    check_address("http://127.0.0.1:9")
    check_address(f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        check_address(f"sqlite:///{tmp_path}")


def test_lock_that_is_never_released_raises(project, monkeypatch):
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.1)
    with (
        filelock.FileLock(project / "mlflow.db.lock"),
        pytest.raises(filelock.Timeout, match=r"mlflow\.db\.lock"),
    ):
        touch(project)
    assert touch(project) == []


def test_run_is_found_by_the_weights_and_then_by_the_training(project):
    stored = (project / "mlflow.db").rename(project / "stored")
    with pytest.raises(UserError, match=r"mlflow\.db is missing"):
        find_run("a" * 64, "key")
    stored.rename(project / "mlflow.db")
    assert find_run("a" * 64, "key") is None
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.create_experiment("films")
    runs = {}
    for key in ("first", "second"):
        tags = {MODEL_TAG: "a" * 64, KEY_TAG: key, "mlflow.source.git.commit": "c0ffee"}
        run = client.create_run(experiment, start_time=1000, run_name=key, tags=tags)
        runs[key] = run.info.run_id
    assert find_run("a" * 64, "second") == {
        "id": runs["second"],
        "name": "second",
        "experiment": "films",
        "begun": "1970-01-01T00:00:01+00:00",
        "by": "unknown",
        "commit_when_begun": "c0ffee",
    }
    assert find_run("a" * 64, None)["id"] in runs.values()
    assert find_run("b" * 64, "first") is None
    (project / "mlflow.db").write_text("no database")
    with pytest.raises(UserError, match=r"MLflow at .*mlflow\.db cannot be searched \("):
        find_run("a" * 64, "key")
