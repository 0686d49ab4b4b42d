"""Training in several processes: same loss curve as one, one writer, restarts after a kill."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import chain
from types import SimpleNamespace

import psutil
import pytest
import torch
import yaml
from conftest import ROOT, RUNTIME, classifier, language_model, tiny_params, train

from sentiformer.core.errors import UserError
from sentiformer.core.seal import seal
from sentiformer.training.distributed import Group
from sentiformer.training.launcher import by_torchrun

OUTPUT = {"train": "model", "pretrain": "pretrained"}
TWO = "--standalone --nproc-per-node 2"
LONG = {"epochs": 8, "patience": 8}  # long enough to lose a process before the end
# Stage train makes no more steps than the parameters say, and does not wait for MLflow, which
# pretrain logs to.
QUICK = """
import sys
sys.modules["mlflow"] = None
from sentiformer.training import classification
classification.LEAST_STEPS = 0
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory, data, empty_store):
    """Starts a stage on the tiny project's data, or others, in a folder of its own."""
    tmp_path = tmp_path_factory.mktemp("distributed")
    started = []

    def start(name, torchrun="", stage="train", **train):
        folder = tmp_path / name
        if not folder.exists():
            for part in ("tokens", "vocab", "word_vectors", "pretrained", "teacher"):
                seal(shutil.copytree(data / part, folder / "data" / part))
            shutil.copytree(ROOT / "pipeline", folder / "pipeline")
            shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
            train_stage = folder / "pipeline" / "train.py"
            train_stage.write_text(QUICK + train_stage.read_text())
            shutil.copyfile(empty_store, folder / "mlflow.db")
        (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(train=train).model_dump()))
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SENTIFORMER_")},
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "HOME": str(tmp_path),
            "SENTIFORMER_THREADS": "1",
            "SENTIFORMER_DEVICE": "cpu",
            "SENTIFORMER_CHECKPOINT_SECONDS": "0",
            "SENTIFORMER_TORCHRUN": torchrun,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"pipeline.{stage}"],
            cwd=folder,
            env=env,
            stdout=-1,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return folder, process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(folder, process, stage="train"):
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return folder / "data" / OUTPUT[stage], output


def curve(model):
    curves, rows = model.with_name("curves"), []
    folder = curves if curves.exists() else model  # a language model holds its own
    for name in ("steps.csv", "history.csv"):
        with (folder / name).open(newline="") as file:
            rows += [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return rows


@pytest.fixture(scope="module")
def one_long(data, tmp_path_factory):
    """The model of a long training in one process, this one."""
    model = tmp_path_factory.mktemp("one-long") / "data" / "model"
    train(classifier(tiny_params(train=LONG), data), model)
    return model


@pytest.fixture(scope="module")
def two_long(start):
    """The model and the output of the same training in two processes."""
    return ended(*start("two-long", TWO, **LONG))


@pytest.mark.slow
def test_two_processes_train_to_the_loss_curve_of_one_and_the_first_alone_writes(
    one_long, two_long
):
    two, output = two_long
    curves = [sorted(curve(model), key=lambda row: row["step"]) for model in (two, one_long)]
    two_epochs = 6  # four reports and two ends; later a text or two may be classified otherwise
    for row, expected in list(zip(*curves, strict=True))[:two_epochs]:
        assert row == pytest.approx(expected, abs=1e-5)
    losses = [
        [row[name] for row in rows for name in ("loss", "train_loss", "valid_loss") if name in row]
        for rows in curves
    ]
    assert losses[0][:24] == pytest.approx(losses[1][:24], abs=1e-5)
    assert losses[0] == pytest.approx(losses[1], abs=1e-3), "rounding adds up over the epochs"
    assert output.count("epoch 8 of 8: train loss") == 1
    assert output.count("model → data/model") == 1


@pytest.mark.slow
def test_two_processes_pretrain_to_the_loss_curve_of_one_and_the_first_alone_writes(
    start, data, tmp_path
):
    one = tmp_path / "data" / "one"
    train(language_model(tiny_params(), data), one)
    two, output = ended(*start("two-pretrain", TWO, stage="pretrain"), "pretrain")
    for row, expected in zip(curve(two), curve(one), strict=True):
        assert row == pytest.approx(expected, rel=1e-4)  # Muon computes in bf16
    assert output.count("epoch 1 of 1: train loss") == 1
    assert output.count("model → data/pretrained") == 1
    assert output.count("tracked: MLflow run") == 1


@pytest.mark.slow
def test_a_killed_process_is_restarted_and_resumes_from_the_checkpoint(start, two_long):
    folder, agent = start("killed", f"{TWO} --max-restarts 3", **LONG)
    while not list(folder.glob(".checkpoints/*.safetensors")):
        assert agent.poll() is None, agent.communicate()
        time.sleep(0.01)
    psutil.Process(agent.pid).children()[-1].send_signal(signal.SIGKILL)
    model, output = ended(folder, agent)
    assert "resuming at step" in output
    weights = [(path / "model.safetensors").read_bytes() for path in (model, two_long[0])]
    assert weights[0] == weights[1]
    assert curve(model) == curve(two_long[0])


@pytest.mark.slow
def test_a_process_that_the_system_kills_is_named_with_the_signal(start):
    _, agent = start("lost", TWO, **LONG)
    while len(workers := psutil.Process(agent.pid).children()) < 2:
        assert agent.poll() is None, agent.communicate()
        time.sleep(0.01)
    workers[-1].send_signal(signal.SIGKILL)
    output, _ = agent.communicate(timeout=60)
    assert agent.returncode == 1
    assert "error: process 1 (SIGKILL) of pipeline.train was killed; is memory short?" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_one_process_resumes_what_two_began_and_workers_end_with_their_launcher(
    start, one_long, two_long
):
    folder, agent = start("both", TWO, **LONG)
    while not list(folder.glob(".checkpoints/*.safetensors")):
        assert agent.poll() is None, agent.communicate()
        time.sleep(0.01)
    workers = psutil.Process(agent.pid).children()
    agent.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    assert not (folder / "data/model").exists()
    model, output = ended(*start("both", **LONG))
    assert "with 1 processes instead of 2" in output
    losses = [[row["loss"] for row in curve(path) if "loss" in row] for path in (model, one_long)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3), "rounding adds up over the epochs"
    about = [json.loads((path / "config.json").read_text()) for path in (model, two_long[0])]
    assert [config["environment"]["processes"] for config in about] == [1, 2]
    assert about[0]["training_key"] != about[1]["training_key"], "the bits differ"


@pytest.mark.parametrize("arguments", ["--processes 2", "--nproc-per-node x", "--rdzv-conf 'a"])
def test_arguments_that_torchrun_refuses_are_one_line(monkeypatch, arguments):
    monkeypatch.setenv("LOGLEVEL", "CRITICAL")  # the launcher sets it otherwise, and it stays
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="pipeline.train"))
    run = by_torchrun(lambda params, runtime: pytest.fail("torchrun starts the training"))
    line = f"^SENTIFORMER_TORCHRUN is {re.escape(repr(arguments))}, which torchrun refuses .*$"
    with pytest.raises(UserError, match=line):
        run(None, RUNTIME.model_copy(update={"torchrun": arguments}))


def test_wrong_parameters_are_reported_once_and_not_by_each_process(start):
    folder, process = start("params", TWO)
    (folder / "params.yaml").write_text("{}\n")  # which it reads when torch is imported
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.startswith("error: params.yaml: ")
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_each_item_is_in_one_share(count, size):
    groups = [Group(rank, size, torch.device("cpu")) for rank in range(size)]
    shares = [list(range(count))[group.share(count)] for group in groups]
    assert sorted(chain(*shares)) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_single_process_leads_and_sums_change_nothing():
    group = Group(0, 1, torch.device("cpu"))
    assert group.leads
    assert group.sum(torch.tensor([3.0])).tolist() == [3.0]
    saved = ({"weight": torch.ones(2)}, {"step": 1})
    assert group.from_leader(saved) is saved
    group.leave()
