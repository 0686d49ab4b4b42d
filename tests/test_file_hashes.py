"""The hashes of the user's files, on which stage download depends."""

import hashlib
import os

import pytest
from conftest import tiny_params

from sentiformer.core.errors import UserError
from sentiformer.data.file_hashes import hash_files


def hashes(train: object, **changes: object) -> dict:
    params = {"source": "files", "train": str(train), **changes}
    return hash_files(tiny_params(download=params).download)


@pytest.fixture
def folder(tmp_path):
    """Two files of train and one of test."""
    for name in ("train-0.csv", "train-1.csv", "test.csv"):
        (tmp_path / name).write_text(f"text,label\n{name},0\n")
    return tmp_path


def test_each_file_of_each_split_has_its_name_size_and_hash(folder):
    found = hashes(folder)
    names = {split: [file["name"] for file in files] for split, files in found.items()}
    assert names == {"train": ["train-0.csv", "train-1.csv"], "test": ["test.csv"]}
    content = (folder / "test.csv").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert found["test"] == [{"name": "test.csv", "bytes": len(content), "sha256": sha256}]


def test_a_changed_a_new_and_a_removed_file_change_the_hashes(folder):
    found = [hashes(f"{folder}/train-*.csv")]
    (folder / "train-0.csv").write_text("text,label\nTRAIN-0.csv,0\n")
    found.append(hashes(f"{folder}/train-*.csv"))
    (folder / "train-2.csv").write_text("text,label\na,0\n")
    found.append(hashes(f"{folder}/train-*.csv"))
    (folder / "train-1.csv").unlink()
    found.append(hashes(f"{folder}/train-*.csv"))
    assert all(a != b for number, a in enumerate(found) for b in found[:number])


def test_the_hashes_do_not_depend_on_the_working_directory(folder, tmp_path, monkeypatch):
    """DVC runs an experiment in a copy of the project, which lacks files that Git ignores."""
    copy = tmp_path / "copy"
    copy.mkdir()
    monkeypatch.chdir(folder)
    expected = hashes("train-*.csv")
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.chdir(copy)
    assert hashes("train-*.csv") == expected


def test_a_link_has_the_hash_of_the_file_that_it_points_to(folder):
    (folder / "link.csv").symlink_to(folder / "train-0.csv")
    (linked,), (file,) = (hashes(folder / name)["train"] for name in ("link.csv", "train-0.csv"))
    assert linked == file | {"name": "link.csv"}


@pytest.mark.parametrize("name", ["folder.csv", "dangling.csv", "pipe.csv"])
def test_what_is_no_file_is_named(folder, name):
    (folder / "folder.csv").mkdir()
    (folder / "dangling.csv").symlink_to("missing")
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(UserError, match=rf"{name} is not a file; check the path"):
        hashes(f"{folder}/[{name[0]}t]*.csv")


@pytest.mark.parametrize("source", ["bundled", "hub"])
def test_other_sources_have_no_files(source):
    assert hash_files(tiny_params(download={"source": source}).download) == {}
