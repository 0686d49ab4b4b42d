"""A run of a training: checkpoints, hashes, permissions."""

import hashlib
import json
import os
import time
from contextlib import nullcontext

import pytest
import torch
from conftest import RUNTIME, classifier, tiny_params, train

from sentiformer.core.files import sha256
from sentiformer.core.runtime import Runtime
from sentiformer.training import classification, run
from sentiformer.training.checkpoint import OTHERS_KEPT, Checkpoint
from sentiformer.training.params import TrainParams
from sentiformer.training.run import run_with_checkpoints


@pytest.fixture
def setup(data):
    return classifier(tiny_params(), data)


def test_a_stopped_training_resumes_to_the_same_weights(data, setup, tmp_path):
    checkpoint = Checkpoint(tmp_path, "train", "key")
    events = run_with_checkpoints(setup.training, checkpoint, seconds=0)
    for _ in range(2):  # a checkpoint is written when the next event is asked for
        next(events)
    events.close()
    assert checkpoint.path.exists()
    again = classifier(tiny_params(), data)
    resumed = list(run_with_checkpoints(again.training, checkpoint, seconds=0))
    expected = classifier(tiny_params(), data)
    assert resumed == list(
        run_with_checkpoints(expected.training, Checkpoint(tmp_path, "train", "x"), 9)
    )
    weights = [training.best_weights() for training in (again.training, expected.training)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_what_a_person_sees_decides_no_byte(data, setup, tmp_path, monkeypatch):
    class Silent:
        def __init__(self, *_):
            pass

        def __call__(self, *_):
            pass

        resumed = ended = __call__
        shown = staticmethod(lambda *_: nullcontext())

    monkeypatch.setattr(run, "TrainingDisplay", Silent)
    monkeypatch.setattr(run, "say", lambda line: None)
    train(setup, tmp_path / "data" / "model")
    for path in (data / "model").iterdir():
        assert (tmp_path / "data" / "model" / path.name).read_bytes() == path.read_bytes(), path


def test_few_texts_train_for_more_epochs_and_a_line_says_so(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(classification, "LEAST_STEPS", 65)
    train(classifier(tiny_params(), data), tmp_path / "data" / "model")
    said = capsys.readouterr().out
    assert "train has few texts: 4 epochs instead of 2, so that there are 84 steps\n" in said
    assert "epoch 4 of 4: " in said
    train(classifier(tiny_params(train={"epochs": 4}), data), tmp_path / "data" / "model")
    assert "few texts" not in capsys.readouterr().out


def test_large_batches_do_not_make_a_training_longer(data, monkeypatch):
    monkeypatch.setattr(classification, "LEAST_STEPS", 400)
    trainings = [
        classifier(tiny_params(train={"batch_size": size}), data).training
        for size in (1, 32, 64, 2**16)
    ]
    texts = [training.total_epochs * len(training.train.texts) for training in trainings]
    assert texts[0] < 1000, "400 steps of one text each"
    assert 10_000 < texts[1] < 13_500
    assert max(texts[2:]) <= texts[1]


def test_a_finished_training_leaves_no_checkpoint(setup, tmp_path):
    train(setup, tmp_path / "data" / "model")
    assert not list((tmp_path / ".checkpoints").iterdir())


def test_deletion_removes_what_a_kill_left(tmp_path):
    checkpoint = Checkpoint(tmp_path, "train", "key")
    checkpoint.save({"weight": torch.ones(1)}, {})
    partial = checkpoint.path.with_suffix(".partial-1")  # killed in the middle of a checkpoint
    partial.mkdir()
    (partial / ".tmp1").touch()
    (tmp_path / "train-another.safetensors").touch()
    checkpoint.delete()
    assert [path.name for path in tmp_path.iterdir()] == ["train-another.safetensors"]


def test_old_checkpoints_of_other_trainings_of_the_stage_are_deleted(tmp_path):
    for age, key in enumerate("abcd"):
        Checkpoint(tmp_path, "train", key).save({"weight": torch.ones(1)}, {})
        moment = time.time() - 100 * age
        os.utime(tmp_path / f"train-{key}.safetensors", (moment, moment))
    Checkpoint(tmp_path, "pretrain", "z").save({"weight": torch.ones(1)}, {})
    Checkpoint(tmp_path, "train", "d").prune()
    kept = {path.stem for path in tmp_path.iterdir()}
    assert kept == {"train-a", "train-b", "train-d", "pretrain-z"}
    assert OTHERS_KEPT == 2


@pytest.mark.parametrize(
    "damage", [lambda old: old[:-9], lambda old: old[:-1] + bytes([old[-1] ^ 1])]
)
def test_a_damaged_checkpoint_is_reported_and_the_training_starts_again(
    data, tmp_path, capsys, damage
):
    checkpoint = Checkpoint(tmp_path, "train", "key")
    runs = []
    for _ in range(2):
        training = classifier(tiny_params(), data).training
        runs.append(list(run_with_checkpoints(training, checkpoint, seconds=0)))
        checkpoint.path.write_bytes(damage(checkpoint.path.read_bytes()))
    assert f"{checkpoint.path} cannot be read (" in capsys.readouterr().out
    assert runs[0] == runs[1]


def test_config_has_the_hash_of_each_file_that_decides_the_weights(data):
    about = json.loads((data / "model" / "config.json").read_text())
    names = {"tokens/types.txt", "tokens/train.arrow", "tokens/validation.arrow", "vocab/vocab.txt"}
    assert about["made_from"].keys() == {*names, "pretrained/model.safetensors"}
    for name, expected in about["made_from"].items():
        assert sha256(data / name) == expected, name


def test_the_files_have_the_permissions_of_the_umask(data):
    modes = {path.name: path.stat().st_mode & 0o777 for path in (data / "model").iterdir()}
    assert len(set(modes.values())) == 1, modes


TRAIN_CHANGES = {
    "seed": 2,
    "epochs": 1,
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 0.003,
    "word_dropout": 0.5,
    "class_weights": "balanced",
    "precision": "bf16",
}


def test_every_parameter_of_training_changes_the_weights(data, monkeypatch):
    weights = torch.tensor([0.5, 1.5])
    monkeypatch.setattr(classification, "balanced_weights", lambda _: weights)
    assert TRAIN_CHANGES.keys() | {"patience"} == TrainParams.model_fields.keys()
    digests = {}
    for key, value in {"": None, **TRAIN_CHANGES}.items():
        changes = {key: value} if key else {}
        assert not key or getattr(tiny_params().train, key) != value
        training = classifier(tiny_params(train=changes), data).training
        list(training.run())
        weight = training.best_weights()["classifier.weight"]
        digests[key] = hashlib.sha256(weight.numpy().tobytes()).hexdigest()
    assert len(set(digests.values())) == len(digests), digests


def test_the_number_of_processes_does_not_name_a_checkpoint_but_threads_do(data, tmp_path):
    keys = set()
    for threads in (1, 2):
        runtime = Runtime(threads=threads, device="cpu", checkpoint_seconds=0)
        setup = classifier(tiny_params(), data, runtime)
        train(setup, tmp_path / str(threads) / "data" / "model")
        about = json.loads((tmp_path / str(threads) / "data/model/config.json").read_text())
        keys.add(about["training_key"])
    assert len(keys) == 2
    assert RUNTIME.threads == 1
