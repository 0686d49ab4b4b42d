"""Hashes of files and folders are those that DVC writes into its lock file."""

import json

import pytest
from dvc.repo import Repo

from sentiformer.core.errors import UserError
from sentiformer.verification.lock import file_hashes, hash_of, read_lock


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's packages
def test_hashes_are_those_of_dvc(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvcignore").write_text("__pycache__\n")
    for name in ("out/b.txt", "out/a/z.txt", "out/a-1.txt", "out/é/语.txt", "one.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    Repo.init(str(tmp_path), no_scm=True)
    command = "mkdir -p out/__pycache__ && touch out/__pycache__/x.pyc"
    stage = {"cmd": command, "deps": ["one.txt"], "outs": [{"out": {"persist": True}}]}
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"write": stage}}))
    with Repo(str(tmp_path)) as repo:
        repo.reproduce()
    locked = read_lock(tmp_path)["write"]
    assert locked.command == command
    for path, digest in {**locked.deps, **locked.outs}.items():
        assert hash_of(file_hashes(tmp_path / path)) == digest


def test_nothing_has_no_hash(tmp_path):
    assert hash_of(file_hashes(tmp_path / "absent")) is None


@pytest.mark.parametrize("content", ["", "[]", "stages: 1", "stages: {a: {}}", "a: b: c", None])
def test_a_damaged_lock_file_is_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(UserError, match=r"dvc\.lock"):
        read_lock(tmp_path)
