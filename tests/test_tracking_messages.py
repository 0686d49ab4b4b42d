"""Messages about the store: whole reasons without passwords, and the address of the runs."""

import os
import sys

import pytest

from sentiformer.core.errors import UserError
from sentiformer.tracking import ui
from sentiformer.tracking.messages import reason_of, without_passwords
from sentiformer.tracking.store import Store, use_store

ADDRESSES = [
    "http://admin:s3cret@127.0.0.1:9/mlflow",
    "https://s3cret@mlflow.example.org",
    "https://:s3cret@mlflow.example.org",
    "postgresql://mlflow:s3cret@127.0.0.1:9/mlflow",
    "mysql+pymysql://mlflow:p@s3cret@127.0.0.1/mlflow",
    "http://admin:a/s3cret@127.0.0.1:9",
    "http://admin:a:s3cret@127.0.0.1:9",
    "https://mlflow.example.org/?token=s3cret",
    "postgresql://127.0.0.1/mlflow?sslmode=require&password=s3cret",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_passwords_of_addresses_are_replaced(address):
    for text in (address, f"request to {address}/api failed: ('{address}')"):
        found = without_passwords(text)
        assert "s3cret" not in found
        assert "***" in found
        assert found.startswith(text[:4])


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000",
        "sqlite:////home/me@work/mlflow.db",
        "models:/sentiformer@champion at http://127.0.0.1:5000/mlflow",
        "write to a@example.org",
    ],
)
def test_other_text_is_kept(text):
    assert without_passwords(text) == text


def test_reason_is_the_whole_message_on_one_line():
    message = f"{'It is in maintenance mode. ' * 20}\nSet `ALLOW=true` to continue.\n"
    assert reason_of(ValueError(message)) == " ".join(message.split())
    assert reason_of(KeyError()) == "KeyError"


def test_reason_leaves_out_frames_and_statements():
    frames = "Traceback (most recent call last):\n  File 'x.py', line 1\nOSError: disk is full"
    assert reason_of(ValueError(f"API call failed: {frames}")) == (
        "API call failed: OSError: disk is full"
    )
    statement = "(sqlite3.OperationalError) disk I/O error\n[SQL: INSERT]\n[parameters: ('x',)]"
    assert reason_of(ValueError(statement)) == "(sqlite3.OperationalError) disk I/O error"


def test_missing_driver_has_a_remedy():
    found = reason_of(ModuleNotFoundError("No module named 'psycopg'"))
    assert (
        found == "No module named 'psycopg'; install the Python package with this driver in .venv"
    )


@pytest.mark.parametrize("address", [ADDRESSES[0], ADDRESSES[3], ADDRESSES[7]])
def test_no_password_is_printed(address, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    assert not use_store(lambda store: store.client.search_registered_models())
    with pytest.raises(UserError) as error:
        ui.show_runs()
    lines = [*capfd.readouterr().err.splitlines(), str(error.value)]
    assert len(lines) == 2
    assert not [line for line in lines if "s3cret" in line]


def test_store_of_files_has_the_remedy_of_mlflow(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    assert not use_store(lambda store: None)
    (line,) = capfd.readouterr().err.splitlines()
    assert "`mlflow migrate-filestore`" in line
    assert "MLFLOW_ALLOW_FILE_STORE=true" in line


@pytest.fixture
def own_store(tmp_path, empty_store, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    for name, value in {"DVC_ROOT": str(tmp_path), "MLFLOW_TRACKING_URI": ""}.items():
        monkeypatch.setenv(name, value)
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_HOST", "MLFLOW_PORT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    started = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: started.append((path, arguments)))
    return started


def test_pages_open_at_the_runs(own_store, capsys, monkeypatch, tmp_path):
    ui.show_runs()
    assert own_store == [(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--workers", "1"])]
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    runs = "#/experiments/1/runs?workflowType=machine_learning"
    assert f"runs: http://127.0.0.1:5000/{runs}" in capsys.readouterr().out
    monkeypatch.setenv("MLFLOW_PORT", "5005")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    ui.show_runs()
    address = "runs: http://127.0.0.1:5005/#/experiments/2/runs?workflowType=machine_learning"
    assert address in capsys.readouterr().out


def test_pages_of_a_server_are_not_started(own_store, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:s3cret@127.0.0.1:9/mlflow/")
    monkeypatch.setattr(Store, "connect", lambda *_: Store(None, "7"))
    ui.show_runs()
    address = "http://***@127.0.0.1:9/mlflow/#/experiments/7/runs?workflowType=machine_learning"
    assert capsys.readouterr().out == f"runs: {address}\n"
    assert not own_store
