"""Folders that appear whole or not at all, JSON, and hashes."""

import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json, reading, sha256, whole_folder, write_json


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


LINK = "model is a link, a mounted disk or a file where a folder is to be; move"


def test_a_folder_appears_only_when_its_block_ends(tmp_path):
    path = tmp_path / "deep" / "model"
    with whole_folder(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
        assert folder.parent == path.parent, "so that moving it is one rename"
    assert contents(path) == {"a": "1"}
    assert list(path.parent.iterdir()) == [path]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "model"
    (path / "sub").mkdir(parents=True)
    (path / "old").write_text("1")
    with whole_folder(path) as folder:
        (folder / "new").write_text("2")
        assert (path / "old").read_text() == "1", "the old one stays until the block ends"
    assert contents(path) == {"new": "2"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_the_old_folder_and_nothing_else(tmp_path, error):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("1")

    def fail() -> None:
        with whole_folder(path) as folder:
            (folder / "new").write_text("2")
            raise error

    with pytest.raises(error):
        fail()
    assert contents(path) == {"old": "1"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_json_lacks_is_one_line(tmp_path):
    path = tmp_path / "config.json"
    write_json(path, {"params": {"train": {"seed": 1}}})
    found = read_json(path, made_by="train")
    assert found == {"params": {"train": {"seed": 1}}}
    assert found.get("labels") is None
    for lacking in (lambda: found["labels"], lambda: found["params"]["train"]["labels"]):
        with pytest.raises(UserError) as caught:
            lacking()
        assert str(caught.value) == (
            f"{path} is corrupt (it lacks 'labels'); `dvc repro --force train` makes it anew"
        )


def test_what_a_killed_run_left_is_cleared(tmp_path):
    path = tmp_path / "model"
    with whole_folder(path) as folder:
        left = folder
    left.mkdir()
    (left / "half").write_text("1")
    with whole_folder(path) as folder:
        assert folder == left
        assert contents(folder) == {}
    assert contents(path) == {}


def test_a_kill_between_the_two_moves_leaves_nothing_after_the_next_run(tmp_path):
    path, old = tmp_path / "model", tmp_path / ".model.old"
    old.mkdir()
    (old / "a").write_text("1")
    with whole_folder(path) as folder:
        (folder / "a").write_text("2")
    assert contents(path) == {"a": "2"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("elsewhere")])
def test_a_file_or_link_where_the_folder_is_to_be_is_refused_before_the_work(tmp_path, make):
    path = tmp_path / "model"
    make(path)
    with (
        pytest.raises(UserError, match=LINK),
        whole_folder(path),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == [path]


def test_a_mounted_disk_in_place_of_the_folder_keeps_what_it_holds(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == path)
    with pytest.raises(UserError, match="model is a link, a mounted disk"), whole_folder(path):
        pass
    assert [of.name for of in path.iterdir()] == ["old"]


def test_of_two_that_write_a_folder_at_once_the_second_is_refused_and_disturbs_nothing(tmp_path):
    path = tmp_path / "model"
    with whole_folder(path) as folder:
        (folder / "a").write_text("1")
        with pytest.raises(UserError, match=r"another process is writing .*model; wait"):
            whole_folder(path).__enter__()
    assert contents(path) == {"a": "1"}
    with whole_folder(path):
        pass
    assert contents(path) == {}


def test_a_folder_that_cannot_be_moved_is_replaced_all_the_same(tmp_path, monkeypatch):
    path, replace = tmp_path / "model", Path.replace
    path.mkdir()
    (path / "a").write_text("1")

    def as_on_overlayfs(self, target):
        if self == path:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", as_on_overlayfs)
    with whole_folder(path) as folder:
        (folder / "b").write_text("2")
    assert contents(path) == {"b": "2"}
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_folder_is_moved_aside_before_anything_of_it_is_deleted(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "a").write_text("1")
    seen = []
    monkeypatch.setattr("shutil.rmtree", lambda of, **_: seen.append((of, (path / "b").exists())))
    with whole_folder(path) as folder:
        (folder / "b").write_text("2")
    assert seen == [(tmp_path / ".model.old", True)]


def test_one_that_comes_when_the_other_has_just_ended_is_refused(tmp_path, monkeypatch):
    path, flock = tmp_path / "model", fcntl.flock

    def late(handle, how):
        (tmp_path / ".model.partial").rename(path)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(UserError, match="another process is writing"):
        whole_folder(path).__enter__()


def test_one_that_comes_a_moment_earlier_is_refused_too(tmp_path, monkeypatch):
    path, opened = tmp_path / "model", os.open

    def late(folder, *how):
        if folder == tmp_path / ".model.partial":
            folder.rename(path)
        return opened(folder, *how)

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(UserError, match="another process is writing"):
        whole_folder(path).__enter__()


def test_lack_of_memory_is_no_corrupt_file(tmp_path):
    path = tmp_path / "x"
    path.touch()
    with pytest.raises(RuntimeError, match="allocate"), reading(path, "train", RuntimeError):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def test_a_file_that_is_missing_has_no_hash(tmp_path):
    with pytest.raises(UserError, match=r"x is missing; `dvc repro train` makes it"):
        sha256(tmp_path / "x", made_by="train")


def test_a_folder_or_a_file_that_may_not_be_read_is_not_called_corrupt(tmp_path):
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
def test_corrupt_json_says_how_to_make_it_anew(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, made_by="train")
    text = str(caught.value)
    assert text.startswith(f"{path} is corrupt (")
    assert text.endswith("); `dvc repro --force train` makes it anew")
    assert "\n" not in text


def test_the_reason_of_a_corrupt_file_is_one_line_even_without_a_text(tmp_path):
    assert "(first)" in str(corrupt(tmp_path, "train", "first\nsecond"))
    assert "(ValueError)" in str(corrupt(tmp_path, "train", ValueError()))


def test_a_hash_names_the_bytes_of_a_file(tmp_path):
    path = tmp_path / "x"
    content = bytes(range(256)) * 5000
    path.write_bytes(content)
    assert sha256(path) == hashlib.sha256(content).hexdigest()
