"""What Git says; a command that fails says nothing."""

import subprocess

import pytest

from sentiformer.core.git import git, last_commit, line, names


@pytest.mark.parametrize(
    ("command", "printed"),
    [(["var", "GIT_AUTHOR_IDENT"], True), (["rev-parse", "none"], False), (["no-such"], False)],
)
def test_the_output_of_a_command_that_fails_is_empty(tmp_path, monkeypatch, command, printed):
    for person in ("NAME", "EMAIL"):
        monkeypatch.setenv(f"GIT_AUTHOR_{person}", "test")
    assert bool(line(tmp_path, *command)) is printed
    assert (git(tmp_path, *command) is None) is not printed


def test_without_git_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git(tmp_path, "--version") is None
    assert line(tmp_path, "--version") == last_commit(tmp_path) == ""


def test_names_may_have_line_breaks_and_other_bytes():
    assert names(b"a\nb\0\xff\0") == ["a\nb", "\udcff"]
    assert names(None) == []


def test_a_commit_that_lacks_the_project_is_none_of_it(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    person = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    commit = ["git", "-C", str(tmp_path), *person, "commit", "-q", "--allow-empty", "-m", "a"]
    subprocess.run(commit, check=True)
    assert line(tmp_path, "rev-parse", "HEAD")
    assert last_commit(tmp_path) == ""
