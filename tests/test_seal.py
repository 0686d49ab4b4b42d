"""Sealed folders: a stage refuses what an earlier stage has not written."""

import json
import os
import shutil

import pytest
import yaml
from conftest import ROOT

from sentiformer.core.errors import UserError
from sentiformer.core.seal import require_sealed, seal, sealed_folder
from sentiformer.stage import stage


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "data" / "tokens"
    with sealed_folder(path) as written:
        (written / "types.txt").write_text("a\n")
        (written / "train.arrow").write_bytes(b"0123456789")
        (written / "test.arrow").write_bytes(b"abcdefghij")
        (written / "inside").mkdir()
        (written / "inside" / "x.json").write_text("{}")
    return path


def refusal(folder):
    with pytest.raises(UserError) as caught:
        require_sealed(folder, made_by="tokenize")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_seal_names_all_files(folder):
    require_sealed(folder, made_by="tokenize")
    names = {"types.txt", "train.arrow", "test.arrow", "inside/x.json"}
    assert json.loads((folder / "files.json").read_text()).keys() == names


def test_a_block_that_fails_leaves_the_sealed_folder(folder):
    with pytest.raises(ValueError, match="stop"), sealed_folder(folder):
        raise ValueError("stop")
    require_sealed(folder, made_by="tokenize")


def flip(path):
    times = path.stat()
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def swap(path):
    other = path.with_name("test.arrow")
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


CHANGES = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:5] + b"\0" * 5),
    "a bit, and the old time": flip,
    "two splits swapped": swap,
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_named_with_the_fix(folder, change):
    CHANGES[change](folder / "train.arrow")
    line = refusal(folder)
    assert "tokens/t" in line
    assert ".arrow is " in line
    assert "`dvc repro " in line


def test_a_file_that_the_seal_does_not_name_is_refused_but_not_a_card_or_a_sealed_folder(folder):
    seal(folder)
    (folder / "README.md").touch()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").touch()
    with sealed_folder(folder / "ngrams") as written:
        (written / "words.txt").write_text("a\n")
    require_sealed(folder, made_by="tokenize")
    (folder / "validation.arrow").touch()
    assert "validation.arrow is corrupt (files.json does not name it)" in refusal(folder)


@pytest.mark.parametrize("digest", ["", 1, None, [], "0" * 63, {"a": "b"}])
def test_another_json_file_is_no_seal(folder, digest):
    (folder / "files.json").write_text(json.dumps({"types.txt": digest}))
    assert "files.json is corrupt (" in refusal(folder)


def test_a_stage_that_is_run_alone_checks_the_folders_of_earlier_stages(folder, monkeypatch):
    shutil.copyfile(ROOT / "params.yaml", folder.parents[1] / "params.yaml")
    stages = {
        "tokenize": {"outs": ["data/tokens"]},
        "test_seal": {"deps": ["data/tokens", "src"], "outs": [{"x.json": {"cache": False}}]},
    }
    (folder.parents[1] / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    monkeypatch.chdir(folder.parents[1])
    ran = []
    run = stage(lambda params, runtime: ran.append(params))
    run()
    assert len(ran) == 1
    flip(folder / "train.arrow")
    with pytest.raises(SystemExit, match=r"error: data/tokens/train\.arrow is corrupt"):
        run()
    assert len(ran) == 1
