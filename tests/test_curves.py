"""The curves are complete after each event, and a resumed training writes them again."""

import csv
from dataclasses import asdict

from conftest import classifier, tiny_params, train

from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.training.checkpoint import Checkpoint
from sentiformer.training.curves import curve_files
from sentiformer.training.run import run_with_checkpoints

FILES = {"steps.csv": StepEvent, "history.csv": EpochEvent}


def read(folder):
    """The rows of both files, by name."""
    rows = {}
    for name in FILES:
        with (folder / name).open(newline="") as file:
            rows[name] = list(csv.DictReader(file))
    return rows


def rows_of(events):
    """The rows that these events should give, by name of the file."""
    return {
        name: [
            {key: str(value) for key, value in asdict(event).items()}
            for event in events
            if isinstance(event, kind)
        ]
        for name, kind in FILES.items()
    }


def test_each_event_is_in_the_files_at_once(data, tmp_path):
    seen = []
    with curve_files(tmp_path / "curves") as write:
        assert read(tmp_path / "curves") == {name: [] for name in FILES}
        for event in classifier(tiny_params(), data).training.run():
            write(event)
            seen.append(event)
            assert read(tmp_path / "curves") == rows_of(seen)
    header = (tmp_path / "curves" / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,step,train_loss,valid_loss,valid_accuracy"


def test_a_resumed_training_writes_the_curves_of_one_without_a_stop(data, tmp_path):
    checkpoint, curves = Checkpoint(tmp_path, "train", "key"), tmp_path / "data" / "curves"
    events = run_with_checkpoints(classifier(tiny_params(), data).training, checkpoint, seconds=0)
    with curve_files(curves) as write:
        for _ in range(3):  # the last is after the checkpoint
            write(next(events))
    events.close()
    resumed = classifier(tiny_params(), data).training
    with curve_files(curves) as write:
        for event in run_with_checkpoints(resumed, checkpoint, seconds=0):
            write(event)
    for name in FILES:
        assert (curves / name).read_bytes() == (data / "curves" / name).read_bytes()


def test_a_training_leaves_its_curves_beside_the_model_and_none_in_it(data):
    assert {path.name for path in (data / "curves").iterdir()} == {*FILES, "files.json"}
    names = {"config.json", "coverage.csv", "files.json", "model.safetensors", "vocab.txt"}
    assert {path.name for path in (data / "model").iterdir()} == names


def test_a_link_into_a_cache_is_replaced_and_its_target_stays(data, tmp_path):
    cached, curves = tmp_path / "cached", tmp_path / "data" / "curves"
    cached.write_text("of another training\n")
    curves.mkdir(parents=True)
    (curves / "steps.csv").symlink_to(cached)
    train(classifier(tiny_params(), data), tmp_path / "data" / "model")
    assert cached.read_text() == "of another training\n"
    assert (curves / "steps.csv").read_bytes() == (data / "curves" / "steps.csv").read_bytes()
