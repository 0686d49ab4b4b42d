"""The Hub's real loading code against a Hub on loopback: what it gives, and each failure."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from conftest import ROOT, made_up_reviews, tiny_params, write_package
from hub_server import CUT, Hub, serve

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


def dataset_of(**splits: pd.DataFrame) -> dict[str, bytes]:
    """The files of a data set of the Hub that has these splits."""
    lines = [f"  - split: {split}\n    path: plain_text/{split}-*" for split in splits]
    files = {"README.md": README.format(files="\n".join(lines)).encode()}
    for split, table in splits.items():
        file = io.BytesIO()
        table[["text", "label"]].to_parquet(file, index=False)
        files[f"plain_text/{split}-00000-of-00001.parquet"] = file.getvalue()
    return files


class Project:
    """A folder where the stage download runs, in a process of its own, with a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ours = ("HF_", "HUGGINGFACE_", "SENTIFORMER_")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "PYTHONPATH": f"{folder}:{ROOT}:{ROOT / 'src'}",
            "HOME": str(folder),
            "HF_HOME": str(folder / "cache"),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def download(self, hub: Hub | str, fails: bool = False, **changes: object) -> str:
        """Run the stage; returns what it printed, or the one line of its error."""
        params = tiny_params(download={"source": "hub", **changes}).model_dump()
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))
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
        assert not list(self.folder.glob("data/*")), "nothing is half-written"
        assert not list(self.folder.glob("data/.*"))
        *_, line = done.stderr.splitlines()
        assert line.startswith("error: "), done.stderr
        return line

    @property
    def about(self) -> dict:
        return json.loads((self.folder / "data/raw/dataset.json").read_text())

    @property
    def fingerprints(self) -> dict[str, str]:
        return {split: of["fingerprint"] for split, of in self.about["splits"].items()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def hub():
    rows = made_up_reviews(420)
    splits = {
        "train": rows[:310].sort_values("label"),
        "test": rows[300:400],
        "unsupervised": rows[390:].assign(label=-1),
    }
    with serve(NAME, REVISION, dataset_of(**splits)) as hub:
        yield hub


def test_the_hub_gives_its_splits_and_its_cache_needs_no_network(project, hub):
    project.download(hub)
    about = project.about
    assert about["labels"] == ["neg", "pos"]
    assert (about["origin"]["name"], about["origin"]["revision"]) == (NAME, REVISION)
    rows = {split: of["rows"] for split, of in about["splits"].items()}
    assert rows == {"train": 270, "validation": 30, "test": 100, "unlabeled": 20}
    assert about["removed"] == {
        "duplicates": 0,
        "contradictions": 0,
        "leaked": 10,
        "unlabeled_duplicates": 0,
        "unlabeled_leaked": 10,
    }
    assert not [call for call in hub.calls if "telemetry" in call]
    calls = len(hub.calls)
    project.env["HF_HUB_OFFLINE"] = "1"
    project.download(hub, labels=["negative", "positive"])
    assert len(hub.calls) == calls, "offline means offline"
    assert project.about["labels"] == ["negative", "positive"]
    assert project.about["splits"]["test"]["fingerprint"] == about["splits"]["test"]["fingerprint"]
    (project.folder / "data/raw").rename(project.folder / "kept")
    line = project.download(hub, fails=True, hub_revision="a" * 40)
    assert f"hub_revision is {'a' * 40}, the cache holds {REVISION}, and the Hub is out" in line


@pytest.mark.slow
def test_of_a_split_s_names_the_usual_one_wins(project):
    rows = made_up_reviews(400)
    places = {"train": (0, 300), "dev": (300, 310), "validation": (310, 330)}
    places |= {"eval": (330, 340), "test": (340, 370)}
    splits = {split: rows[start:end] for split, (start, end) in places.items()}
    with serve(NAME, REVISION, dataset_of(**splits)) as hub:
        project.download(hub)
    found = {split: of["rows"] for split, of in project.about["splits"].items()}
    assert found == {"train": 300, "validation": 20, "test": 30}


@pytest.mark.slow
def test_a_proxy_is_used_for_every_call(project, hub):
    """The Hub on loopback is its own proxy: it answers for a host that does not exist."""
    project.env |= {"HTTP_PROXY": hub.address, "NO_PROXY": ""}
    hub.store = "http://store.invalid"
    project.download("http://hub.invalid")
    assert project.about["splits"]["test"]["rows"] == 100
    assert len(hub.calls) > 5


def test_the_same_rows_have_the_same_fingerprints_from_every_source(project):
    rows = made_up_reviews(100)
    write_package(project.folder, rows)
    rows[["label", "text"]].sample(frac=1, random_state=1).to_csv(project.folder / "a.csv")
    with serve(NAME, REVISION, dataset_of(train=rows.sort_values("label"))) as hub:
        project.download(hub)
    found = [project.fingerprints]
    for source in ("bundled", "files"):
        project.download("http://127.0.0.1:9", source=source, train="a.csv")
        found.append(project.fingerprints)
    assert found[0].keys() == {"train", "validation", "test"}
    assert found[0] == found[1] == found[2]


DAMAGED = "arrived damaged (its SHA-256 is another than the Hub states); it was removed"


def flipped(content: bytes) -> bytes:
    at = len(content) // 3
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def unreadable(content: bytes) -> bytes:
    quarter = len(content) // 4
    return content[:quarter] + bytes(2 * quarter) + content[3 * quarter :]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flipped, DAMAGED),
        (unreadable, DAMAGED),
        (lambda content: content[:-100], "cannot be loaded (Consistency check failed: file should"),
        (lambda content: CUT, "cannot be loaded (peer closed connection without sending complete"),
    ],
)
def test_a_broken_download_is_one_line_and_the_next_one_mends_it(project, hub, damage, reason):
    hub.damage = {TRAIN: damage(hub.files[TRAIN])}
    assert reason in project.download(hub, fails=True)
    hub.damage = {}
    project.download(hub)
    assert project.about["splits"]["test"]["rows"] == 100


@pytest.mark.slow
def test_a_file_that_was_removed_for_its_damage_is_missed_in_one_line(project, hub):
    hub.damage = {TRAIN: flipped(hub.files[TRAIN])}
    project.download(hub, fails=True)
    project.env["HF_HUB_OFFLINE"] = "1"
    assert "cannot be loaded (" in project.download(hub, fails=True)


@pytest.mark.slow
def test_a_number_that_is_none_of_the_classes_is_one_line(project):
    rows = made_up_reviews(60)
    with serve(NAME, REVISION, dataset_of(train=rows, test=rows[:9].assign(label=-1))) as hub:
        line = project.download(hub, fails=True)
    assert f"{NAME}, split test, row 1: the label is -1, none of its classes neg, pos" in line


def test_bytes_that_are_no_text_are_one_line(project):
    rows = made_up_reviews(60)
    texts = pa.array([*(text.encode() for text in rows["text"][1:]), b"\xe9"], pa.binary())
    rows["text"] = pd.array(texts.view(pa.string()), dtype=pd.ArrowDtype(pa.string()))
    with serve(NAME, REVISION, dataset_of(train=rows)) as hub:
        line = project.download(hub, fails=True)
    assert f"{NAME}, split train holds bytes that are no UTF-8; use other data" in line


def test_another_revision_and_another_name_are_one_line(project, hub):
    line = project.download(hub, fails=True, hub_revision="b" * 40)
    assert f"(Revision '{'b' * 40}' doesn't exist for dataset '{NAME}' on the Hub.)" in line
    line = project.download(hub, fails=True, hub_dataset="nobody/nothing")
    assert "download.hub_dataset nobody/nothing at e6281661ce1c cannot be loaded (" in line


def test_a_missing_column_lists_the_columns(project, hub):
    line = project.download(hub, fails=True, text_column="review")
    assert f"{NAME}, split train has no column 'review'; download.text_column takes one of" in line


def test_a_folder_of_the_same_name_does_not_stand_in_for_the_hub(project):
    (project.folder / NAME).mkdir(parents=True)
    line = project.download("http://127.0.0.1:9", fails=True)
    assert f"the folder {NAME} hides the Hub's data set of that name; move it away" in line


@pytest.mark.slow
def test_a_slow_hub_is_waited_for(project, hub):
    hub.delay = 0.3
    project.download(hub)


@pytest.mark.slow
def test_a_hub_that_is_too_slow_is_one_line(project, hub):
    project.env |= {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    hub.delay = 3.0
    line = project.download(hub, fails=True)
    assert f"download.hub_dataset {NAME} at {REVISION[:12]} cannot be loaded (" in line


@pytest.mark.slow
def test_a_hub_that_is_down_is_one_line(project):
    line = project.download("http://127.0.0.1:9", fails=True)
    assert f"download.hub_dataset {NAME} at {REVISION[:12]} cannot be loaded (" in line
    assert "check name, revision and network" in line
