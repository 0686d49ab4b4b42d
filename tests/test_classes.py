"""Classes with few texts, or with none in some split: left out or kept, and reported."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from conftest import made_up_reviews, tiny_params

from sentiformer.core.errors import UserError
from sentiformer.core.names import SPLITS
from sentiformer.data.download import download


@pytest.fixture
def run(tmp_path, capsys):
    """A function that downloads tables and returns the content of `dataset.json` and the output."""

    def run(splits: dict[str, pd.DataFrame], **changes: object) -> tuple[dict, str]:
        for split, table in splits.items():
            table.to_csv(tmp_path / f"{split}.csv", index=False)
            changes[split] = str(tmp_path / f"{split}.csv")
        params = tiny_params(download={"source": "files", **changes})
        about = download(params.download, tmp_path)
        check(about, tmp_path)
        return about, capsys.readouterr().out

    return run


def check(about: dict, folder: Path) -> None:
    """The numbers of the classes in the files are positions in the list of classes."""
    for split in SPLITS:
        counts = Counter(pd.read_parquet(folder / f"{split}.parquet")["label"])
        named = {name: counts[number] for number, name in enumerate(about["labels"])}
        assert about["splits"][split]["label_counts"] == named
        assert sum(named.values()) == about["splits"][split]["rows"]


def texts(**counts: int) -> pd.DataFrame:
    """Made-up texts: so many of each label."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    table = made_up_reviews(len(labels))[["text"]]
    return table.assign(text=table["text"] + pd.Series(labels), label=labels)


def test_rare_classes_are_kept_and_reported(run):
    about, output = run({"train": texts(a=60, b=60, c=2, d=1)})
    counts = {split: facts["label_counts"] for split, facts in about["splits"].items()}
    assert sum(split["c"] for split in counts.values()) == 2
    assert counts["train"]["c"] == counts["train"]["d"] == 1
    absent = "of the 4 classes, so that it does not judge them (texts in brackets)"
    assert absent in output
    assert "d (1); download.min_texts leaves out classes with few texts" in output
    assert about["left_out"] == {}


def test_classes_below_the_parameter_are_left_out_and_counted(run):
    splits = {"train": texts(a=30, rare=3, b=30, c=2), "test": texts(b=9, a=9, c=1)}
    splits["test"]["text"] += " Other."
    about, output = run(splits, min_texts=4)
    assert about["labels"] == ["a", "b"]
    assert about["left_out"] == {"train": {"rare class": 5}, "test": {"rare class": 1}}
    line = "classes with fewer texts than download.min_texts (4) are left out: c (3), rare (3)"
    assert line in output
    about, _ = run(splits, min_texts=3)
    assert about["labels"] == ["a", "b", "c", "rare"]


def test_names_without_a_text_are_left_out(run):
    about, output = run({"train": texts(a=30, b=30)}, labels=["b", "c", "a"])
    assert about["labels"] == ["b", "a"]
    assert "are left out: c (0)" in output


def test_a_test_without_a_class_of_train_is_used(run):
    about, output = run({"train": texts(a=30, b=30, c=30), "test": texts(a=9, b=9)})
    assert about["labels"] == ["a", "b", "c"]
    assert about["splits"]["test"]["label_counts"] == {"a": 9, "b": 9, "c": 0}
    assert "test has no text of 1 of the 3 classes" in output


def test_texts_of_classes_that_train_lacks_are_left_out(run):
    splits = {"train": texts(b=30, c=30), "test": texts(a=4, c=9, d=5)}
    about, output = run(splits)
    assert about["labels"] == ["b", "c"]
    assert about["splits"]["test"]["label_counts"] == {"b": 0, "c": 9}
    assert about["left_out"] == {"test": {"class not in train": 9}}
    assert "classes without a text in train are left out of test and validation" in output
    assert "number of texts there: a (4), d (5)\n" in output


@pytest.mark.parametrize("label", ["-1", "-1.0"])
def test_hidden_labels_are_left_out_and_a_test_of_them_is_held_out_of_train(run, label):
    train = texts(a=30, b=30).assign(label=[0, 1] * 30)
    hidden = texts(z=8).assign(label=label)
    about, output = run({"train": train, "test": hidden}, labels=["x", "y"])
    assert "none of its 8 texts has a label; it is left out, and test is held out of" in output
    assert about["left_out"] == {"test": {"no label": 8}}
    assert sum(facts["rows"] for facts in about["splits"].values()) == 60
    some = pd.concat([hidden, train[:20].assign(text=train["text"] + " Other.")])
    about, _ = run({"train": train, "test": some}, labels=["x", "y"])
    assert about["splits"]["test"]["label_counts"] == {"x": 10, "y": 10}
    assert about["left_out"] == {"test": {"no label": 8}}


def test_minus_one_is_a_class_if_train_has_it(run):
    train = texts(a=20, b=20, c=20).assign(label=[-1, 0, 1] * 20)
    about, _ = run({"train": train, "test": texts(z=8).assign(label=-1)})
    assert about["labels"] == ["-1", "0", "1"]
    assert about["splits"]["test"]["label_counts"] == {"-1": 8, "0": 0, "1": 0}


def test_joined_spellings_are_one_class_in_all_splits(run):
    train = texts(a=30, b=30).assign(label=["0", "1.0"] * 30)
    about, _ = run({"train": train, "test": texts(z=8).assign(label=["00", "１"] * 4)})
    assert about["labels"] == ["0", "1"]
    assert about["splits"]["test"]["label_counts"] == {"0": 4, "1": 4}


@pytest.mark.parametrize(
    ("splits", "changes", "text"),
    [
        (
            {"train": texts(a=9, b=9)},
            {"min_texts": 10},
            "min_texts, which is 10: a (9), b (9)",
        ),
        (
            {"train": texts(a=9)},
            {"labels": ["a", "b"]},
            "min_texts, which is 1: b (0); add texts",
        ),
        (
            {"train": texts(a=30, b=30), "test": texts(c=9)},
            {},
            "the split test has no text of a class of train; its classes are c (9); add texts",
        ),
        (
            {"train": texts(a=30, b=30), "test": texts(a=30, b=30)},
            {},
            "train has no text labelled a (30), b (30) (removed: leaked 60); add texts",
        ),
        ({"train": texts(a=1, b=1)}, {}, "the split test has no text of a class of train; add"),
    ],
)
def test_too_few_classes_or_texts_are_one_line(run, splits, changes, text):
    with pytest.raises(UserError) as caught:
        run(splits, **changes)
    assert text in str(caught.value)
