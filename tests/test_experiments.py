"""The search of parameters and the folds, mostly on an imitation of DVC's experiments."""

import csv
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from sentiformer.core.errors import UserError
from sentiformer.experiments import dvc
from sentiformer.experiments.folds import run_folds
from sentiformer.experiments.search import search
from sentiformer.experiments.space import Choice, Range, parse_space, scored_stage
from sentiformer.experiments.study import Study, Trial, best_of
from sentiformer.params import load_params

RATE = "train.learning_rate=0.0003..0.03"
LAYERS = "model.num_layers=1,2,3"
PARAMS = load_params(ROOT / "params.yaml")


class Experiments:
    """An imitation of `sentiformer.experiments.dvc`: the best rate is 0.003, the best depth 2."""

    def __init__(self) -> None:
        self.kept: dict[str, dict] = {}
        self.runs: list[dict] = []
        self.failures: dict[int, BaseException] = {}  # by the number of the run, from 1

    def run(self, name, values, stage, show):
        self.runs.append(dict(values))
        show("epoch 1 of 3")
        if failure := self.failures.get(len(self.runs)):
            raise failure
        self.kept[name] = dict(values)

    def read(self, name, path):
        values = self.kept[name]
        if path == "metrics.json":
            return {"accuracy": 0.9 + values["download.fold"] / 100, "log_loss": 0.25}
        if path == "data/raw/dataset.json":
            return {"rows_read": {"train": 100}}
        assert path == "data/model/config.json"
        rate, layers = values.get("train.learning_rate", 0.003), values.get("model.num_layers", 2)
        loss = abs(math.log10(rate / 0.003)) / 4 + abs(layers - 2) / 8
        return {"best": {"valid_accuracy": 1 - loss, "valid_loss": loss, "epoch": 2}}

    def names(self):
        return [*self.kept, "another"]

    def remove(self, *removed):
        for name in removed:
            del self.kept[name]


@pytest.fixture(autouse=True)
def _do_not_wait_for_the_disk():
    """SQLite waits several times per trial until the disk has its data."""
    from sqlalchemy import Engine, event

    def listener(connection, _):
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", listener)
    yield
    event.remove(Engine, "connect", listener)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the parameters and the stages, and with a commit."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    commit()
    return tmp_path


def commit():
    person = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in ("init -q", "add -A", "commit -qm all"):
        subprocess.run(["git", *person, *command.split()], check=True)


@pytest.fixture
def experiments(project, monkeypatch):
    found = Experiments()
    for name in ("run", "read", "names", "remove"):
        monkeypatch.setattr(dvc, name, getattr(found, name))
    return found


def run_search(*space, trials=8, minutes=None, folder=Path("data/search")):
    search(space, trials=trials, minutes=minutes, folder=folder)
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("argument", "expected", "is_log"),
    [
        ("model.num_layers=1,2", Choice((1, 2)), None),
        ("model.num_layers=2", Choice((2,)), None),
        ("train.class_weights=null,balanced", Choice((None, "balanced")), None),
        ("finetune.ensemble=true,false", Choice((True, False)), None),
        ("train.learning_rate=1e-3,0.002", Choice((0.001, 0.002)), None),
        ("train.learning_rate=0.0003..0.003", Range(0.0003, 0.003), True),
        ("train.learning_rate=1e-4..1e-3", Range(0.0001, 0.001), True),
        ("train.learning_rate=0.001..0.009", Range(0.001, 0.009), False),
        ("model.dropout=0..0.5", Range(0.0, 0.5), False),
        ("model.dropout=.1...5", Range(0.1, 0.5), False),
        ("model.num_layers=1..6", Range(1, 6), False),
        ("build_vocab.max_size=1000..10000", Range(1000, 10000), True),
        ("finetune.layers=1..6", Range(1, 6), False),
        ("encoder.name=../small,owner/name@0123", Choice(("../small", "owner/name@0123")), None),
    ],
)
def test_the_values_of_a_parameter(argument, expected, is_log):
    (found,) = parse_space([argument], PARAMS).values()
    assert found == expected
    assert type(found[0]) is type(expected[0])
    assert is_log is None or found.is_log is is_log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to search; give parameters, such as model.num_layers=1,2 train"),
        (["model.num_layers"], "'model.num_layers' has a missing value; write choices as in"),
        (["model.num_layers=1,,2"], "'model.num_layers=1,,2' has a missing value"),
        (
            ["model.num_layer=1"],
            "model.num_layer is not a parameter; did you mean model.num_layers",
        ),
        (["model.num_layers=1", "model.num_layers=2"], "model.num_layers is given twice"),
        (["model.num_layers=1,1"], "model.num_layers=1,1 has a value twice"),
        (["model.num_layers=0..2"], "model.num_layers is 0: input should be greater than 0"),
        (["model.num_layers=1.0..2.0"], "model.num_layers is 1.0: input should be a valid integer"),
        (["train.learning_rate=0.3..0.1"], "is an empty range; give the lower bound first"),
        (["train.learning_rate=nan..1"], "is an empty range"),
        (["train.learning_rate=0.1..inf"], "is an empty range"),
        (
            ["train.learning_rate=fast..slow"],
            "train.learning_rate is 'fast..slow': input should be",
        ),
        (["train.class_weights=none"], "train.class_weights is 'none': input should be 'balanced'"),
        (["download.held_out=0.1,0.2"], "download.held_out changes the texts, and scores on other"),
    ],
)
def test_a_mistake_in_the_space_is_one_line(arguments, message):
    with pytest.raises(UserError) as caught:
        parse_space(arguments, PARAMS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_stage_that_is_scored_depends_on_each_parameter(project):
    with_encoder = PARAMS.model_copy(update={"encoder": type(PARAMS.encoder)(name="owner/name@0")})
    for key, params, stage in [
        ("model.d_model", PARAMS, "train"),
        ("tokenize.language", PARAMS, "train"),
        ("train.seed", PARAMS, "train"),
        ("finetune.epochs", with_encoder, "finetune"),
    ]:
        assert scored_stage({key: Choice((1,))}, params) == stage
    for space, params, message in [
        (["finetune.epochs"], PARAMS, "finetune.epochs has no effect: encoder.name is null"),
        (["export.model"], PARAMS, "export.model has no effect on validation: stage train does"),
        (["finetune.epochs", "model.d_ff"], with_encoder, "stage finetune does not depend on it"),
    ]:
        with pytest.raises(UserError, match=message):
            scored_stage(dict.fromkeys(space, Choice((1,))), params)


def test_the_best_trial_stays_as_an_experiment_and_the_others_are_removed(experiments, capsys):
    rows = run_search(RATE, LAYERS)
    assert [row["trial"] for row in rows] == [f"{number}" for number in range(1, 9)]
    best = max(rows, key=lambda row: float(row["accuracy"]))
    assert list(experiments.kept) == [best["experiment"]]
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(f"next: dvc exp apply {best['experiment']} && make")
    assert all(len(row["train.learning_rate"]) <= len("0.000345") for row in rows)
    svg = Path("data/search/trials.svg").read_text()
    assert all(
        name in svg for name in ("validation accuracy", "train.learning_rate", "best so far")
    )


def test_a_stopped_search_continues_as_if_it_had_not_been_stopped(experiments, capsys):
    expected = [row["train.learning_rate"] for row in run_search(RATE, LAYERS, trials=12)]
    shutil.rmtree("data/search")
    experiments.kept.clear()
    experiments.runs.clear()
    experiments.failures = {5: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run_search(RATE, LAYERS, trials=12)
    assert len(Path("data/search/trials.csv").read_text().splitlines()) == 1 + 4
    assert len(experiments.kept) == 1
    assert "4 of 12 trials" in capsys.readouterr().out
    assert [row["train.learning_rate"] for row in run_search(RATE, LAYERS, trials=12)] == expected
    assert len(experiments.runs) == 13
    run_search(RATE, LAYERS, trials=12)
    assert len(experiments.runs) == 13, "all trials are done"


def test_a_killed_trial_is_tried_again(experiments):
    """After kill -9 the trial is neither finished nor failed in the study."""
    space = parse_space([RATE], PARAMS)
    lost = Study(Path("study.db"), "key", space, PARAMS, 8).ask()
    assert Study(Path("study.db"), "key", space, PARAMS, 8).ask() == lost
    assert Study(Path("study.db"), "other", space, PARAMS, 8).trials() == []
    few = parse_space([LAYERS], PARAMS)
    assert Study(Path("few.db"), "key", few, PARAMS, 8).ask() == {"model.num_layers": 1}
    again = Study(Path("few.db"), "key", few, PARAMS, 8)
    assert {again.ask()["model.num_layers"] for _ in range(3)} == {1, 2, 3}


def test_few_combinations_are_each_tried_once_without_the_impossible_ones(experiments, capsys):
    rows = run_search("model.num_layers=1..3", "model.num_heads=2,3", trials=20)
    found = sorted((row["model.num_layers"], row["model.num_heads"]) for row in rows)
    assert found == [("1", "2"), ("2", "2"), ("3", "2")]
    assert "3 of 3 trials" in capsys.readouterr().out
    with pytest.raises(UserError, match="no combination of the values is possible; these values"):
        run_search("model.num_heads=3,5")


def test_values_that_were_tried_are_not_tried_again(experiments):
    run_search("model.num_layers=1..2", "train.seed=1..4", trials=7)
    tried = [tuple(values.items()) for values in experiments.runs]
    assert len(set(tried)) == len(tried) == 7


def test_a_diverged_trial_is_in_the_table_and_the_search_goes_on(experiments):
    experiments.failures = {2: dvc.ExperimentError("the training diverged", "train")}
    rows = run_search(RATE, trials=5)
    assert [row["error"] for row in rows] == ["", "the training diverged", "", "", ""]
    assert rows[1]["accuracy"] == ""


def test_failures_that_other_values_do_not_change_end_the_search(experiments):
    error = dvc.ExperimentError("reviews.csv does not exist", "download")
    experiments.failures = {2: error}
    with pytest.raises(UserError, match=r"reviews\.csv does not exist"):
        run_search(RATE)
    assert len(experiments.runs) == 2
    error = dvc.ExperimentError("the disk is full", "train")
    experiments.failures = dict.fromkeys(range(3, 20), error)
    with pytest.raises(UserError, match="3 trials in a row failed; the last: the disk is full"):
        run_search(RATE)
    assert len(experiments.runs) == 5


def test_other_values_parameters_or_code_begin_another_search(experiments, capsys):
    def begins(*space):
        run_search(*space, trials=1)
        return " begins: 1 trial" in capsys.readouterr().out

    assert begins(RATE)
    assert not begins(RATE)
    assert begins("train.learning_rate=0.0003..0.02")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["train"]["epochs"] += 1
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert begins(RATE)
    assert not begins(RATE)
    commit()
    assert begins(RATE)
    Path("dvc.yaml").write_text(Path("dvc.yaml").read_text() + "# changed\n")
    assert begins(RATE)


def test_after_the_minutes_no_trial_begins(experiments, capsys, monkeypatch):
    minutes = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: 60.0 * next(minutes))
    rows = run_search(RATE, minutes=9)
    assert 1 <= len(rows) < 8
    assert "9 minutes are over" in capsys.readouterr().out


def test_of_equal_accuracies_the_lowest_loss_is_best():
    def trial(number, accuracy, loss):
        return Trial(number, {}, accuracy, loss, 1, 1.0, "")

    trials = [trial(1, 0.9, 0.4), trial(2, 0.9, 0.3), trial(3, 0.8, 0.1), trial(4, None, None)]
    assert best_of(trials) is trials[1]
    assert best_of(trials[3:]) is None


def test_in_a_shallow_clone_nothing_runs(project):
    """DVC would run the experiments and then lose them."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True)
    Path(".git", "shallow").write_bytes(head.stdout)
    with pytest.raises(UserError, match=r"shallow clone, .*`git fetch --unshallow`"):
        search([RATE], trials=3, minutes=None, folder=Path("data/search"))


def test_without_a_commit_nothing_runs(project):
    shutil.rmtree(".git")
    with pytest.raises(UserError, match="DVC's experiments need a Git commit of this folder, and"):
        search([RATE], trials=3, minutes=None, folder=Path("data/search"))
    assert not Path("data").exists()


def test_a_file_that_is_no_database_is_one_line(experiments):
    Path("data/search").mkdir(parents=True)
    Path("data/search/study.db").write_text("not a database " * 100)
    with pytest.raises(UserError, match=r"study\.db is no database of searches"):
        run_search(RATE)


def test_folds_have_a_mean_and_a_deviation_and_run_once(experiments, capsys):
    experiments.failures = {3: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run_folds(5, Path("data/folds"))
    run_folds(5, Path("data/folds"))
    assert [run["download.fold"] for run in experiments.runs] == [0, 1, 2, 2, 3, 4]
    assert "accuracy  0.9200     0.0158  0.9000   0.9400" in capsys.readouterr().out
    rows = Path("data/folds/folds.csv").read_text().splitlines()
    assert rows[0] == "fold,accuracy,log_loss"
    assert rows[-2:] == ["mean,0.92,0.25", "deviation,0.015811,0.0"]
    assert len(rows) == 8


@pytest.mark.parametrize("count", [1, 11])
def test_the_number_of_folds_follows_from_the_held_out_share(experiments, count):
    with pytest.raises(UserError, match=f"{count} folds are not possible: download.held_out 0.1"):
        run_folds(count, Path("data/folds"))
    assert not experiments.runs


def test_a_source_with_all_splits_has_no_folds(experiments, monkeypatch):
    rows = {"rows_read": {"train": 9, "validation": 3, "test": 3}}
    monkeypatch.setattr(dvc, "read", lambda name, path: rows)
    with pytest.raises(UserError, match="the source has its own test and validation, so all folds"):
        run_folds(3, Path("data/folds"))
    assert len(experiments.runs) == 1


def test_an_error_of_dvc_has_a_fix():
    identity, _ = dvc._reason(["ERROR: Git user name and email must be configured"])
    assert identity.endswith("`git config user.email ADDRESS`")
    cache, stage = dvc._reason(["ERROR: failed to reproduce 'a': failed to load directory ('b',)"])
    assert cache.endswith("run `dvc repro`, then the same command")
    assert not stage


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            [
                "Running stage 'train':",
                "error: the training diverged",
                "ERROR: failed to reproduce",
            ],
            ("the training diverged", "train"),
        ),
        (["ERROR: unable to lock"], ("unable to lock", "")),
        (["Running stage 'train':", "Killed", ""], ("Killed", "")),
        ([], ("it ended without a message", "")),
    ],
)
def test_the_reason_of_a_failure_is_the_line_of_the_stage(lines, expected):
    assert dvc._reason(lines) == expected


@pytest.mark.slow
def test_experiments_under_dvc(tmp_path, monkeypatch):
    """A stage that needs no time; each value arrives as it is."""
    monkeypatch.chdir(tmp_path)
    values = {"a.rate": 0.00003, "a.text": "it's, a\\b @x=1", "a.none": None, "a.yes": True}
    Path("params.yaml").write_text("a: {rate: 1.0, text: x, none: 1, yes: false, fails: 0}\n")
    Path("make.py").write_text(
        "import json, sys\nfrom pathlib import Path\nfrom ruamel.yaml import YAML\n"
        "a = YAML(typ='safe').load(Path('params.yaml'))['a']\n"
        "if a['fails']: sys.exit('error: the training diverged')\n"
        "Path('out.json').write_text(json.dumps(a))\n"
    )
    stage = {"cmd": "python make.py", "deps": ["make.py"], "params": ["a"], "outs": ["out.json"]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    monkeypatch.setenv("PYTHONPATH", ":".join([str(ROOT / "src"), *sys.path]))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    analytics = false\n")
    commit()
    lines = []
    dvc.run("first", values, "train", lines.append)
    assert "Running stage 'train':" in lines
    expected = {key.partition(".")[2]: value for key, value in values.items()}
    assert dvc.read("first", "out.json") == {**expected, "fails": 0}
    assert dvc.names() == ["first"]
    with pytest.raises(dvc.ExperimentError, match="the training diverged") as caught:
        dvc.run("second", {"a.fails": 1}, "train", lines.append)
    assert caught.value.stage == "train"
    dvc.remove("first")
    assert dvc.names() == []
