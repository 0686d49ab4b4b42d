"""Labelled texts in files of the user: formats, folders, and one line for each error."""

import json
import random
from collections import Counter
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryFile

import pandas as pd
import pytest
from conftest import RUNTIME, run_stages, tiny_params

from sentiformer.core.errors import UserError
from sentiformer.core.names import SPLITS
from sentiformer.data.download import download
from sentiformer.data.params import DownloadParams
from sentiformer.data.source import usable_rows
from sentiformer.data.tables import store_source
from sentiformer.data.text_store import TextStore
from sentiformer.data.user_files import find_files, read_files, splits_in
from sentiformer.serving.trained_model import Classifier
from sentiformer.text.tokenizer import tokenize
from sentiformer.text.vocab import build_vocab

FIVE = "arts business science sports world".split()


def files(**changes: object) -> DownloadParams:
    return tiny_params(download={"source": "files", **changes}).download


def rows_of(params: DownloadParams) -> dict[str, list[tuple[str, int]]]:
    with TemporaryFile() as file:
        store = TextStore(file)
        tables, _ = store_source(read_files(params), store)
        return {
            split: sorted((store[row.position], row.label) for row in rows.itertuples())
            for split, rows in tables.items()
        }


def news(count: int, seed: int = 0) -> pd.DataFrame:
    """Made-up headlines of five classes: columns headline, topic."""
    rng = random.Random(seed)
    topics = [FIVE[number % 5] for number in range(count)]
    lines = [f"{t} news {seed}.{i}: {rng.choice(FIVE)} again" for i, t in enumerate(topics)]
    return pd.DataFrame({"headline": lines, "topic": topics})


@pytest.fixture
def write(tmp_path, monkeypatch):
    """The working directory, with files to write by name and content."""
    monkeypatch.chdir(tmp_path)

    def write_files(**contents: str) -> None:
        for name, content in contents.items():
            (tmp_path / name.replace("_", ".")).write_text(content)

    return write_files


@pytest.fixture
def message(write):
    """A function that returns the error message for these files and parameters, one line."""

    def read(contents: dict[str, str], **changes: object) -> str:
        write(**contents)
        with pytest.raises(UserError) as caught:
            rows_of(files(**{"train": "a.csv"} | changes))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return read


def test_every_format_gives_the_same_rows(write):
    table = pd.DataFrame({"text": ["Good.", 'a\nb, "c"'], "label": ["pos", "neg"], "id": [1, 2]})
    table.to_csv("a.csv", index=False)
    table.to_json("a.jsonl", orient="records", lines=True)
    table.to_parquet("a.parquet", index=False)
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert rows_of(files(train=name)) == {"train": [("Good.", 1), ('a\nb, "c"', 0)]}


def test_a_glob_joins_files_of_several_formats(write):
    write(a_csv="text,label\na,x\n", b_jsonl='{"text": "b", "label": "y"}\n', c_md="no")
    assert rows_of(files(train="*.[cj]s*")) == {"train": [("a", 0), ("b", 1)]}


def test_a_folder_gives_the_splits_that_have_no_path_of_their_own(write, tmp_path):
    deep = tmp_path / "set" / "plain_text"
    deep.mkdir(parents=True)
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001", "trainee"):
        pd.DataFrame({"text": [name], "label": [len(name) % 2]}).to_parquet(
            deep / f"{name}.parquet"
        )
    pd.DataFrame({"text": ["u"], "label": [-1]}).to_parquet(deep / "unsupervised-0.parquet")
    write(v_csv="text,label\nv,0\n")
    found = find_files(files(train="set", validation="v.csv"))
    assert {split: [path.name for path in paths] for split, paths in found.items()} == {
        "train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        "validation": ["v.csv"],
        "test": ["test-00000-of-00001.parquet"],
        "unlabeled": ["unsupervised-0.parquet"],
    }
    write(w_csv="text,label\nw,1\n")
    assert rows_of(files(train="[vw].csv", unlabeled="set"))["unlabeled"] == [("u", -1)]


@pytest.mark.parametrize(
    ("paths", "splits"),
    [
        ("train/0000.parquet train/a/1.csv test/b.csv", {"train": 2, "test": 1}),
        ("training_1.csv valid-0.jsonl Test.csv", {"train": 1, "validation": 1, "test": 1}),
        ("dev.csv eval2.csv unlabeled.csv", {"validation": 1, "test": 1, "unlabeled": 1}),
        ("val/a/b.csv unsupervised/c.csv", {"validation": 1, "unlabeled": 1}),
        ("train/test/a.csv", {"test": 1}),
        ("train/train-0.csv train/labels.csv test/notes.csv", {"train": 2, "test": 1}),
        ("reviews_train.csv reviews_test.csv my-dev.csv", dict.fromkeys(SPLITS, 1)),
        ("train.csv test/part-0.csv x_val/a.csv", dict.fromkeys(SPLITS, 1)),
        ("train.csv testset.csv latest.csv contest/a.csv", {"train": 1}),
        ("train.csv test1.csv 2test.csv", {"train": 1, "test": 2}),
        ("data/train-00000-of-00001.csv test/a.csv", {"train": 1}),
        ("train.csv train_test.csv", {"train": 1}),
        ("train.csv train.csv.gz train.jsonl test.tsv", {"train": 1, "test": 1}),
        ("validity.csv train.txt trainee/a.csv dataset_info.json", {"train": 2}),
        ("a.csv unlabeled.csv", {"train": 1, "unlabeled": 1}),
        ("reviews.csv reviews_test.csv", {"test": 1}),
        ("__MACOSX/train.csv train.csv", {"train": 1}),
        ("train.csv .train.csv .cache/test.csv a/.~lock.train.csv", {"train": 1}),
    ],
)
def test_files_and_folders_belong_to_splits_by_the_names_of_the_hub(tmp_path, paths, splits):
    for path in paths.split():
        file = tmp_path / "train" / path  # the name of the searched folder does not matter
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = splits_in(tmp_path / "train")
    assert {split: len(files) for split, files in found.items()} == splits


def test_the_unused_files_of_a_folder_are_counted_and_the_first_are_named(tmp_path, capsys):
    folder = tmp_path / "set"
    (folder / "a").mkdir(parents=True)
    for name in ("train.csv", "test.csv", "a/notes.csv", ".hidden.csv", "val.csv"):
        (folder / name).touch()
    for name in ("train.csv", "test.csv", "val.csv", "../v.csv"):
        (folder / name).write_text("text,label\na,b\n")
    params = files(train=str(folder), validation=str(folder))
    find_files(params)
    assert capsys.readouterr().out == "", "it is called to hash the files"
    read_files(params)
    line = f"unused files in the folder {folder} "
    assert capsys.readouterr().out.splitlines() == [
        f"files of train in the folder {folder} (1): train.csv",
        f"files of validation in the folder {folder} (1): val.csv",
        f"files of test in the folder {folder} (1): test.csv",
        f"{line}(1): a/notes.csv",
    ]
    (folder / "a/notes.csv").unlink()
    read_files(files(train=str(folder)))
    assert "unused files" not in capsys.readouterr().out
    for number in range(30):
        (folder / f"part{number:02}.tsv").touch()
    read_files(files(train=str(folder), validation=str(tmp_path / "v.csv")))
    output = capsys.readouterr().out
    assert f"{line}(31): part00.tsv, part01.tsv, part02.tsv, " in output
    assert output.endswith(", part19.tsv and 11 others\n")


def test_in_the_copy_of_an_experiment_paths_are_relative_to_the_project(
    write, tmp_path, monkeypatch
):
    write(a_csv="text,label\na,x\nb,y\n")
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(copy)
    for train in ("a.csv", "[a].csv", str(tmp_path / "a.csv")):
        assert rows_of(files(train=train)) == {"train": [("a", 0), ("b", 1)]}
    (copy / "a.csv").write_text("text,label\nc,x\nd,y\n")
    assert rows_of(files(train="a.csv")) == {"train": [("c", 0), ("d", 1)]}, (
        "the copy has its own file"
    )


def test_many_classes_with_few_texts_each_are_allowed_in_test(write):
    rows = "".join(f"text {n},class {n}\n" for n in range(150))
    write(a_csv="text,label\n" + rows * 2, b_csv="text,label\n" + rows)
    assert len(rows_of(files(train="a.csv", test="b.csv"))["test"]) == 150
    assert len(rows_of(files(train="b.csv", labels=[f"class {n}" for n in range(150)]))) == 1


@pytest.mark.parametrize("label", ["x", "None"])
def test_unlabelled_texts_can_be_lines_and_have_no_class(write, label):
    write(a_csv=f"text,label\na,{label}\nb,y\n", u_txt="one\ntwo\n")
    rows = rows_of(files(train="a.csv", unlabeled="u.txt"))
    assert rows["unlabeled"] == [("one", -1), ("two", -1)]


def test_a_label_that_occurs_only_in_test_is_a_label(write):
    write(a_csv="text,label\na,x\nb,z\n", b_csv="text,label\nc,y\n")
    rows = rows_of(files(train="a.csv", test="b.csv"))
    assert rows == {"train": [("a", 0), ("b", 2)], "test": [("c", 1)]}


GOOD = {"a_csv": "text,label\na,x\nb,y\n"}
LABELLED = '{"text": "a", "label": "%s"}\n{"text": "b", "label": "%s"}'


@pytest.mark.parametrize(
    ("contents", "changes", "text"),
    [
        ({}, {"train": "no*.csv"}, "download.train is 'no*.csv': there is no such file; paths"),
        (
            {"a_csv": "text,label\na,x\n"},
            {"train": "."},
            "download.train is '.', the folder that holds this project; put the files into a",
        ),
        (
            {"my-train_csv": "text,label\na,x\n", "my-test_csv": "text,label\nb,x\n"},
            {"train": "my-*.csv"},
            "download.train 'my-*.csv' also matches my-test.csv, which is named after test; name",
        ),
        (
            {"a_csv": "text,Label\na,x\nb,y\n", "b_csv": "text,label\nc,x\n"},
            {"train": "a.csv", "test": "b.csv"},
            "b.csv calls the column 'Label' of train 'label'; rename it",
        ),
        (
            {"a_csv": "text,label\na,x\nb,?\n"},
            {"train": "a.csv"},
            "the label '?' means that a model has no answer; give it another name",
        ),
        (
            {"a_csv_dvc": "outs:"},
            {},
            "download.train is 'a.csv': there is only its .dvc file; fetch",
        ),
        (GOOD, {"test": "b.csv"}, "download.test is 'b.csv': there is no such file"),
        (GOOD, {"text_column": "t"}, "a.csv has no column 't'; download.text_column takes one of:"),
        (GOOD, {"label_column": "l"}, "no column 'l'; download.label_column takes one of: text, "),
        (GOOD, {"labels": ["x", "z"]}, "download.labels are x, z; the data also have y; name all"),
        ({"a_csv": "text,label\n"}, {}, "download.train, a.csv: there is no text; add texts"),
        ({"a_csv": "text,label\na,x\n"}, {}, "has only the label 'x'; a classifier needs two"),
        (
            {"a_csv": "text,label\na,\n"},
            {},
            "a.csv: no row can be used (no label 1); check download.te",
        ),
        (
            {"a_csv": "text,label\n7,x\n8,y\n"},
            {},
            "each of the 2 texts is a number; check download.te",
        ),
        ({"a_csv": "text,label\na,1\nb,2\n"}, {"labels": ["x", "y"]}, "x, y, numbered from 0 to 1"),
        (
            {"a_jsonl": '{"text": [], "label": 1}\n{}'},
            {"train": "a.jsonl"},
            "(not a text 1, no text 1); check",
        ),
        ({"a_jsonl": '{"text": "a", "label": {}}'}, {"train": "a.jsonl"}, "(not a label 1); check"),
        ({"a_jsonl": '{"text": "a", "label": [1, 2]}'}, {"train": "a.jsonl"}, "(several labels 1)"),
        (
            {"a_jsonl": '{"text": "a", "label": 1}\n' * 2 + '{"text": "b", "label": "x"}'},
            {"train": "a.jsonl"},
            "download.train, a.jsonl: it has labels of two types, such as 1 and 'x'; make them all",
        ),
        (
            {"a_jsonl": r'{"text": "a \ud83d", "label": 1}'},
            {"train": "a.jsonl"},
            r"a.jsonl, line 1: the text holds '\ud83d', which is no whole character; write it",
        ),
        (
            {"a_jsonl": LABELLED % (r"\ud83d", "z")},
            {"train": "a.jsonl"},
            r"a label holds '\ud83d', which is no whole character; write it in UTF-8",
        ),
        (
            {"a_jsonl": LABELLED % (r"x\u0007y", "z")},
            {"train": "a.jsonl"},
            r"the label 'x\x07y' has a control character; remove it",
        ),
        (
            {"a_csv": "text,label\n" + "".join(f"a,the {n} text\n" for n in range(101)) + "b,x\n"},
            {},
            "download.train, a.csv: its 102 texts have 102 different labels; name the column",
        ),
        (
            {"a_csv": ",".join(f"c{n}" for n in range(50)) + "\n"},
            {},
            "a.csv has no column 'text'; download.text_column takes one of: c0, c1, c2, c3, c4, c5,"
            " c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19 and 30 others",
        ),
        (GOOD, {"labels": ["x", "y\0"]}, r"the label 'y\x00' has a control character; remove it"),
        (
            GOOD,
            {"test": "~zyzzyva/b.csv"},
            "download.test is '~zyzzyva/b.csv': there is no such file",
        ),
        ({"a_csv": "text,label,text\na,x,b\n"}, {}, "a.csv has several columns 'text'; rename"),
        ({"a_txt": "a\n"}, {"train": "a.txt"}, "its suffix must be one of .csv, .tsv, .jsonl"),
    ],
)
def test_an_error_is_one_line(message, contents, changes, text):
    assert text in message(contents, **changes)


NAMES = "train test training reviews_train reviews_test my-dev test1 1test val.set eval trainee"
NAMES += " mytest a valid latest.b x-val-2 dev evaluation train-00000-of-00001"
FOLDERS = ". . data train test my_test plain val1 test/a train/b x/dev trainset data/eval __x .h"


@pytest.mark.slow
def test_splits_are_those_of_load_dataset(tmp_path):
    from datasets.data_files import EmptyDatasetError, get_data_patterns, resolve_pattern

    rng, compared = random.Random(0), 0
    for number in range(120):
        folder = tmp_path / str(number) / "train"  # the name of the searched folder does not matter
        for _ in range(rng.randint(1, 5)):
            path = folder / rng.choice(FOLDERS.split()) / f"{rng.choice(NAMES.split())}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        theirs: dict[str, set[str]] = {}
        with suppress(EmptyDatasetError):
            for split, patterns in get_data_patterns(str(folder)).items():
                theirs[split] = set()
                for pattern in patterns:
                    with suppress(FileNotFoundError):
                        theirs[split] |= set(resolve_pattern(pattern, str(folder)))
        # without train, ours looks further; a file of two splits would be a leak
        distinct = set().union(*theirs.values())
        if "train" in theirs and len(distinct) == sum(map(len, theirs.values())):
            ours = splits_in(folder)
            assert {split: {str(path) for path in paths} for split, paths in ours.items()} == theirs
            compared += 1
    assert compared > 40


@pytest.fixture
def competition(write, tmp_path):
    """A folder whose test file has no labels."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.csv").write_text("id,review,sentiment\n1,a b,pos\n2,c d,neg\n")
    (folder / "test.csv").write_text("id,review\n3,e f\n")
    return folder


@pytest.mark.parametrize(
    "paths", [{"train": "set"}, {"train": "set/train.csv", "test": "set/test.csv"}]
)
def test_a_test_file_without_labels_is_not_used_and_reported(competition, capsys, paths):
    source = read_files(files(**paths))
    assert source.streams.keys() == {"train"}
    assert [tuple(row)[:2] for row in source.streams["train"].rows] == [
        ("a b", "pos"),
        ("c d", "neg"),
    ]
    assert (
        "set/test.csv has no column 'sentiment' (download.label_column): it is not used as test; "
        "test is held out of train; later, `sentiformer predict --file set/test.csv --column "
        "review` labels its texts"
    ) in capsys.readouterr().out.splitlines()


def test_a_labelled_file_of_another_split_beside_train_is_reported(write, capsys):
    table = "text,label\na,x\nb,y\n"
    write(**{"re-eval_csv": "", "re-test_parquet": "version https://git-lfs.github.com/spec/v1"})
    for name in ("re-train.csv", "re-test.csv", "re-dev.csv", "test.csv", "re-test.txt"):
        Path(name).write_text(table)
    read_files(files(train="re-train.csv", validation="re-dev.csv"))
    line = "re-test.csv is not used; if it is that split, name it in download.test\n"
    assert capsys.readouterr().out == line


def test_rows_without_a_text_or_a_label_are_left_out_and_counted_in_each_format(write):
    rows = [("a", "x"), (None, "x"), ("b", None), ("  ", "y"), ("c", "y"), (None, None)]
    table = pd.DataFrame(rows, columns=["text", "label"])
    table.to_csv("a.csv", index=False)
    table.to_csv("a.tsv", index=False, sep="\t")
    table.to_json("a.jsonl", orient="records", lines=True)
    table.to_json("a.json", orient="records")
    table.to_parquet("a.parquet", index=False)
    cells = [{"text": text, "label": label, "id": 1} for text, label in rows]
    present = [{name: value for name, value in row.items() if value is not None} for row in cells]
    Path("b.jsonl").write_text("\n".join(map(json.dumps, present)))
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet", "b.jsonl"):
        stream = read_files(files(train=name)).streams["train"]
        assert [tuple(row)[:2] for row in stream.rows] == [("a", "x"), ("c", "y")]
        assert stream.left_out == {"no text": 3, "no label": 1}


@pytest.mark.parametrize(
    ("cell", "label", "reason"),
    [
        (1, 1, None),
        (1.0, 1, None),
        (Decimal("2.0"), 2, None),
        (1.5, "1.5", None),
        (True, "true", None),
        (" TRUE", "true", None),
        ("False", "false", None),
        (" x ", " x ", None),
        (["a"], "a", None),
        ([1.0], 1, None),
        (10**30, 10**30, None),
        ([], None, "no label"),
        ([None], None, "no label"),
        (None, None, "no label"),
        (float("nan"), None, "no label"),
        ("\u200b \n", None, "no label"),
        (["a", "b"], None, "several labels"),
        ({"a": 1}, None, "not a label"),
        (date(2020, 1, 1), None, "not a label"),
        ([["a"]], None, "several labels"),
    ],
)
def test_a_cell_is_a_label_or_a_reason_to_leave_the_row_out(cell, label, reason):
    left_out = Counter()
    rows = list(usable_rows([("row 1", ("a", cell))], left_out))
    assert left_out == ({reason: 1} if reason else {})
    assert [(type(row.label), row.label) for row in rows] == (
        [] if reason else [(type(label), label)]
    )


@pytest.mark.parametrize("labels", [[1.0, 0.0], [True, False]])
def test_numbers_and_booleans_give_the_same_classes_in_each_format(write, labels):
    table = pd.DataFrame({"text": ["a", "b"], "label": labels})
    table.to_csv("a.csv", index=False)
    table.to_json("a.jsonl", orient="records", lines=True)
    table.to_parquet("a.parquet", index=False)
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert rows_of(files(train=name)) == {"train": [("a", 1), ("b", 0)]}


def test_columns_are_guessed_by_train_and_hold_for_all_files(write, capsys):
    write(a_csv="id,review,stars\n1,a,x\n2,b,y\n", b_csv="text,label,review,stars\nc,y,d,x\n")
    write(u_csv="review\nu\n")
    rows = rows_of(files(train="a.csv", test="b.csv", unlabeled="u.csv"))
    assert rows == {"train": [("a", 0), ("b", 1)], "test": [("d", 0)], "unlabeled": [("u", -1)]}
    assert capsys.readouterr().out.splitlines() == [
        "a.csv has no column 'text'; 'review' is read instead; download.text_column names another",
        "a.csv has no column 'label'; 'stars' is read instead; download.label_column names another",
    ]


def test_a_loop_of_links_and_a_folder_with_a_suffix_are_read_once(write, tmp_path):
    folder = tmp_path / "a.csv"
    folder.mkdir()
    (folder / "part-0.csv").write_text("text,label\na,x\nb,y\n")
    (folder / "up").symlink_to(folder)
    assert rows_of(files(train="a.csv")) == {"train": [("a", 0), ("b", 1)]}


def test_five_classes_and_unlabelled_texts_go_from_files_to_a_vocabulary(write, tmp_path):
    news(200).to_csv("train.csv", index=False)
    pd.concat([news(25, seed=1), news(5)]).to_csv("test.csv", index=False)
    pd.concat([news(30, seed=2), news(5)])[["headline"]].to_json(
        "more.jsonl", orient="records", lines=True
    )
    params = files(
        train="train.csv",
        test="test.csv",
        unlabeled="more.jsonl",
        text_column="headline",
        label_column="topic",
    )
    raw, tokens, vocab = (tmp_path / name for name in ("raw", "tokens", "vocab"))
    for folder in (raw, tokens, vocab):
        folder.mkdir()
    about = download(params, raw)
    assert about["labels"] == FIVE
    rows = {split: facts["rows"] for split, facts in about["splits"].items()}
    assert rows["train"] + rows["validation"] == 195
    assert (rows["test"], rows["unlabeled"]) == (30, 30)
    assert about["removed"]["leaked"] == about["removed"]["unlabeled_leaked"] == 5
    labels = Counter(pd.read_parquet(raw / "train.parquet")["label"])
    counts = {name: labels[number] for number, name in enumerate(FIVE)}
    assert about["splits"]["train"]["label_counts"] == counts
    assert set(pd.read_parquet(raw / "unlabeled.parquet")["label"]) == {-1}
    corpus = tokenize(tiny_params().tokenize, raw, tokens, workers=1)
    assert corpus["splits"]["unlabeled"]["rows"] == 30
    coverage = build_vocab(tiny_params().build_vocab, tokens, vocab)
    assert coverage["unknown_share"].keys() == about["splits"].keys()
    assert json.loads((raw / "dataset.json").read_text())["origin"]["name"] == "files train.csv"


@pytest.mark.slow
def test_twenty_classes_go_through_every_stage(write, tmp_path):
    names = [f"topic {number}" for number in range(20)]
    rows = news(1200).assign(topic=[names[i % 20] for i in range(1200)])
    rows["headline"] = rows["topic"].str.replace(" ", "") + " " + rows["headline"]
    rows.iloc[:1100].to_csv("train.csv", index=False)
    rows.iloc[1100:].to_parquet("test.parquet", index=False)
    rows["headline"].iloc[1000:].to_frame().to_csv("unlabeled.csv", index=False)
    params = tiny_params(
        download={
            "source": "files",
            "train": "train.csv",
            "test": "test.parquet",
            "unlabeled": "unlabeled.csv",
            "text_column": "headline",
            "label_column": "topic",
            "labels": names,
        }
    )
    run_stages(params, tmp_path / "data")
    metrics = json.loads((tmp_path / "data/evaluation/metrics.json").read_text())
    assert metrics.pop("texts") == 100
    assert metrics.pop("outside_text") is False
    assert set(map(type, metrics.values())) == {float}
    by_class = pd.read_csv(tmp_path / "data/evaluation/by_class.csv")
    assert by_class["class"].tolist() == names
    assert set(by_class["texts"]) == {5}
    near = json.loads((tmp_path / "data/raw/dataset.json").read_text())["near_duplicates"]
    page = (tmp_path / "data/report/report.html").read_text()
    for text in (
        *names,
        "files train.csv",
        ">unlabeled</th>",
        "Of the unlabelled: duplicates 0",
        *(f"{n:,} in {other}" for counts in near.values() for other, n in counts.items()),
    ):
        assert text in page
    classifier = Classifier(tmp_path / "data/model", RUNTIME)
    assert classifier.labels == names
