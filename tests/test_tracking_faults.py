"""A store that fails in the middle of a stage: short waits and clear lines; text stays text."""

import _thread
import json
import re
import shutil
import threading
import time

import pytest

from benchmarks.faults.server import FAULTS, FaultyServer
from sentiformer.core.errors import UserError
from sentiformer.core.events import StepEvent
from sentiformer.core.files import read_json
from sentiformer.core.seal import SEAL
from sentiformer.tracking import live, models, patience, registry, tracker
from sentiformer.tracking.models import CHAMPION, SEALED_TAG
from sentiformer.tracking.patience import ANSWER_SECONDS, Patience, PatientClient
from sentiformer.tracking.store import Store
from sentiformer.tracking.tracker import live_run, sync, sync_all

SECONDS = 0.3  # of patience


@pytest.fixture
def project(tmp_path, empty_store, monkeypatch):
    """A project with an empty store; models are registered without their files."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "SENTIFORMER_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setattr(patience, "_setting", lambda: SECONDS)
    monkeypatch.setattr(live, "BATCH_SECONDS", 0.05)
    monkeypatch.setattr(models, "upload", lambda *_: None)
    return tmp_path


class SlowClient:
    """A client of MLflow whose calls take a while."""

    def __init__(self, seconds):
        self.seconds, self.calls = seconds, 0

    def get_run(self):
        self.calls += 1
        time.sleep(self.seconds)

    def log_artifacts(self, run_id, folder):
        time.sleep(self.seconds)


def test_answers_that_are_late_by_little_end_the_patience_together(monkeypatch):
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.0)
    slow = SlowClient(0.04)
    client = PatientClient(slow, Patience(0.1))
    with pytest.raises(TimeoutError, match="MLFLOW_HTTP_REQUEST_TIMEOUT sets the seconds"):
        list(iter(client.get_run, "never"))
    assert 1 <= slow.calls <= 3


def test_answers_in_time_and_work_between_them_cost_no_patience():
    waited = Patience(0.1)
    client = PatientClient(SlowClient(0.0), waited)
    for _ in range(20):
        client.get_run()
    time.sleep(0.15)
    assert waited.left == 0.1 < ANSWER_SECONDS


def test_upload_may_take_longer_by_its_size(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(bytes(1000))
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.0)
    for rate, is_late in ((1000, False), (1_000_000, True)):
        monkeypatch.setattr(patience, "UPLOAD_RATE", rate)
        waited = Patience(1.0)
        PatientClient(SlowClient(0.02), waited).log_artifacts("run", tmp_path)
        assert (waited.left < 1.0) == is_late


def test_work_that_hangs_is_left_and_stops_at_its_next_call():
    answers, errors, waited = threading.Event(), [], Patience(0.1)

    def work():
        try:
            with waited.call():
                answers.wait(10)
            with waited.call():
                errors.append("it goes on")
        except TimeoutError as error:
            errors.append(error)
        ended.set()

    ended = threading.Event()
    with pytest.raises(TimeoutError):
        waited.limit(work)
    answers.set()
    assert ended.wait(5)
    assert [type(error) for error in errors] == [TimeoutError]


def test_interrupt_ends_the_wait_at_once():
    hangs, waited = threading.Event(), Patience(60.0)

    def work():
        with waited.call():
            hangs.wait(10)

    threading.Timer(0.1, _thread.interrupt_main).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        waited.limit(work)
    hangs.set()
    assert time.monotonic() - started < 5


def test_live_run_and_sync_of_a_stage_share_their_patience(project, data, monkeypatch, capfd):
    about = read_json(data / "model" / "config.json", made_by="train")
    with faulty("hangs", monkeypatch) as server:
        started = time.monotonic()
        with live_run(about) as track:
            track(StepEvent(1, 1, 1, 0.7, 0.1, 1.0, 10))
        sync("train", data)
        assert time.monotonic() - started < 2 * SECONDS
        assert tracker._of_stage.left <= 0
    track._thread.join(10)
    assert server.address.removeprefix("http://") in capfd.readouterr().err


def faulty(name, monkeypatch):
    """A server that fails, as the store."""
    server = FaultyServer(upstream=0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address.replace("://", "://ada:secret@"))
    server.fail(FAULTS[name])
    return server


@pytest.mark.parametrize(
    ("name", "reason"),
    {
        "503, Retry-After: 3600": "503",
        "drips the body": "its answers are too late; MLFLOW_HTTP_REQUEST_TIMEOUT sets the seconds",
        "drips the head": "its answers are too late; MLFLOW_HTTP_REQUEST_TIMEOUT sets the seconds",
        "401": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        "500 with a page": "too many 500 error responses",
        "a page": "</html>",
        "redirects in a loop": "check MLFLOW_TRACKING_URI",
        "speaks TLS": "write https:// in MLFLOW_TRACKING_URI if the server has TLS",
    }.items(),
)
def test_server_that_fails_costs_a_short_line_and_little_time(
    project, data, monkeypatch, capfd, name, reason
):
    with faulty(name, monkeypatch):
        started = time.monotonic()
        assert sync_all(data) is False
        assert time.monotonic() - started < SECONDS + ANSWER_SECONDS + 1
    (line,) = capfd.readouterr().err.splitlines()
    assert reason in line
    assert "secret" not in line
    assert "ada" not in line
    assert len(line) < 1000


def test_version_from_before_models_were_sealed_is_replaced(project, data):
    assert sync_all(data)
    client = Store.connect().client
    client.delete_model_version_tag("sentiformer", "1", SEALED_TAG)
    assert sync_all(data)
    assert client.get_registered_model("sentiformer").aliases == {CHAMPION: 2}
    assert sync_all(data)
    assert len(client.search_model_versions("name = 'sentiformer'")) == 2


def test_version_from_before_models_were_sealed_says_that_it_must_be_registered_again(
    project, data, monkeypatch
):
    files = project / "files" / "artifacts" / "model"
    shutil.copytree(data / "model", files)
    (files / SEAL).unlink()
    monkeypatch.setattr(registry, "_own_files", lambda *_: project / "files")
    with pytest.raises(UserError, match="`sentiformer track` registers the new model"):
        registry.download_model("models:/sentiformer@champion", project)


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "![x](https://example.org/x.png) **bold** `code`",
    "line\nbreak \x1b[31m \u202e \x00",
    "\N{PILE OF POO}" * 3000,
    *(f"class {number}" for number in range(2000)),
]


def test_hostile_names_are_logged_as_text(project, data):
    copy = shutil.copytree(data, project / "data")
    path = copy / "model" / "config.json"
    about = json.loads(path.read_text())
    about["labels"] = HOSTILE
    about["params"]["download"] |= {
        "labels": HOSTILE,
        "source": "files",
        "train": f"{HOSTILE[0]}.csv",
    }
    about["data"]["origin"] |= {"name": HOSTILE[1], "licence": HOSTILE[2], "citation": HOSTILE[0]}
    about["data"]["splits"]["train"]["labels"] = HOSTILE
    path.write_text(json.dumps(about))
    assert sync_all(copy)
    store = Store.connect()
    (run,) = store.client.search_runs([store.experiment_id], "tags.`dvc.stage` = 'train'")
    (version,) = store.client.search_model_versions(f"run_id = '{run.info.run_id}'")
    note = run.data.tags["mlflow.note.content"]
    assert not {"\x1b", "\u202e", "\x00"} & set(note)
    for text in (note, version.description):
        assert not re.search(r"(?<!\\)<img|(?<!\\)\[x", text), "markup is escaped"
    assert run.data.params["download.labels"].startswith("['<img src=x onerror=alert(1)>', ")
    assert run.info.run_name.startswith(HOSTILE[0])
