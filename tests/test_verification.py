"""What a commit says is compared with its files and with a rebuild, and each change is found."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sentiformer.core.errors import UserError
from sentiformer.verification.comparison import (
    TOLERANCES,
    MetricRow,
    compare_metrics,
    compare_stages,
)
from sentiformer.verification.consistency import contradictions, differing_outputs
from sentiformer.verification.lock import file_hashes, hash_of, read_lock
from sentiformer.verification.record import (
    OUTPUTS,
    make_record,
    output_files,
    read_record,
    write_record,
)
from sentiformer.verification.verify import Verification, verify_folder

CODE = "src/code"
MACHINE = {"processor": "A", "threads": 2, "blas": "openblas 1 Haswell", "python": "3.12"}
READS = {  # of the made-up pipeline: each stage reads what the last one wrote, and the code
    stage: [CODE, *(OUTPUTS[before][:1] if before else [])]
    for before, stage in zip([None, *OUTPUTS], OUTPUTS, strict=False)
}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A project of small text files, with the lock file that DVC would write."""
    folder = tmp_path_factory.mktemp("project")
    (folder / CODE).mkdir(parents=True)
    (folder / CODE / "a.py").write_text("a = 1\n")
    for stage, outputs in OUTPUTS.items():
        for path in outputs:
            if path.startswith("data/"):
                (folder / path).mkdir(parents=True, exist_ok=True)
                (folder / path / "table.csv").write_text(stage)
    environment = json.dumps({"environment": MACHINE})
    (folder / "data/model/config.json").write_text(environment)
    for name in ("baseline", "evaluation"):
        (folder / "data" / name / "environment.json").write_text(json.dumps(MACHINE))
    splits = {"train": {"fingerprint": "1"}, "test": {"fingerprint": "2"}}
    (folder / "data/raw/dataset.json").write_text(json.dumps({"splits": splits}))
    (folder / "data/evaluation/metrics.json").write_text(json.dumps({"texts": 2472}))
    (folder / "data/evaluation/by_source.csv").write_text("source,texts\nsentences,883\n")
    (folder / "metrics.json").write_text(json.dumps({"accuracy": 0.9, "log_loss": 0.2}))
    (folder / "params.yaml").write_text(yaml.safe_dump({"train": {"epochs": 3, "by": None}}))
    write_record(folder)
    write_pipeline(folder)
    return folder


def write_pipeline(folder):
    """Write `dvc.yaml` and `dvc.lock` on the files of a folder."""
    stages, locked = {}, {}
    outputs = {**OUTPUTS, "record": ["record.json"]}
    reads = {**READS, "record": [CODE, "metrics.json"]}
    for name in outputs:
        params = ["train"] if name == "train" else []
        stages[name] = {"cmd": f"run {name}", "params": params, "deps": reads[name]}
        deps, outs = (
            [{"path": path, "md5": hash_of(file_hashes(folder / path))} for path in paths]
            for paths in (reads[name], outputs[name])
        )
        locked[name] = {"cmd": f"run {name}", "deps": deps, "outs": outs}
        if params:
            values = yaml.safe_load((folder / "params.yaml").read_text())
            locked[name]["params"] = {"params.yaml": values}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": locked}, sort_keys=False))


@pytest.fixture
def project(tmp_path, original):
    """A copy that tests change."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_files_that_are_as_the_commit_says_are_verified(project):
    found = verify_folder(project, project, "commit 1")
    assert found.holds, found
    assert {row.result for row in found.stages} == {"equal"}
    assert {row.tolerance for row in found.metrics} == {0}
    assert found.as_dict()["verified"] is True


TAMPERED = {  # by what is changed: the file, the text, the stage, and what the line names
    "metric": ("metrics.json", "0.9", "0.91", "evaluate", "metrics.json"),
    "model": ("data/model/config.json", "Haswell", "Zen", "train", "data/model/config.json"),
    "prediction": (
        *("data/evaluation/table.csv", "evaluate", "b", "evaluate", "data/evaluation/table.csv"),
    ),
    "data": ("data/raw/table.csv", "d", "D", "download", "data/raw/table.csv"),
    "parameter": ("params.yaml", "3", "4", "train", "train.epochs is 4, dvc.lock has 3"),
    "null": ("params.yaml", "null", "a", "train", "train.by is 'a', dvc.lock has None"),
    "code": ("src/code/a.py", "1", "2", "download", "src/code"),
    "command": ("dvc.yaml", "run train", "run other", "train", "run other"),
    "stage": ("dvc.yaml", "  report:", "  else:", "report", "dvc.yaml lacks"),
    "record": ("record.json", "data/tokens", "data/other", "tokenize", "record.json"),
    "machine": ("record.json", "Haswell", "Zen", "record", "record.json"),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_each_change_is_found_at_its_stage(project, kind):
    name, old, new, stage, line = TAMPERED[kind]
    change(project / name, old, new)
    found = verify_folder(project, project, "commit 1")
    assert not found.holds
    assert (stage, True) in [(row.stage, line in row.what) for row in found.wrong], found.wrong
    assert f"first difference is at stage {stage};" in found.advice


@pytest.mark.parametrize("stage", [*OUTPUTS])
def test_a_changed_hash_in_the_lock_file_is_found_at_its_stage(project, stage):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    lock["stages"][stage]["outs"][0]["md5"] = "0" * 32
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert stage in {row.stage for row in contradictions(project)}


def test_a_removed_and_an_additional_file_are_named(project):
    (project / "data/vocab/table.csv").rename(project / "data/vocab/other.csv")
    (found,) = differing_outputs(project, output_files(project))
    assert found.stage == "build_vocab"
    assert "data/vocab/other.csv, data/vocab/table.csv" in found.what


def test_an_output_that_is_missing_is_named_with_what_makes_it(project):
    shutil.rmtree(project / "data/model")
    (found,) = differing_outputs(project, output_files(project))
    assert found == ("train", "data/model is missing; `make` builds it")


@pytest.mark.parametrize("name", ["record.json", "dvc.lock", "params.yaml", "dvc.yaml"])
@pytest.mark.parametrize("content", ["", "{", "[1]", None, "stages: 1", "stages: {train: 1}"])
def test_a_damaged_file_of_the_commit_is_one_line(project, name, content):
    (project / name).unlink()
    if content is not None:
        (project / name).write_text(content)
    if name == "params.yaml" and content and "stages" in content:
        assert {row.stage for row in contradictions(project)} == {"train"}
        return
    with pytest.raises(UserError, match=name):
        list(contradictions(project))


def test_a_value_that_holds_itself_billions_of_times_is_shown_shortened(project):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    lock = project / "dvc.lock"
    lock.write_text("\n".join([*lines, lock.read_text().replace("epochs: 3", "epochs: *a11")]))
    (found,) = contradictions(project)
    assert found.stage == "train"
    assert len(found.what) < 2000


def predictions(project, right):
    """Write predictions of 10 reviews, of which so many are right, and metrics that say 0.9."""
    actual, predicted = ["a"] * 10, ["a"] * right + ["b"] * (10 - right)
    columns = {"source": "reviews", "actual": actual, "predicted": predicted}
    pd.DataFrame(columns).to_parquet(project / "data/evaluation/predictions.parquet")
    write_record(project)
    write_pipeline(project)


def test_an_accuracy_that_the_predictions_do_not_give_is_found_without_a_rebuild(project):
    predictions(project, 9)
    assert verify_folder(project, project, "commit 1").holds
    predictions(project, 8)
    (found,) = verify_folder(project, project, "commit 1").wrong
    assert found == ("evaluate", "metrics.json: accuracy is 0.9, the predictions give 0.800000")


def test_a_metric_that_is_no_number_is_one_line(project):
    change(project / "metrics.json", "0.9", '"0.9"')
    write_record(project)
    write_pipeline(project)
    with pytest.raises(UserError, match=r"metrics\.json: accuracy is no number"):
        verify_folder(project, project, "commit 1")


@pytest.mark.parametrize("path", ["../x", "/etc", "data/../../x", ".git/config", 3, "a\nb"])
def test_a_lock_file_with_a_path_outside_the_project_is_refused(project, path):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    lock["stages"]["train"]["outs"][0]["path"] = path
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(UserError, match=r"dvc\.lock is no lock file"):
        read_lock(project)


def test_a_value_of_another_type_is_another_value(project):
    change(project / "params.yaml", "3", "3.0")
    assert "train.epochs is 3.0, dvc.lock has 3" in next(contradictions(project)).what


def test_a_name_with_control_characters_is_shown_in_one_line(project):
    (project / "data/vocab/a\nerror: b\x1b[31m").write_text("")
    (found,) = differing_outputs(project, output_files(project))
    assert found.what.isprintable()


def rebuilt(project, stage=None, **environment):
    """The rows of all stages after one wrote other files, if any, in another environment."""
    committed, locked = read_record(project), read_lock(project)
    if stage:
        (project / OUTPUTS[stage][-1] / "table.csv").write_text("other")
    for path in project.glob("data/*/*.json"):
        text = path.read_text()
        for name, value in environment.items():
            text = text.replace(f'"{name}": {json.dumps(MACHINE[name])}', f'"{name}": "{value}"')
        path.write_text(text)
    return {
        row.stage: row
        for row in compare_stages(committed, make_record(project, output_files(project)), locked)
    }


def test_other_files_from_the_same_inputs_in_the_same_environment_are_different(project):
    row = rebuilt(project, "train")["train"]
    assert row.result == "different"
    assert "data/model/table.csv: from the same inputs, in the same environment" in row.reason


def test_other_files_of_another_environment_are_explained_by_it(project):
    rows = rebuilt(project, "train", blas="openblas 1 Zen", threads=1)
    assert rows["train"].result == "within tolerance"
    assert "blas openblas 1 Haswell → openblas 1 Zen; threads 2 → 1" in rows["train"].reason
    assert rows["tokenize"].result == "equal"


def test_a_file_that_only_names_the_environment_is_equal(project):
    rows = rebuilt(project, "report", blas="openblas 1 Zen")
    assert rows["baseline"].result == "equal"
    assert "names another environment: blas" in rows["baseline"].reason


def test_a_report_that_shows_another_environment_is_equal(project):
    page = project / "data/report/report.html"
    page.write_text("openblas 1 Haswell")
    write_record(project)
    page.write_text("openblas 1 Zen")
    rows = rebuilt(project, blas="openblas 1 Zen")
    assert {row.result for row in rows.values()} == {"equal"}
    assert "report.html names another environment: blas" in rows["report"].reason


def test_a_stage_with_another_input_is_explained_by_it(project):
    (project / "data/word_vectors/environment.json").write_text(json.dumps(MACHINE))
    write_record(project)
    write_pipeline(project)
    (project / "data/pretrained/table.csv").write_text("other")
    rows = rebuilt(project, "word_vectors", blas="openblas 1 Zen")
    assert rows["word_vectors"].result == "within tolerance"
    assert "its input data/word_vectors differs" in rows["pretrain"].reason


def test_other_texts_are_different_whatever_the_environment(project):
    change(project / "data/raw/dataset.json", '"1"', '"3"')
    rows = rebuilt(project, "download", python="3.13")
    assert rows["download"].result == "different"
    assert "other texts or labels" in rows["download"].reason


def test_a_kernel_does_not_explain_other_texts(project):
    assert rebuilt(project, "tokenize", blas="openblas 1 Zen")["tokenize"].result == "different"


TEXTS = {"": 2472, "sentences": 883}


def metric(name, committed, rebuilt, *, are_files_equal=False):
    values = ({name: value} if value is not None else {} for value in (committed, rebuilt))
    (row,) = compare_metrics(*values, TEXTS, are_files_equal=are_files_equal)
    return row


def test_a_model_that_is_half_a_point_worse_is_different():
    assert metric("accuracy", 0.914, 0.909).result == "different"
    assert metric("accuracy", 0.914, 0.9115).result == "within tolerance"


def test_few_texts_have_a_wider_tolerance():
    assert metric("sentences_accuracy", 0.79, 0.784).result == "within tolerance"
    assert metric("sentences_accuracy", 0.79, 0.781).result == "different"


@pytest.mark.parametrize("rebuilt", [None, float("nan"), float("inf")])
def test_a_metric_that_is_missing_or_no_number_is_different(rebuilt):
    assert metric("accuracy", 0.9, rebuilt).result == "different"


def test_equal_files_allow_no_other_metric():
    row = metric("log_loss", 0.2, 0.200001, are_files_equal=True)
    assert (row.tolerance, row.result) == (0, "different")


def test_every_tolerance_is_smaller_than_half_a_point_of_accuracy():
    assert TOLERANCES["accuracy"] < 0.005
    assert all(0 < value < 0.01 for value in TOLERANCES.values())


def test_a_different_metric_alone_is_not_verified():
    row = MetricRow("accuracy", 0.9, 0.8, 0.004)
    found = Verification("commit 1", [], metrics=[row])
    assert not found.holds
    assert "different         0.8000, committed 0.9000 ± 0.0040" in "\n".join(found.lines())


def test_an_earlier_record_stays_if_the_disk_is_full(project, monkeypatch):
    def write_half(path, value):
        path.write_text(json.dumps(value)[:100])
        raise OSError(28, "No space left on device", str(path))

    earlier = (project / "record.json").read_bytes()
    monkeypatch.setattr("sentiformer.verification.record.write_json", write_half)
    with pytest.raises(OSError, match="No space"):
        write_record(project)
    assert (project / "record.json").read_bytes() == earlier
    assert not list((project / "data").glob(".*.partial"))
