"""Atomic folders, JSON, tensor files, and hashes."""

import errno
import hashlib
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from sentiformer.core.errors import UserError
from sentiformer.core.files import (
    atomic_folder,
    corrupt,
    read_json,
    reading,
    sha256,
    write_json,
    write_tensors,
)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


LINK = "model is a link, a mounted disk or a file, not a folder; move it away"
LOCK = ".model.lock"


def test_a_folder_appears_only_at_the_end_of_its_block(tmp_path):
    path = tmp_path / "deep" / "model"
    with atomic_folder(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
        assert folder.parent == path.parent, "so that moving it is one rename"
    assert contents(path) == {"a": "1"}
    assert sorted(path.parent.iterdir()) == [path.with_name(LOCK), path]


def test_a_new_folder_replaces_the_old_one_completely(tmp_path):
    path = tmp_path / "model"
    (path / "sub").mkdir(parents=True)
    (path / "old").write_text("1")
    with atomic_folder(path) as folder:
        (folder / "new").write_text("2")
        assert (path / "old").read_text() == "1", "the old one stays until the block ends"
    assert contents(path) == {"new": "2"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_the_old_folder_and_nothing_else(tmp_path, error):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("1")

    def fail() -> None:
        with atomic_folder(path) as folder:
            (folder / "new").write_text("2")
            raise error

    with pytest.raises(error):
        fail()
    assert contents(path) == {"old": "1"}
    assert sorted(tmp_path.iterdir()) == [path.with_name(LOCK), path]


def test_a_missing_key_of_json_is_one_line(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, {"params": {"train": {"seed": 1}}})
    found = read_json(path, made_by="train")
    assert found == {"params": {"train": {"seed": 1}}}
    assert found.get("labels") is None
    for lacking in (lambda: found["labels"], lambda: found["params"]["train"]["labels"]):
        with pytest.raises(UserError) as caught:
            lacking()
        assert str(caught.value) == (
            f"{path} is corrupt (it lacks 'labels'); `dvc repro --force train` creates it again"
        )


def test_json_that_is_nested_too_deeply_is_one_line(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"config\.json is corrupt"):
        read_json(path, made_by="train")


def test_files_of_a_killed_run_are_deleted(tmp_path):
    path = tmp_path / "model"
    with atomic_folder(path) as folder:
        left = folder
    left.mkdir()
    (left / "half").write_text("1")
    with atomic_folder(path) as folder:
        assert folder == left
        assert contents(folder) == {}
    assert contents(path) == {}


def test_a_kill_between_the_two_renames_leaves_nothing_after_the_next_run(tmp_path):
    path, old = tmp_path / "model", tmp_path / ".model.old"
    old.mkdir()
    (old / "a").write_text("1")
    with atomic_folder(path) as folder:
        (folder / "a").write_text("2")
    assert contents(path) == {"a": "2"}
    assert sorted(tmp_path.iterdir()) == [path.with_name(LOCK), path]


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("elsewhere")])
def test_a_file_or_link_in_place_of_the_folder_is_refused_before_the_work(tmp_path, make):
    path = tmp_path / "model"
    make(path)
    with (
        pytest.raises(UserError, match=LINK),
        atomic_folder(path),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == [path]


def test_a_mounted_disk_in_place_of_the_folder_keeps_its_files(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == path)
    with pytest.raises(UserError, match="model is a link, a mounted disk"), atomic_folder(path):
        pass
    assert [file.name for file in path.iterdir()] == ["old"]


@pytest.mark.parametrize("path", ["/proc/x", "/proc/x/y"])
def test_a_place_where_nothing_can_be_made_is_no_other_process(path):
    with pytest.raises(OSError, match="'/proc/"), atomic_folder(Path(path)):
        pass


def test_a_second_process_that_writes_the_same_folder_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "model"
    with atomic_folder(path) as folder:
        (folder / "a").write_text("1")
        with pytest.raises(UserError, match=r"another process is writing .*model; wait"):
            atomic_folder(path).__enter__()
    assert contents(path) == {"a": "1"}
    with atomic_folder(path):
        pass
    assert contents(path) == {}


def test_a_folder_that_cannot_be_renamed_is_replaced(tmp_path, monkeypatch):
    path, replace = tmp_path / "model", Path.replace
    path.mkdir()
    (path / "a").write_text("1")

    def as_on_overlayfs(self, target):
        if self == path:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", as_on_overlayfs)
    with atomic_folder(path) as folder:
        (folder / "b").write_text("2")
    assert contents(path) == {"b": "2"}
    assert sorted(tmp_path.iterdir()) == [path.with_name(LOCK), path]


def test_the_old_folder_is_renamed_before_any_file_of_it_is_deleted(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "a").write_text("1")
    seen = []

    def rmtree(deleted, **_):
        if deleted.exists():
            seen.append((deleted, (path / "b").exists()))

    monkeypatch.setattr("shutil.rmtree", rmtree)
    with atomic_folder(path) as folder:
        (folder / "b").write_text("2")
    assert seen == [(tmp_path / ".model.old", True)]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_tensor_files_have_the_mode_of_the_umask_and_the_bytes_of_safetensors(
    tmp_path, umask, kind
):
    path, library = tmp_path / "x.safetensors", getattr(safetensors, kind)
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros(0)}
    if kind == "torch":
        tensors = {name: torch.from_numpy(array) for name, array in tensors.items()}
    before = os.umask(umask)
    try:
        write_tensors(path, tensors)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert path.read_bytes() == library.save(tensors)


def test_lack_of_memory_does_not_count_as_a_corrupt_file(tmp_path):
    path = tmp_path / "x"
    path.touch()
    with pytest.raises(RuntimeError, match="allocate"), reading(path, "train", RuntimeError):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def test_the_hash_of_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"x is missing; `dvc repro train` makes it"):
        sha256(tmp_path / "x", made_by="train")


def test_a_folder_in_place_of_a_file_does_not_count_as_corrupt(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        read_json(tmp_path, made_by="train")
    assert caught.value.filename == str(tmp_path)


def test_json_round_trips_readably(tmp_path):
    path, value = tmp_path / "x.json", {"b": [1, 2.5, None, "é😀"], "a": {"c": True, "d": None}}
    write_json(path, value)
    found = read_json(path, made_by="train")
    assert found == value
    with pytest.raises(UserError, match=r"x\.json is corrupt \(it lacks 'd'\)"):
        found["a"]["d"]
    assert "é😀" in path.read_text(encoding="utf-8")
    assert path.read_bytes().endswith(b"}\n")


def test_missing_json_names_the_stage_that_makes_it(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(UserError) as caught:
        read_json(path, made_by="train")
    fix = "`dvc repro train` makes it in the project's root"
    assert str(caught.value) == f"{path} is missing; {fix}"


@pytest.mark.parametrize(
    "content", [b"", b'{"a": 1', b"\xff\xfe", b"{}\n{}", b"{'a': 1}", b"[]", b"null", b"1"]
)
def test_corrupt_json_names_the_stage_that_creates_it_again(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, made_by="train")
    text = str(caught.value)
    assert text.startswith(f"{path} is corrupt (")
    assert text.endswith("); `dvc repro --force train` creates it again")
    assert "\n" not in text


def test_the_reason_of_a_corrupt_file_is_one_line_even_without_a_message(tmp_path):
    assert "(first)" in str(corrupt(tmp_path, "train", "first\nsecond"))
    assert "(ValueError)" in str(corrupt(tmp_path, "train", ValueError()))


def test_the_hash_is_the_sha256_of_the_bytes(tmp_path):
    path = tmp_path / "x"
    content = bytes(range(256)) * 5000
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()
