"""What made a model: found in its files, in Git and in dvc.lock, and unknown where it is not."""

import json
import shutil
import subprocess

import pytest

from sentiformer import cli
from sentiformer.console.tree import tree
from sentiformer.core.errors import CONTROL_CHARACTERS, UserError
from sentiformer.core.files import sha256, write_json
from sentiformer.core.seal import SEAL, seal
from sentiformer.verification.lineage import as_tree, lineage
from sentiformer.verification.lock import LOCK, file_hashes, hash_of

CONFIG = {
    "training_key": "key",
    "stage": "train",
    "params": {"train": {"seed": 7, "epochs": 3}, "teach": {"by": None}},
    "data": {
        "origin": {"name": "films", "licence": "MIT"},
        "splits": {"train": {"rows": 1234, "fingerprint": "abc"}},
    },
    "environment": {"processor": "A", "threads": 2, "blas": "x 0.3", "torch": "2.13.0+cpu"},
    "made_from": {"vocab/vocab.txt": "a" * 64},
}


def no_run(weights, key):
    return None


def write_model(folder, **changes):
    """Write a folder that is like one of stage train; returns it."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    change_config(folder, **changes)
    return folder


def change_config(folder, **changes):
    write_json(folder / "config.json", {**CONFIG, **changes})
    seal(folder)


def hash_in_lock(folder):
    return hash_of(file_hashes(folder))


def write_lock(project, **hashes):
    """Write a lock file whose stage train wrote the hash `model` from `vocab`."""
    hashes = {"raw": "r", "vocab": "v", **hashes}

    def files(*names):
        return [{"path": f"data/{name}", "md5": hashes[name]} for name in names]

    stages = {
        "train": {"cmd": "t", "deps": files("vocab"), "outs": files("model")},
        "other": {"cmd": "o", "outs": [{"path": "data/other", "md5": "o"}]},
        "vocab": {"cmd": "v", "deps": files("raw"), "outs": files("vocab")},
        "raw": {"cmd": "r", "outs": [{"path": "data/raw", "md5": hashes.get("raw_now", "r")}]},
    }
    (project / LOCK).write_text(json.dumps({"stages": stages}))


def git(project, *arguments):
    person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    command = ["git", "-C", str(project), *person, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(project, **hashes):
    """Commit a lock file; returns the id of the commit."""
    write_lock(project, **hashes)
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "x")
    return git(project, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in Git, without a commit, with a model; the working directory."""
    folder = tmp_path / "a project"
    write_model(folder / "data" / "model")
    (folder / "dvc.yaml").write_text("stages: {}")
    (folder / ".gitignore").write_text("data\n")
    git(folder, "init", "--quiet")
    monkeypatch.chdir(folder)
    return folder


def test_the_newest_commit_that_names_the_folder_is_found(project):
    model = hash_in_lock(project / "data" / "model")
    commit(project, model=model)
    wanted = commit(project, model=model, vocab="w")
    commit(project, model="other")
    facts = lineage(project / "data" / "model", no_run)
    assert facts["commit"]["id"] == wanted
    assert facts["commit"]["date"] == git(project, "show", "-s", "--format=%cI", wanted)
    assert facts["recorded_md5"] == model
    assert [stage["stage"] for stage in facts["stages"]] == ["raw", "vocab", "train"]
    assert facts["stages"][-1] == {
        "stage": "train",
        "deps": {"data/vocab": "w"},
        "outs": {"data/model": model},
    }


def test_commit_of_another_branch_is_found_after_those_of_this_one(project):
    model = hash_in_lock(project / "data" / "model")
    commit(project, model="other")
    git(project, "checkout", "--quiet", "-b", "side")
    wanted = commit(project, model=model)
    git(project, "checkout", "--quiet", "-")
    assert lineage(project / "data" / "model", no_run)["commit"]["id"] == wanted
    wanted = commit(project, model=model)
    git(project, "checkout", "--quiet", "side")
    git(project, "commit", "--quiet", "--allow-empty", "--message", "newer")
    git(project, "checkout", "--quiet", "-")
    assert lineage(project / "data" / "model", no_run)["commit"]["id"] == wanted


def test_a_project_in_a_larger_repository_is_found(project):
    inner = project / "inner"
    model = write_model(inner / "data" / "model")
    (inner / "dvc.yaml").write_text("stages: {}")
    commit(project, model="outer")
    wanted = commit(inner, model=hash_in_lock(model))
    assert lineage(model, no_run)["commit"]["id"] == wanted


def test_inputs_that_are_not_what_their_stage_wrote_are_named(project):
    commit(project, model=hash_in_lock(project / "data" / "model"), raw="r", raw_now="another")
    facts = lineage(project / "data" / "model", no_run)
    assert [stage["stage"] for stage in facts["stages"]] == ["vocab", "train"]
    assert facts["stages"][0]["unmatched"] == ["data/raw"]
    lines = [line for line in as_tree("m", facts) if "data/raw" in line]
    assert lines[0].endswith("data/raw: r, unlike the output in this dvc.lock")


def test_a_lock_file_that_is_not_committed_is_said(project):
    commit(project, model="other")
    write_lock(project, model=hash_in_lock(project / "data" / "model"))
    facts = lineage(project / "data" / "model", no_run)
    assert facts["commit"] is None
    assert "it is not committed" in facts["unknown"]["commit"]
    assert facts["stages"][-1]["stage"] == "train"


@pytest.mark.parametrize("lock", [True, False])
def test_without_git_only_the_lock_file_is_known(project, lock):
    shutil.rmtree(project / ".git")
    if lock:
        write_lock(project, model=hash_in_lock(project / "data" / "model"))
    facts = lineage(project / "data" / "model", no_run)
    assert facts["commit"] is None
    assert "Git has no dvc.lock" in facts["unknown"]["commit"]
    assert bool(facts["stages"]) is lock
    assert any("a" * 64 in line for line in as_tree("m", facts)) is not lock


def test_outside_of_a_project_the_files_say_what_they_know(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    folder = write_model(tmp_path / "model")
    cli.main(["lineage", str(folder), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["weights_sha256"] == sha256(folder / "model.safetensors")
    assert facts["files_sha256"].keys() == {"config.json", "model.safetensors"}
    assert facts["parameters"]["changed"] == {"train.seed": 7}
    assert facts["parameters"]["unchanged"] == {"train.epochs": 3, "teach.by": None}
    assert facts["data"] == CONFIG["data"]
    assert facts["versions"] == {"torch": "2.13.0+cpu"}
    assert facts["machine"] == {"processor": "A", "threads": 2, "blas": "x 0.3"}
    assert facts["made_from_sha256"] == CONFIG["made_from"]
    assert facts["commit"] is facts["stages"] is facts["run"] is None
    assert facts["unknown"].keys() == {"commit", "run"}
    assert not (tmp_path / "mlflow.db").exists()
    cli.main(["lineage", str(folder)])
    shown = capsys.readouterr().out
    assert "train.seed: 7\n" in shown
    assert "train: 1,234 texts, fingerprint abc\n" in shown
    assert "commit: unknown: neither the model nor the working directory is in a pro" in shown


def test_a_model_with_a_card_is_the_folder_that_was_committed(project, tmp_path):
    wanted = commit(project, model=hash_in_lock(project / "data" / "model"))
    published = shutil.copytree(project / "data" / "model", tmp_path / "published")
    (published / "README.md").write_text("a card")
    facts = lineage(published, no_run)
    assert facts["commit"]["id"] == wanted
    assert "names" not in facts["commit"]


def test_a_model_with_other_files_is_found_by_its_weights_in_the_cache(project, tmp_path):
    hashes = file_hashes(project / "data" / "model")
    model = hash_of(hashes)
    wanted = commit(project, model=model)
    published = shutil.copytree(project / "data" / "model", tmp_path / "published")
    change_config(published, params={})
    assert lineage(published, no_run)["commit"] is None
    listed = [{"md5": hashes[name], "relpath": name} for name in sorted(hashes)]
    cache = project / ".dvc" / "cache" / "files" / "md5" / model[:2]
    cache.mkdir(parents=True)
    (cache / model[2:]).write_text(json.dumps(listed))
    found = lineage(published, no_run)["commit"]
    assert found["id"] == wanted
    assert found["names"] == "a folder with the same weights and other files"


def test_an_exported_model_is_found_by_the_weights_it_was_made_from(tmp_path):
    folder = write_model(tmp_path / "m", stage="export", made_from={"model.safetensors": "b" * 64})
    (folder / "model.safetensors").rename(folder / "model.onnx")
    seal(folder)
    facts = lineage(folder, lambda weights, key: {"id": f"{weights} {key}"})
    assert facts["weights_sha256"] == "b" * 64
    assert facts["run"] == {"id": f"{'b' * 64} key"}
    assert any("weights before the export" in line for line in as_tree("m", facts))


def refusal(folder):
    """The one line of the error when a folder has no lineage."""
    with pytest.raises(UserError) as caught:
        lineage(folder, no_run)
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


def test_a_folder_without_a_whole_model_is_one_line(tmp_path):
    folder = write_model(tmp_path / "changed")
    (folder / "model.safetensors").write_bytes(b"Weights")
    assert "its SHA-256 is not that of files.json" in refusal(folder)
    folder = write_model(tmp_path / "unsealed weights")
    write_json(folder / SEAL, {"config.json": sha256(folder / "config.json")})
    assert "files.json does not name it" in refusal(folder)
    folder = write_model(tmp_path / "without a seal")
    (folder / SEAL).unlink()
    assert "files.json is missing" in refusal(folder)
    (tmp_path / "none").mkdir()
    about = {"stage": "finetune", "params": {"encoder": {"name": None}}}
    write_json(tmp_path / "none" / "config.json", about)
    assert 'stage finetune makes none with {"encoder": {"name": null}}' in refusal(
        tmp_path / "none"
    )
    write_json(tmp_path / "none" / "config.json", {"hidden_size": 3})
    assert "is not of this project" in refusal(tmp_path / "none")


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {"train": 3}},
        {"data": []},
        {"data": {"origin": {}, "splits": {"train": {"rows": "many", "fingerprint": "a"}}}},
        {"made_from": {"model.safetensors": "' OR 1"}},
        {"environment": None},
        {"stage": ["train"]},
    ],
)
def test_a_config_with_other_types_is_one_line(tmp_path, changes):
    assert "config.json" in refusal(write_model(tmp_path / "m", **changes))


def test_hostile_text_stays_in_its_line(tmp_path):
    origin = {"name": "a\nb\x1b[2J", "x\ny": "\u202e"}
    data = {"origin": origin, "splits": {"s\n": {"rows": 1, "fingerprint": "\x07"}}}
    facts = lineage(write_model(tmp_path / "m", data=data, environment={"\n": "\n"}), no_run)
    lines = list(as_tree("m\n", facts))
    assert not any(CONTROL_CHARACTERS.search(line) or "\n" in line for line in lines)


def test_tree_shows_nested_unknown_and_missing_facts():
    facts = {"a": {"b": 1, "c": {"d": None}}, "e": {}, "f": ""}
    assert list(tree(facts)) == [
        "├─ a",
        "│  ├─ b: 1",
        "│  └─ c",
        "│     └─ d: unknown",
        "├─ e: none",
        "└─ f",
    ]


def test_runs_that_cannot_be_searched_are_unknown(tmp_path):
    def fail(weights, key):
        raise UserError("the server is down")

    facts = lineage(write_model(tmp_path / "m"), fail)
    assert facts["run"] is None
    assert facts["unknown"]["run"] == "the server is down"
