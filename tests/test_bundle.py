"""Bundles: whole, of equal bytes, only of what is committed; hostile ones leave nothing outside."""

import bz2
import json
import os
import random
import shutil
import stat
import subprocess
import time
from hashlib import sha256
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from sentiformer import cli
from sentiformer.core.errors import UserError
from sentiformer.verification import bundle as bundle_module
from sentiformer.verification import sources, unbundle
from sentiformer.verification.bundle import MANIFEST, write_bundle
from sentiformer.verification.lock import LOCK, file_hashes, hash_of
from sentiformer.verification.unbundle import open_bundle

CODE = {
    ".gitignore": "/.venv/\n/out.zip\n__pycache__\n",
    "data/.gitignore": "*\n!.gitignore\n!/source/\n!/source/kept.json\n",
    "data/source/kept.json": "{}",
    "dvc.yaml": "stages: {}",
    "metrics.json": '{"accuracy": 0.9}',
    "params.yaml": "train: {seed: 1}",
    "pipeline/train.py": "print('é')",
    "run": "#!/bin/sh\n",
}
OUTPUTS = {"data/model/vocab.txt": "a\nb\n", "data/model/ngrams/words.txt": "c", "data/raw/t": "t"}
IGNORED = {".venv/pyvenv.cfg": "", "pipeline/__pycache__/train.pyc": "x", "data/notes.txt": "mine"}
PERSON = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def git(project, *arguments):
    command = ["git", "-C", str(project), *PERSON, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(project):
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "x")


def write_lock(project):
    def files(*paths):
        return [{"path": path, "md5": hash_of(file_hashes(project / path))} for path in paths]

    stages = {
        "download": {"cmd": "d", "outs": files("data/raw")},
        "train": {
            "cmd": "t",
            "deps": files("data/raw", "pipeline"),
            "outs": files("data/model", "metrics.json"),
        },
    }
    (project / LOCK).write_text(json.dumps({"stages": stages}))


@pytest.fixture
def project(tmp_path):
    """A committed project with outputs that are those of its lock file."""
    folder = tmp_path / "project"
    write(folder, {**CODE, **OUTPUTS, **IGNORED})
    (folder / "run").chmod(0o755)
    write_lock(folder)
    git(folder.parent, "init", "--quiet", folder.name)
    commit(folder)
    return folder


@pytest.fixture
def bundled(project, tmp_path):
    write_bundle(tmp_path / "out.zip", project)
    return tmp_path / "out.zip"


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_bundle_has_what_is_committed_and_the_outputs(project, bundled, tmp_path):
    opened = open_bundle(bundled, tmp_path / "opened")
    lock = {LOCK: (project / LOCK).read_text()}
    assert files_of(tmp_path / "opened") == {**CODE, **OUTPUTS, **lock}
    assert opened.commit == git(project, "rev-parse", "HEAD")
    assert opened.date == git(project, "show", "-s", "--format=%cI")
    assert opened.files.keys() == files_of(tmp_path / "opened").keys()
    train = opened.files["pipeline/train.py"]
    content = CODE["pipeline/train.py"].encode()
    assert (train.bytes, train.sha256) == (len(content), sha256(content).hexdigest())
    assert {path: output.left_out for path, output in opened.outputs.items()} == {
        "data/model": None,
        "data/raw": None,
        "metrics.json": None,
    }
    modes = {name: (tmp_path / "opened" / name).stat().st_mode & 0o111 for name in CODE}
    assert {name for name, mode in modes.items() if mode} == {"run"}


def test_the_same_commit_and_outputs_give_the_same_bytes(project, bundled, tmp_path):
    copy = shutil.copytree(project, tmp_path / "elsewhere")
    for path in copy.rglob("*"):
        os.utime(path, (time.time() + 100, 10**9))
    os.umask(old := os.umask(0o077))
    try:
        write_bundle(tmp_path / "again.zip", copy)
    finally:
        os.umask(old)
    assert (tmp_path / "again.zip").read_bytes() == bundled.read_bytes()
    assert b"elsewhere" not in bundled.read_bytes()
    infos = [info for info, _ in entries_of(bundled)]
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert [info.filename for info in infos[:-1]] == sorted(info.filename for info in infos[:-1])
    write(copy, {"params.yaml": "train: {seed: 2}"})
    commit(copy)
    write_bundle(tmp_path / "other.zip", copy)
    assert (tmp_path / "other.zip").read_bytes() != bundled.read_bytes()


def test_without_git_the_same_files_are_bundled(project, bundled, tmp_path):
    shutil.rmtree(project / ".git")
    written = write_bundle(tmp_path / "without.zip", project)
    assert written.commit is None
    assert written.date is None
    assert written.files == open_bundle(bundled, tmp_path / "opened").files


def test_a_project_in_a_larger_repository_is_bundled_alone(project, tmp_path):
    shutil.rmtree(project / ".git")
    write(tmp_path, {"secret.txt": "of the larger one"})
    git(tmp_path, "init", "--quiet")
    without = write_bundle(tmp_path / "untracked.zip", project)
    assert without.commit is None
    git(tmp_path, "add", "project", "secret.txt")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    written = write_bundle(tmp_path / "out.zip", project)
    assert written.commit == git(tmp_path, "rev-parse", "HEAD")
    assert written.files == without.files


def test_large_and_missing_outputs_are_left_out_and_named(project, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, "MOST_BYTES", 4)
    monkeypatch.chdir(project)
    shutil.rmtree(project / "data" / "raw")
    cli.main(["bundle", "out.zip"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"commit {git(project, 'rev-parse', 'HEAD')}: 9 files, ")
    assert lines[1:] == [
        "with no output of a stage",
        "without data/model (0.0 MB, more than 0 MB)",
        "without data/raw (not in this folder; `dvc pull` or `dvc repro` brings it)",
        "without metrics.json (0.0 MB, more than 0 MB)",
        "bundle → out.zip; next: sentiformer verify out.zip",
    ]
    assert "data/model/vocab.txt" not in open_bundle(project / "out.zip", tmp_path / "o").files


def refusal(path, project):
    """The one line of the error when a bundle cannot be written; nothing is left behind."""
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    with pytest.raises(UserError) as caught:
        write_bundle(path, project)
    line = str(caught.value)
    assert "\n" not in line
    assert before == (sorted(path.parent.iterdir()) if path.parent.is_dir() else [])
    return line


CHANGES = {
    "params.yaml": "not committed: params.yaml;",
    "pipeline/train.py": "not committed: pipeline/train.py;",
    "pipeline/new.py": "not committed: pipeline/new.py;",
    LOCK: "not committed: dvc.lock;",
    "data/model/vocab.txt": "data/model is not what dvc.lock says of stage train; `dvc repro",
    "data/raw/new.txt": "data/raw is not what dvc.lock says of stage download",
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_that_are_not_committed_or_not_locked_are_refused(project, tmp_path, name):
    with (project / name).open("a") as file:
        file.write(" ")
    assert CHANGES[name] in refusal(tmp_path / "out.zip", project)


def test_a_staged_change_is_not_committed(project, tmp_path):
    write(project, {"params.yaml": "train: {seed: 2}"})
    git(project, "add", "params.yaml")
    assert "not committed: params.yaml;" in refusal(tmp_path / "out.zip", project)


def test_code_that_did_not_make_the_outputs_is_refused(project, tmp_path):
    write(project, {"pipeline/train.py": "print(2)"})
    commit(project)
    assert "pipeline is not what dvc.lock says" in refusal(tmp_path / "out.zip", project)


def test_a_link_is_refused(project, tmp_path):
    (project / "link").symlink_to("/etc/passwd")
    commit(project)
    assert "a bundle cannot hold 'link'" in refusal(tmp_path / "out.zip", project)
    shutil.rmtree(project / ".git")
    assert "a bundle cannot hold 'link'" in refusal(tmp_path / "out.zip", project)


def test_places_where_no_bundle_can_be_written_or_made_are_refused(project, bundled, tmp_path):
    assert "out.zip exists; delete it" in refusal(bundled, project)
    assert "exists; delete it" in refusal(tmp_path, project)
    assert "is no folder; create it" in refusal(tmp_path / "none" / "out.zip", project)
    (tmp_path / "empty").mkdir()
    assert "run from the project's root" in refusal(tmp_path / "o.zip", tmp_path / "empty")
    git(project, "rm", "--quiet", "--cached", LOCK)
    git(project, "commit", "--quiet", "--message", "x")
    assert "not committed: dvc.lock" in refusal(tmp_path / "o.zip", project)
    (project / LOCK).unlink()
    assert "dvc.lock is missing; `dvc repro` writes it" in refusal(tmp_path / "o.zip", project)


def test_a_repository_without_a_commit_is_refused(project, tmp_path):
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet")
    assert "Git does not track dvc.yaml here" in refusal(tmp_path / "out.zip", project)
    git(project, "add", "--all")
    assert "there is no commit" in refusal(tmp_path / "out.zip", project)


def test_nothing_is_left_of_a_bundle_that_failed(project, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "_add", fail)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(tmp_path / "out.zip", project)
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


def entries_of(path):
    with ZipFile(path) as file:
        return [(info, file.read(info)) for info in file.infolist()]


def rewrite(path, change, **stated):
    """Replace entries of a bundle by what `change` makes of them, and values of `bundle.json`."""
    entries = {info.filename: (info, content) for info, content in entries_of(path)}
    about = json.loads(entries[MANIFEST][1])
    added = change(entries, about) or []
    about |= stated
    info, _ = entries.pop(MANIFEST, (ZipInfo(MANIFEST), b""))
    with ZipFile(path, "w") as file:
        for entry in [*entries.values(), *added, (info, json.dumps(about))]:
            file.writestr(*entry)


def add(name, *, content=b"x", mode=stat.S_IFREG | 0o644):
    """A change that adds a file, which `bundle.json` states correctly."""

    def change(entries, about):
        info = ZipInfo(name)
        info.external_attr = mode << 16
        about["files"][name] = {"bytes": len(content), "sha256": sha256(content).hexdigest()}
        return [(info, content)]

    return change


def another_content(entries, about):
    entries["run"] = (entries["run"][0], entries["run"][1][::-1])


def another_size(entries, about):
    entries["run"] = (entries["run"][0], b"0" * 10**6)


def another_method(entries, about):
    info, content = entries["run"]
    info.compress_type = ZIP_BZIP2
    assert bz2.compress(content)


def extra(entries, about):
    return [(ZipInfo("extra.py"), b"x")]


def lacking(entries, about):
    del entries["run"]


def twice(entries, about):
    return [entries["run"]]


def folder(entries, about):
    return [(ZipInfo("empty/"), b"")]


def larger(entries, about):
    about["files"]["run"]["bytes"] = 10**15


HOSTILE = {
    "../x": add("../x"),
    "/x": add("/x"),
    "a/../../x": add("a/../../x"),
    "a\\..\\x": add("a\\..\\x"),
    "./x": add("./x"),
    "a//x": add("a//x"),
    "a\nx": add("a\nx"),
    ".git/config": add(".git/config"),
    "sub/.GIT/hooks/x": add("sub/.GIT/hooks/x"),
    "run/x": add("run/x"),
    "link": add("link", content=b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
    "fifo": add("fifo", mode=stat.S_IFIFO | 0o644),
    "another content": another_content,
    "another size": another_size,
    "another method": another_method,
    "extra": extra,
    "lacking": lacking,
    "twice": twice,
    "folder": folder,
    "larger": larger,
}


def require_refused(path, folder):
    with pytest.raises(UserError) as caught:
        open_bundle(path, folder)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_bundle_is_refused_and_writes_nothing_outside(bundled, tmp_path, name):
    rewrite(bundled, HOSTILE[name])
    before = sorted(tmp_path.iterdir())
    assert str(bundled) in require_refused(bundled, tmp_path / "a" / "b")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "a"])
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize(
    "stated",
    [{"files": []}, {"commit": 3}, {"files": {"run": {"bytes": -1, "sha256": ""}}}, {"x": 1}],
)
def test_a_manifest_of_other_types_is_refused(bundled, tmp_path, stated):
    rewrite(bundled, lambda *_: None, **stated)
    assert MANIFEST in require_refused(bundled, tmp_path / "opened")


def test_a_bomb_is_refused_before_it_is_unpacked(bundled, tmp_path):
    content = b"0" * 50_000_000
    about = {"bytes": 10, "sha256": sha256(content).hexdigest()}
    with ZipFile(bundled, "w", ZIP_DEFLATED) as file:
        file.writestr("run", content)
        manifest = {"commit": None, "date": None, "files": {"run": about}, "outputs": {}}
        file.writestr(MANIFEST, json.dumps(manifest))
    assert "run is not as large as" in require_refused(bundled, tmp_path / "opened")
    damaged = bundled.read_bytes().replace(len(content).to_bytes(4, "little"), b"\x0a\0\0\0")
    bundled.write_bytes(damaged)  # now its list of files states 10 bytes, too
    assert "damaged" in require_refused(bundled, tmp_path / "opened")
    assert sum(path.stat().st_size for path in (tmp_path / "opened").rglob("*")) < 10_000


def test_a_bundle_that_is_larger_than_the_disk_is_refused(bundled, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(unbundle.shutil, "disk_usage", lambda _: usage)
    assert "and the disk of" in require_refused(bundled, tmp_path / "opened")


def test_what_is_no_bundle_is_refused(bundled, tmp_path):
    assert "is no file" in require_refused(tmp_path / "none.zip", tmp_path / "o")
    assert "is no file" in require_refused(tmp_path, tmp_path / "o")
    (tmp_path / "text.zip").write_text("text")
    assert "is no bundle, or is damaged" in require_refused(tmp_path / "text.zip", tmp_path / "o")
    with ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("x", "y")
    assert "it has no bundle.json" in require_refused(tmp_path / "other.zip", tmp_path / "o")
    assert "is not empty" in require_refused(bundled, tmp_path)


def test_damaged_bytes_are_refused_or_change_nothing(bundled, tmp_path):
    whole, expected = bundled.read_bytes(), files_of_bundle(bundled, tmp_path / "whole")
    draw, refused = random.Random(0), 0
    for number in range(80):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(whole))] = draw.randrange(256)
        bundled.write_bytes(damaged[: draw.choice([len(whole), draw.randrange(len(whole))])])
        try:
            found = files_of_bundle(bundled, tmp_path / str(number))
        except UserError:
            refused += 1
        else:
            assert found == expected
    assert refused > 40


def files_of_bundle(path, folder):
    open_bundle(path, folder)
    return files_of(folder)
