"""The library `datasets` against a Hub on loopback: the splits that it loads, and each error."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from conftest import ROOT, made_up_reviews, tiny_params, write_package
from hub_server import CUT, Hub, serve
from huggingface_hub import constants

from sentiformer.core.errors import UserError
from sentiformer.core.files import atomic_folder
from sentiformer.data.download import download
from sentiformer.data.hub import _class_name, _class_names
from sentiformer.data.params import split_hub_name
from sentiformer.data.tables import text_hash

NAME = "stanfordnlp/imdb"
REVISION = tiny_params().download.hub_revision
TRAIN = "plain_text/train-00000-of-00001.parquet"
README = """---
configs:
- config_name: plain_text
  data_files:
{files}
  default: true
dataset_info:
  config_name: plain_text
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': neg
          '1': pos
---
"""


def dataset_files(**splits: pd.DataFrame) -> dict[str, bytes]:
    """The files of a data set of the Hub with these splits."""
    lines = [f"  - split: {split}\n    path: plain_text/{split}-*" for split in splits]
    files = {"README.md": README.format(files="\n".join(lines)).encode()}
    for split, table in splits.items():
        files[f"plain_text/{split}-00000-of-00001.parquet"] = parquet(table)
    return files


def parquet(rows: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    rows[["text", "label"]].to_parquet(file, index=False)
    return file.getvalue()


class Project:
    """A folder where the stage download runs in this process, with a cache of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.cache, self.offline, self.capsys = folder, folder / "cache", False, capsys

    def use(self, patch: pytest.MonkeyPatch, address: str) -> None:
        """Let the clients of this process, which have read the environment, use Hub and cache."""
        from datasets import config

        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "HF_HUB_CACHE", str(self.cache / "hub"))
        patch.setattr(config, "HF_ENDPOINT", address)
        patch.setattr(config, "HF_DATASETS_CACHE", self.cache / "datasets")
        patch.setattr(config, "DOWNLOADED_DATASETS_PATH", self.cache / "datasets/downloads")
        for module in (constants, config):
            patch.setattr(module, "HF_HUB_OFFLINE", self.offline)
        patch.setattr("time.sleep", lambda seconds: None)  # between two tries
        patch.chdir(self.folder)
        huggingface_hub.HfFileSystem.clear_instance_cache()  # it remembers what the Hub has
        huggingface_hub.close_session()

    def download(self, hub: Hub | str, fails: bool = False, **changes: object) -> str:
        """Run the stage; return its output, or the error message, which is one line."""
        params = tiny_params(download={"source": "hub", **changes}).download
        line = None
        with pytest.MonkeyPatch.context() as patch:
            self.use(patch, hub if isinstance(hub, str) else hub.address)
            try:
                with atomic_folder(self.folder / "data/raw") as folder:
                    download(params, folder, workers=1)
            except UserError as error:
                line = str(error)
                assert "\n" not in line
        assert (line is not None) is fails, line
        if not fails:
            return self.capsys.readouterr().out
        self.require_nothing_half_written()
        return line

    def require_nothing_half_written(self) -> None:
        assert {path.name for path in self.folder.glob("data/*")} <= {".raw.lock"}

    @property
    def about(self) -> dict:
        return json.loads((self.folder / "data/raw/dataset.json").read_text())

    def texts_of_classes(self) -> dict[str, set[str]]:
        """All texts of test, by the name of their class."""
        rows = pd.read_parquet(self.folder / "data/raw/test.parquet")
        names = self.about["labels"]
        return {name: set(rows["text"][rows["label"] == n]) for n, name in enumerate(names)}

    @property
    def fingerprints(self) -> dict[str, str]:
        return {split: facts["fingerprint"] for split, facts in self.about["splits"].items()}


class Apart(Project):
    """A project whose stage runs in another process, with `env`."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder, capsys)
        ours = ("HF_", "HUGGINGFACE_", "SENTIFORMER_")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "PYTHONPATH": f"{folder}:{ROOT}:{ROOT / 'src'}",
            "HOME": str(folder),
            "HF_HOME": str(folder / "cache"),
            "NO_PROXY": "127.0.0.1,localhost",
            "SENTIFORMER_THREADS": "1",
        }

    def download(self, hub: Hub | str, fails: bool = False, **changes: object) -> str:
        params = tiny_params(download={"source": "hub", **changes}).model_dump()
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))
        shutil.copyfile(ROOT / "dvc.yaml", self.folder / "dvc.yaml")
        done = subprocess.run(
            (sys.executable, "-m", "pipeline.download"),
            cwd=self.folder,
            env=self.env | {"HF_ENDPOINT": hub if isinstance(hub, str) else hub.address},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stderr
        if not fails:
            return done.stdout
        assert "Traceback" not in done.stderr
        self.require_nothing_half_written()
        *_, line = done.stderr.splitlines()
        assert line.startswith("error: "), done.stderr
        return line


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    return Project(tmp_path, capsys)


@pytest.fixture
def apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Apart:
    return Apart(tmp_path, capsys)


@pytest.fixture
def hub():
    rows = made_up_reviews(420)
    splits = {
        "train": rows[:310].sort_values("label"),
        "test": rows[300:400],
        "unsupervised": rows[390:].assign(label=-1),
    }
    with serve(NAME, REVISION, dataset_files(**splits)) as hub:
        yield hub


@pytest.mark.slow
def test_the_splits_are_loaded_and_the_cache_needs_no_network(apart, hub):
    apart.download(hub)
    about = apart.about
    assert about["labels"] == ["neg", "pos"]
    assert (about["origin"]["name"], about["origin"]["revision"]) == (NAME, REVISION)
    left = made_up_reviews(420)["text"][:300]  # of train, without the texts of test
    held_out = sum(text_hash(text) < 0.1 * 2**64 for text in left)
    rows = {split: facts["rows"] for split, facts in about["splits"].items()}
    held = {"train": 300 - held_out, "validation": held_out}
    assert rows == held | {"test": 100, "unlabeled": 20}
    assert about["removed"] == {
        "duplicates": 0,
        "contradictions": 0,
        "leaked": 10,
        "unlabeled_duplicates": 0,
        "unlabeled_leaked": 10,
    }
    assert not [call for call in hub.calls if "telemetry" in call]
    calls = len(hub.calls)
    apart.env["HF_HUB_OFFLINE"] = "1"
    apart.download(hub, labels=["negative", "positive"])
    assert len(hub.calls) == calls, "offline means offline"
    assert apart.about["labels"] == ["negative", "positive"]
    assert apart.about["splits"]["test"]["fingerprint"] == about["splits"]["test"]["fingerprint"]
    (apart.folder / "data/raw").rename(apart.folder / "kept")
    line = apart.download(hub, fails=True, hub_revision="a" * 40)
    assert f"hub_revision is {'a' * 40}, but the cache holds {REVISION} and the Hub cannot" in line


def test_the_first_of_several_names_of_a_split_wins(project):
    rows = made_up_reviews(400)
    places = {"train": (0, 300), "dev": (300, 310), "validation": (310, 330)}
    places |= {"eval": (330, 340), "test": (340, 370)}
    splits = {split: rows[start:end] for split, (start, end) in places.items()}
    with serve(NAME, REVISION, dataset_files(**splits)) as hub:
        output = project.download(hub)
    found = {split: facts["rows"] for split, facts in project.about["splits"].items()}
    assert found == {"train": 300, "validation": 20, "test": 30}
    assert f"unused splits of {NAME}: dev, eval\n" in output


@pytest.mark.slow
def test_a_proxy_is_used_for_every_call(apart, hub):
    """The Hub on loopback is also the proxy: it answers for a host that does not exist."""
    apart.env |= {"HTTP_PROXY": hub.address, "NO_PROXY": ""}
    hub.store = "http://store.invalid"
    apart.download("http://hub.invalid")
    assert apart.about["splits"]["test"]["rows"] == 100
    assert len(hub.calls) > 5


def test_the_fingerprints_do_not_depend_on_the_source(project, monkeypatch):
    rows = made_up_reviews(100)
    write_package(project.folder, rows)
    monkeypatch.syspath_prepend(str(project.folder))
    rows[["label", "text"]].sample(frac=1, random_state=1).to_csv(project.folder / "a.csv")
    with serve(NAME, REVISION, dataset_files(train=rows.sort_values("label"))) as hub:
        project.download(hub)
    found = [project.fingerprints]
    for source in ("bundled", "files"):
        project.download("http://127.0.0.1:9", source=source, train="a.csv")
        found.append(project.fingerprints)
    assert found[0].keys() == {"train", "validation", "test"}
    assert found[0] == found[1] == found[2]


DAMAGED = "is damaged (its SHA-256 differs from the one that the Hub states); it was removed"


def flipped(content: bytes) -> bytes:
    at = len(content) // 3
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def unreadable(content: bytes) -> bytes:
    quarter = len(content) // 4
    return content[:quarter] + bytes(2 * quarter) + content[3 * quarter :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flipped, DAMAGED),
        (unreadable, DAMAGED),
        (lambda content: content[:-100], "cannot be loaded (Consistency check failed: file should"),
        (lambda content: CUT, "cannot be loaded (peer closed connection without sending complete"),
    ],
)
def test_a_broken_download_is_one_line_and_the_next_download_works(project, hub, damage, reason):
    hub.damage = {TRAIN: damage(hub.files[TRAIN])}
    assert reason in project.download(hub, fails=True)
    hub.damage = {}
    project.download(hub)
    assert project.about["splits"]["test"]["rows"] == 100


def test_offline_a_removed_damaged_file_is_one_line(project, hub):
    hub.damage = {TRAIN: flipped(hub.files[TRAIN])}
    project.download(hub, fails=True)
    project.offline = True
    assert "cannot be loaded (" in project.download(hub, fails=True)


def test_hidden_labels_are_left_out(project):
    rows = made_up_reviews(80)
    train = rows[:60].assign(label=[-1, -1, *rows["label"][2:60]])
    splits = {"train": train, "validation": rows[60:].assign(label=-1)}
    with serve(NAME, REVISION, dataset_files(**splits)) as hub:
        output = project.download(hub)
    assert f"{NAME}, split validation: none of its 20 texts has a label; it is left out" in output
    assert project.about["left_out"] == {"train": {"no label": 2}, "validation": {"no label": 20}}
    assert sum(facts["rows"] for facts in project.about["splits"].values()) == 58
    assert project.about["splits"].keys() == {"train", "validation", "test"}


@pytest.mark.parametrize(("value", "label"), [(0, "neg"), (1.0, "pos"), (-1, None), (None, None)])
def test_the_number_of_a_class_is_its_name(value, label):
    assert _class_name(value, ["neg", "pos"], "here") == label


def test_a_number_of_no_class_is_one_line():
    line = r"x/y, row 1: the label 2 is not the number of a class \(neg, pos\)"
    with pytest.raises(UserError, match=line):
        _class_name(2, ["neg", "pos"], "x/y, row 1")


def test_a_list_of_one_label_is_that_label_and_rows_with_several_are_left_out(project):
    rows = made_up_reviews(60)
    several = rows.assign(label=[[0, 1]] * 60)
    with serve(NAME, REVISION, {"README.md": b"", "train.parquet": parquet(several)}) as hub:
        line = project.download(hub, fails=True)
        assert f"{NAME}, split train: no row can be used (several labels 60); check downl" in line
        rows["label"] = [[n, 1] if i < 7 else [n] for i, n in enumerate(rows["label"])]
        hub.files["train.parquet"] = parquet(rows)
        project.cache = project.folder / "another"
        project.download(hub)
    assert project.about["labels"] == ["0", "1"]
    assert project.about["left_out"] == {"train": {"several labels": 7}}


@pytest.mark.parametrize(
    ("given", "declared", "of_numbers", "order", "said"),
    [
        (None, ["a", "b"], ["a", "b"], ["a", "b"], ""),
        (["a", "b"], None, None, ["a", "b"], ""),
        (["b", "a"], ["a", "b"], ["a", "b"], ["b", "a"], ""),
        (["B", "A"], ["a", "b"], ["a", "b"], ["B", "A"], ""),
        (["c", "b", "a"], ["a", "b"], ["a", "b"], ["c", "b", "a"], ""),
        (["b", "a"], ["a", "b", "c"], ["a", "b", "c"], ["b", "a"], ""),
        (["x", "y"], ["a", "b"], ["x", "y"], ["x", "y"], "a → x, b → y"),
        (["a", "y"], ["a", "b"], ["a", "y"], ["a", "y"], ": b → y"),
    ],
)
def test_given_names_order_or_rename_the_classes_of_a_data_set(
    capsys, given, declared, of_numbers, order, said
):
    assert _class_names(given, declared) == (of_numbers, order)
    output = capsys.readouterr().out
    assert said in output
    assert bool(output) is bool(said)


@pytest.mark.parametrize("given", [["b", "x"], ["x", "a"], ["x", "y", "z"], ["x", "B"]])
def test_names_that_may_swap_classes_are_refused(given):
    declared = ["b", "a"] if given == ["x", "B"] else ["a", "b"]
    with pytest.raises(UserError, match="but the data set calls its classes"):
        _class_names(given, declared)


def test_names_in_another_order_change_no_class(project, hub):
    project.download(hub)
    first = project.texts_of_classes()
    project.download(hub, labels=["pos", "neg"])
    assert project.about["labels"] == ["pos", "neg"]
    assert project.texts_of_classes() == first


def test_bytes_that_are_not_utf_8_are_one_line(project):
    rows = made_up_reviews(60)
    texts = pa.array([*(text.encode() for text in rows["text"][1:]), b"\xe9"], pa.binary())
    rows["text"] = pd.array(texts.view(pa.string()), dtype=pd.ArrowDtype(pa.string()))
    with serve(NAME, REVISION, dataset_files(train=rows)) as hub:
        line = project.download(hub, fails=True)
    assert f"{NAME}, split train holds bytes that are not UTF-8; use other data" in line


@pytest.mark.parametrize(
    ("value", "name", "configuration"),
    [
        ("a/b", "a/b", None),
        ("a/b/c", "a/b", "c"),
        ("a/b/c d/e", "a/b", "c d/e"),
        ("datasets/a/b", "a/b", None),
        ("https://huggingface.co/datasets/a/b", "a/b", None),
        ("http://localhost:80/datasets/a.b/c-d_e/", "a.b/c-d_e", None),
        ("huggingface.co/datasets/a/b?row=3", "a/b", None),
        ("https://hf.co/datasets/a/b/viewer/c/train?p=1", "a/b", "c"),
        ("https://hf.co/datasets/a/b/viewer", "a/b", None),
        ("hf://datasets/a/b", "a/b", None),
        ("someone/datasets/c", "someone/datasets", "c"),
        ("imdb", "imdb", None),
        ("https://huggingface.co/datasets/imdb", "imdb", None),
    ],
)
def test_the_name_of_a_data_set_may_be_its_address(value, name, configuration):
    assert split_hub_name(value) == (name, configuration)


@pytest.mark.parametrize(
    "value",
    [
        *("", "a b", "a//b", "/a/b", "~/a", "../a/b", "a/b@main", "https://huggingface.co/a/b"),
        "https://huggingface.co/datasets/a/b/tree/main",
    ],
)
def test_another_address_is_refused(value):
    with pytest.raises(ValueError, match="it is not the name of a data set"):
        split_hub_name(value)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"hub_revision": "main"},
            f"with download.hub_revision main is not owner/name with a commit of 40 hexadecimal "
            f"digits; the Hub has {NAME} at commit {REVISION}; use these",
        ),
        ({"hub_revision": "v1"}, f"digits; the Hub has {NAME} at commit {REVISION}; use these"),
        (
            {"hub_revision": "b" * 40},
            f"{'b' * 40} has no such commit; the Hub has {NAME} at commit {REVISION}",
        ),
        ({"hub_dataset": "imdb"}, f"digits; the Hub has {NAME} at commit {REVISION}; use these"),
        ({"hub_dataset": "sst"}, "digits; https://huggingface.co/datasets lists the names, and"),
        (
            {"hub_dataset": "nobody/nothing"},
            f"nobody/nothing with download.hub_revision {REVISION} is not on the Hub, or is p",
        ),
    ],
)
def test_an_unknown_revision_or_name_is_one_line(project, hub, changes, text):
    assert text in project.download(hub, fails=True, **changes)


def test_a_gated_data_set_is_one_line(project, hub):
    hub.refusal = 401, "GatedRepo", "Access to dataset a/b is restricted. Please log in."
    line = project.download(hub, fails=True)
    assert f" is gated: accept its conditions on https://huggingface.co/datasets/{NAME}" in line


CONFIGURATIONS = """---
configs:
- config_name: one
  data_files: one/train.csv
- config_name: two
  data_files: two/train.csv
---
"""


def test_configurations_are_listed_and_can_be_named(project):
    rows = made_up_reviews(60)[["text", "label"]]
    rows.loc[0, "text"], rows.loc[1, "text"] = "NA", ""
    files = {
        "README.md": CONFIGURATIONS.encode(),
        "one/train.csv": rows.replace({"label": {0: "None", 1: "007"}})
        .to_csv(index=False)
        .encode(),
        "two/train.csv": rows[:40].to_csv(index=False).encode(),
    }
    with serve(NAME, REVISION, files) as hub:
        line = project.download(hub, fails=True)
        assert f"{NAME} has no default, but one, two; write for example {NAME}/one" in line
        line = project.download(hub, fails=True, hub_dataset=f"{NAME}/three")
        assert f"{NAME} has no configuration 'three', but one, two" in line
        project.download(hub, hub_dataset=f"{NAME}/one")
        about = project.about
        assert about["labels"] == ["007", "None"], "not numbers and missing values"
        assert about["left_out"] == {"train": {"no text": 1}}
        assert sum(facts["rows"] for facts in about["splits"].values()) == 59, "one is NA"
        project.download(hub, hub_dataset=f"{hub.address}/datasets/{NAME}/viewer/two/train")
        about = project.about
        assert sum(facts["rows"] for facts in about["splits"].values()) == 39
        assert about["origin"]["name"] == f"{NAME}/two"
        hub.files["README.md"] += b" "
        hub.files["README.md"] = hub.files["README.md"].replace(b"two\n", b"two\n  default: true\n")
        project.cache = project.folder / "another"
        assert f"{NAME}: the configuration is two; others are one\n" in project.download(hub)


def test_a_script_is_explained_and_the_copy_in_parquet_can_be_used(project):
    commit = "c" * 40
    rows = made_up_reviews(60)
    with serve(NAME, REVISION, {"README.md": b"", "imdb.py": b""}) as hub:
        line = project.download(hub, fails=True)
        assert "is a script, which the library datasets does not run; the Hub has no Parq" in line
        hub.branches["refs/convert/parquet"] = commit
        hub.commits[commit] = {
            "one/train/0000.parquet": parquet(rows),
            "two/train/0000.parquet": parquet(rows[:40]),
        }
        line = project.download(hub, fails=True)
        assert f"set download.hub_revision to {commit} and download.hub_dataset to " in line
        assert line.endswith(f" to {NAME}/one or {NAME}/two")
        project.download(hub, hub_revision=commit, hub_dataset=f"{NAME}/two")
        assert sum(facts["rows"] for facts in project.about["splits"].values()) == 40


def test_the_error_for_a_missing_column_lists_the_columns(project, hub):
    line = project.download(hub, fails=True, text_column="review")
    assert f"{NAME}, split train has no column 'review'; download.text_column takes one of" in line


def test_a_folder_of_the_same_name_is_not_read_instead_of_the_hub(project):
    (project.folder / NAME).mkdir(parents=True)
    line = project.download("http://127.0.0.1:9", fails=True)
    assert f"the folder {NAME} has the same name as the data set of the Hub; move it away" in line


def test_a_slow_hub_works(project, hub):
    hub.delay = 0.1
    project.download(hub)


def test_a_hub_that_is_too_slow_is_one_line(project, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    hub.delay = 3.0
    line = project.download(hub, fails=True)
    assert (
        f"download.hub_dataset {NAME} with download.hub_revision {REVISION} cannot be loaded ("
        in line
    )


def test_a_hub_that_is_down_is_one_line(project):
    line = project.download("http://127.0.0.1:9", fails=True)
    assert (
        f"download.hub_dataset {NAME} with download.hub_revision {REVISION} cannot be loaded ("
        in line
    )
    assert "check name, revision and network" in line
