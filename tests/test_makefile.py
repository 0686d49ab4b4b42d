"""The set-ups of the Makefile, with a fake `dvc` that prints its arguments."""

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

IDENTITY = "-c", "user.name=A", "-c", "user.email=a@example.org"


@pytest.fixture
def project(tmp_path):
    """A repository with an up-to-date environment; returns a function that runs a command there."""
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    (environment / "bin" / "dvc").write_text('#!/bin/sh\ncat params.yaml; echo "$@"\n')
    (environment / "bin" / "dvc").chmod(0o755)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    (environment / ".installed").write_text(f"{tmp_path}\n")
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "params.yaml").write_text("committed\n")
    (tmp_path / "setups").mkdir()
    (tmp_path / "setups" / "quick").write_text("model.num_layers=2\ntrain.epochs=1\n")

    def run(*command: str) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    run("git", "init", "--quiet")
    run("git", "add", "params.yaml")
    run("git", *IDENTITY, "commit", "--quiet", "--message", "first")
    return run


def test_a_set_up_is_an_experiment_of_its_lines_and_what_is_set(project):
    said = project("make", "quick", "SET=train.seed=2").splitlines()
    options = "-S model.num_layers=2 -S train.epochs=1 -S train.seed=2"
    assert said[-2:] == ["committed", f"exp run --force --name quick {options}"]


def test_a_set_up_begins_at_the_last_commit_whatever_an_experiment_left(project, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("left by another\n")
    project("git", "add", "params.yaml")  # as DVC leaves it
    said = project("make", "quick").splitlines()
    assert said[0].startswith("params.yaml is that of the last commit; git stash pop")
    assert said[-2] == "committed"
    project("git", "stash", "pop", "--quiet")
    assert params.read_text() == "left by another\n", "nothing is lost"


def test_own_data_is_named_with_its_columns_before_the_stages_run(project, tmp_path):
    command = tmp_path / ".venv" / "bin" / "sentiformer"
    command.write_text('#!/bin/sh\nprintf "<%s>" "$@"; echo\n')
    command.chmod(0o755)
    said = project("make", "own", "FILE=my 'own' file.csv", "LABEL=a $$ b", "SPACY=de").splitlines()
    assert said[0] == "<use><my 'own' file.csv><--label><a $ b><--language><de>"
    assert "repro" in said


def test_a_lock_file_that_a_kill_cut_off_is_restored_before_the_stages_run(project, tmp_path):
    python = tmp_path / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    lock, files = tmp_path / "dvc.lock", tmp_path / "data" / "source" / "dvc.lock"
    files.parent.mkdir(parents=True)
    whole = "schema: '2.0'\nstages:\n  train:\n    cmd: python -m pipeline.train\n"
    lock.write_text(whole)
    project("git", "add", "dvc.lock")
    project("git", *IDENTITY, "commit", "--quiet", "--message", "lock")
    for cut in ("", whole[:20], whole[:40], "stages: {"):
        lock.write_text(cut)
        files.write_text(cut)
        said = project("make")
        assert said.count("was incomplete") == 2
        assert lock.read_text() == whole
        assert not files.exists()
        assert "repro" in said
    changed = whole.replace("train", "teach")
    lock.write_text(changed)
    assert "incomplete" not in project("make")
    assert lock.read_text() == changed, "a whole lock file is left alone"
