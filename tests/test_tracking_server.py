"""Several machines that log to one tracking server at the same time."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest
from conftest import ROOT

from sentiformer.core.seal import seal
from sentiformer.tracking import store as store_module
from sentiformer.tracking.names import NAME
from sentiformer.tracking.store import KEY_TAG, use_store


@pytest.fixture
def server(tmp_path, empty_store):
    """The address of `mlflow server` with a database and artifacts."""
    database = shutil.copy(empty_store, tmp_path / "shared.db")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{database}"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **quiet)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while not is_ready(address):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def is_ready(address):
    try:
        with urlopen(f"{address}/health") as answer:
            return answer.status == 200
    except OSError:
        return False


def clone(data, folder, user, key):
    """A project of a user with the files of a training with this key."""
    shutil.copytree(data / "model", folder / "data" / "model")
    shutil.copytree(data / "curves", folder / "data" / "curves")
    path = folder / "data" / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training_key": key}))
    seal(path.parent)
    (folder / "dvc.yaml").touch()
    git = ["git", "-C", str(folder), "-c", f"user.email={user}@example.org"]
    for command in (["init", "-qb", user], ["config", "user.name", user], ["add", "dvc.yaml"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([*git, "commit", "-qm", user], check=True)
    return folder


def track(folder, address):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "sentiformer", "track"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


@pytest.mark.slow
def test_clones_log_at_once_and_runs_name_their_user_commit_and_branch(server, data, tmp_path):
    from mlflow import MlflowClient

    keys = {"Ada": "one", "Grace": "two", "Edsger": "two"}  # two have the same training
    clones = {user: clone(data, tmp_path / user, user, key) for user, key in keys.items()}
    running = [track(folder, server) for folder in clones.values()]
    for process in running:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name(NAME).experiment_id
    runs = client.search_runs([experiment], "tags.`dvc.stage` = 'train'")
    assert sorted(run.data.tags[KEY_TAG] for run in runs) == ["one", "two"]
    for run in runs:
        tags, user = run.data.tags, run.info.user_id
        head = ["git", "-C", str(clones[user]), "rev-parse", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        assert tags["mlflow.source.git.commit"] == commit
        assert tags["mlflow.source.git.branch"] == tags["mlflow.user"] == user
        assert keys[user] == tags[KEY_TAG]
        assert run.info.status == "FINISHED"


def test_work_is_done_again_only_if_another_process_came_first(monkeypatch):
    errors, tries = [], []
    monkeypatch.setattr(store_module.Store, "connect", lambda _: None)

    def work(_):
        tries.append(1)
        if errors:
            raise RuntimeError(errors.pop())

    errors[:] = ["RESOURCE_ALREADY_EXISTS: Experiment exists", "(sqlite3.IntegrityError) UNIQUE"]
    assert use_store(work)
    assert len(tries) == 3
    errors[:] = ["INTERNAL_ERROR"]
    assert not use_store(work)
    assert len(tries) == 4
