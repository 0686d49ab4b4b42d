"""Splits depend on the texts alone, without duplicates and without leaks."""

import hashlib
from collections import Counter
from itertools import pairwise
from tempfile import TemporaryFile

import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import made_up_reviews

from sentiformer.core.names import SPLITS
from sentiformer.data import split_files, splits, tables, text_store
from sentiformer.data.bundled import LABELS
from sentiformer.data.params import number_of_folds
from sentiformer.data.source import Row, Source, Stream
from sentiformer.data.split_files import digest, write_split
from sentiformer.data.tables import content_hash, store_source, text_hash
from sentiformer.data.text_store import TextStore

SHARE = 0.1
EQUAL = ["A great<br />film.", "a  GREAT film.", " A great\n\tfilm. ", "A Great <br /><br />Film."]

SAME = ["A great<br>film.", "<p>A <I>great</I> film.</p>", "A&nbsp;great<!-- -->film&#46;"]
SAME += ['<a href="x">A</a> gre&#65;t <br/>film.', "A great film.&#" + "1" * 5000]


def table(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["text", "label"])


def shuffled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows.sample(frac=1, random_state=seed)


def reviews(count: int = 400) -> pd.DataFrame:
    return made_up_reviews(count)[["text", "label"]]


def stored(given: dict[str, pd.DataFrame], store: TextStore) -> dict[str, pd.DataFrame]:
    """Store the texts of tables with the columns text and label; return the tables of the store."""
    streams = {
        split: Stream(map(Row, rows["text"].tolist(), rows["label"].tolist()), split, Counter())
        for split, rows in given.items()
    }
    return store_source(Source(streams, LABELS, {}), store)[0]


def with_texts(rows: pd.DataFrame, store: TextStore) -> pd.DataFrame:
    texts = [store[position] for position in rows["position"]]
    return rows.assign(text=texts).drop(columns=["position", "source"])


def make_splits(
    given: dict[str, pd.DataFrame], share: float = SHARE, fold: int = 0
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The splits with their texts; and how many rows were removed."""
    with TemporaryFile() as file:
        store = TextStore(file)
        made, removed = splits.make_splits(stored(given, store), store, share, fold)
        return {split: with_texts(rows, store) for split, rows in made.items()}, removed


def remove_duplicates(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    with TemporaryFile() as file:
        store = TextStore(file)
        sorted_rows = tables.sort_by_hash(stored({"train": rows}, store)["train"], store)
        kept, removed = splits.remove_duplicates(sorted_rows)
        return with_texts(kept, store), removed


def held_out(rows: pd.DataFrame, share: float = SHARE) -> dict[str, pd.DataFrame]:
    return make_splits({"train": rows}, share)[0]


def fingerprint(rows: pd.DataFrame) -> str:
    each = map(digest, rows["text"], rows["label"])
    return split_files.fingerprint(bytearray(b"".join(each)))


@pytest.mark.parametrize("text", EQUAL)
def test_case_white_space_and_line_breaks_do_not_change_the_hash_of_a_text(text):
    assert text_hash(text) == text_hash(EQUAL[0])


@pytest.mark.parametrize("text", EQUAL + SAME)
def test_texts_are_equal_up_to_case_white_space_and_markup(text):
    assert content_hash(text) == content_hash(EQUAL[0])


@pytest.mark.parametrize(
    "text",
    [
        *("A great film", "A great fil m.", "Agreat film.", "A greät film.", "", "A great <film>."),
        *("A great < b > film.", "A great <a@x.org> film.", "A great <laugh> film."),
    ],
)
def test_other_texts_are_not_equal(text):
    assert text_hash(text) != text_hash(EQUAL[0])
    assert content_hash(text) != content_hash(EQUAL[0])


@pytest.mark.parametrize("text", EQUAL + SAME)
def test_a_text_that_differs_only_in_markup_is_a_leak(text):
    test = table((EQUAL[0], 1), ("Dull.", 0))
    train = pd.concat([table((text, 1)), reviews(40)])
    made, removed = make_splits({"train": train, "test": test})
    assert removed["leaked"] == 1
    assert text not in set(made["train"]["text"]) | set(made["validation"]["text"])


def test_one_of_equal_texts_is_kept():
    rows = table(*[(text, 1) for text in EQUAL], ("Dull.", 0), ("Dull.", 0), ("Other.", 1))
    kept, removed = remove_duplicates(rows)
    assert sorted(kept["label"]) == [0, 1, 1]
    assert kept["hash"].is_unique
    assert removed == {"duplicates": 4, "contradictions": 0}


def test_equal_texts_with_different_labels_are_all_removed():
    rows = table((EQUAL[0], 1), (EQUAL[1], 0), (EQUAL[2], 1), ("Dull.", 0))
    kept, removed = remove_duplicates(rows)
    assert kept["text"].tolist() == ["Dull."]
    assert removed == {"duplicates": 1, "contradictions": 2}


def test_the_kept_rows_and_their_order_do_not_depend_on_the_order_of_the_rows():
    rows = pd.concat([reviews(60), table(*[(text, 1) for text in EQUAL])])
    first, _ = remove_duplicates(rows)
    for seed in range(5):
        again, _ = remove_duplicates(shuffled(rows, seed))
        pd.testing.assert_frame_equal(again, first)
    assert first["hash"].is_monotonic_increasing


def test_the_split_does_not_depend_on_the_order_of_the_rows():
    first = held_out(reviews())
    for seed in range(3):
        again = held_out(shuffled(reviews(), seed))
        for split in SPLITS:
            pd.testing.assert_frame_equal(again[split], first[split])


def test_every_text_is_in_exactly_one_split():
    rows = pd.concat([reviews(), reviews().assign(text=lambda t: t["text"].str.upper())])
    hashes = [text_hash(text) for split in held_out(rows).values() for text in split["text"]]
    assert len(hashes) == len(set(hashes)) == 400
    assert set(hashes) == set(rows["text"].map(text_hash))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.499])
@pytest.mark.parametrize("given", [(), ("test",), ("validation",)])
def test_a_threshold_on_the_hash_decides_the_split(share, given):
    other = table(("Another text.", 0), ("One more.", 1))
    made, _ = make_splits({"train": reviews(), **dict.fromkeys(given, other)}, share)
    missing = [split for split in ("test", "validation") if split not in given]
    for split in ("train", *missing):
        for text in made[split]["text"]:
            interval = int(text_hash(text) / 2**64 / share)
            assert split == (missing[interval] if interval < len(missing) else "train")
    assert sum(len(made[split]) for split in ("train", *missing)) == 400


@pytest.mark.parametrize("given", [(), ("test",), ("validation",)])
@pytest.mark.parametrize("share", [0.1, 0.3, 1 / 3, 0.4])
def test_over_all_folds_each_text_is_held_out_once_for_each_split(share, given):
    other = table(("Another text.", 0), ("One more.", 1))
    source = {"train": reviews(), **dict.fromkeys(given, other)}
    folds = [make_splits(source, share, fold)[0] for fold in range(number_of_folds(share))]
    for split in {"test", "validation"} - {*given}:
        hashes = pd.concat([made[split]["hash"] for made in folds])
        assert sorted(hashes) == sorted(map(text_hash, reviews()["text"]))
    for made in folds:
        assert sum(len(made[split]) for split in {*SPLITS} - {*given}) == 400
        assert len(made["train"]) > 0
    if not given:  # the next fold tests on the texts that validated this one
        for made, following in pairwise([*folds, folds[0]]):
            assert list(following["test"]["hash"]) == list(made["validation"]["hash"])


def test_the_held_out_share_is_about_the_parameter():
    made = held_out(reviews(4000), 0.2)
    for split in ("validation", "test"):
        assert len(made[split]) == pytest.approx(800, rel=0.1)


def test_adding_and_removing_rows_moves_no_other_text():
    rows = reviews(1000)
    all_rows = held_out(rows)
    for seed in range(5):
        some = rows.sample(500, random_state=seed)
        for split, made in held_out(some).items():
            assert set(made["text"]) == set(all_rows[split]["text"]) & set(some["text"])


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.499])
@pytest.mark.parametrize("count", [3, 4, 10])
def test_a_label_with_three_texts_is_in_every_split(share, count):
    for seed in range(20):
        rows = made_up_reviews(2 * count, seed)[["text", "label"]]
        for made in held_out(rows, share).values():
            assert set(made["label"]) == {0, 1}


@pytest.mark.parametrize("given", [(), ("test",), ("validation",), ("test", "validation")])
@pytest.mark.parametrize("count", [1, 2])
def test_of_a_rare_label_train_has_a_text_and_a_second_one_is_held_out(given, count):
    other = table(("Another text.", 0), ("One more.", 0))
    for number in range(30):
        rare = table(*((f"rare {number} {n}", 1) for n in range(count)))
        train = pd.concat([reviews(40).assign(label=0), rare])
        made, _ = make_splits({"train": train, **dict.fromkeys(given, other)})
        counts = {split: sum(rows["label"]) for split, rows in made.items()}
        assert sum(counts.values()) == count
        assert counts["train"] == (count if len(given) == 2 else 1)


def test_a_split_without_a_label_takes_the_text_with_the_lowest_hash_of_the_largest_split():
    rare = pd.DataFrame({"text": [f"rare {n}" for n in range(6)], "label": 1})
    hashes = sorted(map(text_hash, rare["text"]))
    made = held_out(pd.concat([reviews().query("label == 0"), rare]), hashes[0] / 2**66)
    found = {split: list(rows[rows["label"] == 1]["hash"]) for split, rows in made.items()}
    assert found == {"test": hashes[:1], "validation": hashes[1:2], "train": hashes[2:]}


def test_held_out_texts_do_not_differ_in_length_or_row_number():
    made = held_out(made_up_reviews(2000, seed=1)[["text", "label"]])
    numbers = made["test"]["text"].str.extract(r"No\. (\d+)\.")[0].astype(int)
    assert abs(numbers.mean() - 1000) < 150
    assert made["test"]["text"].str.len().mean() == pytest.approx(
        made["train"]["text"].str.len().mean(), rel=0.1
    )


def official(**texts: str) -> dict[str, pd.DataFrame]:
    """Splits of texts of one letter; capital letters have the label 1, small letters 0."""
    return {
        split: table(*[(text, -1 if split == "unlabeled" else int(text > "Z")) for text in letters])
        for split, letters in texts.items()
    }


def texts_of(made: dict[str, pd.DataFrame]) -> dict[str, str]:
    return {split: "".join(sorted(rows["text"])) for split, rows in made.items()}


def test_given_splits_are_kept_and_leaks_are_removed():
    given = official(train="abcdeffgxyXY", validation="bbghA", test="aadiB", unlabeled="acfghzzZ")
    made, removed = make_splits(given)
    assert texts_of(made) == {
        "train": "cef",
        "validation": "gh",
        "test": "Baadi",
        "unlabeled": "Zcf",
    }
    assert removed == {
        "duplicates": 1,
        "contradictions": 4,
        "leaked": 4 + 3,
        "unlabeled_duplicates": 2,
        "unlabeled_leaked": 3,
    }


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_missing_split_is_held_out_of_train_without_the_leaks(missing):
    given = ({"validation", "test"} - {missing}).pop()
    rows = reviews(420)
    each = {"train": rows, given: reviews(20), "unlabeled": rows.assign(label=-1)}
    made, removed = make_splits(each)
    assert removed["leaked"] == len(made[given]) == 20
    assert removed["unlabeled_leaked"] == 20 + len(made[missing])
    assert set(made["unlabeled"]["hash"]) == set(made["train"]["hash"])
    hashes = [set(made[split]["hash"]) for split in SPLITS]
    assert len(set.union(*hashes)) == sum(map(len, hashes)) == 420


def test_splits_do_not_depend_on_the_order_of_the_rows():
    given = {"train": reviews(), "test": reviews(440).iloc[390:]}
    first, _ = make_splits(given)
    again, _ = make_splits({split: shuffled(rows, 1) for split, rows in given.items()})
    for split in SPLITS:
        pd.testing.assert_frame_equal(again[split], first[split])


def test_the_fingerprint_does_not_depend_on_order_or_index():
    rows = reviews(50)
    assert fingerprint(shuffled(rows, 1)) == fingerprint(rows)
    assert fingerprint(rows.set_index(rows.index + 7)) == fingerprint(rows)


def test_the_fingerprint_changes_with_one_label_one_character_or_one_row():
    rows = reviews(50)
    prints = {fingerprint(rows)}
    relabelled, rewritten = rows.copy(), rows.copy()
    relabelled.loc[7, "label"] = 1 - relabelled.loc[7, "label"]
    rewritten.loc[7, "text"] += " "
    swapped = rows.copy()
    swapped["label"] = rows["label"].to_numpy()[::-1]
    for changed in (relabelled, rewritten, swapped, rows.iloc[:-1], pd.concat([rows, rows[:1]])):
        prints.add(fingerprint(changed))
    assert len(prints) == 6


def test_the_description_of_a_split_counts_rows_bytes_and_labels(tmp_path):
    path = tmp_path / "a.parquet"

    def about(rows: pd.DataFrame) -> dict[str, object]:
        return write_split(path, rows["text"], rows.assign(source=0), LABELS, ["texts"])

    rows = table(("é", 1), ("ab", 0), ("c", 1))
    train = about(rows)
    assert (train["rows"], train["bytes"]) == (3, 5)
    assert train["label_counts"] == {"negative": 1, "positive": 2}
    assert train["fingerprint"] == fingerprint(rows)
    assert about(table(("x", 0)))["label_counts"] == {"negative": 1, "positive": 0}
    assert about(table(("x", -1)))["label_counts"] == {"negative": 0, "positive": 0}
    assert about(table(("x", -1)).iloc[:0])["rows"] == len(pd.read_parquet(path)) == 0


def test_the_fingerprint_is_the_hash_of_the_sorted_hashes_of_label_and_text():
    rows = reviews(50)
    pairs = zip(rows["text"], rows["label"], strict=True)
    each = sorted(hashlib.sha256(f"{label}\0{text}".encode()).digest() for text, label in pairs)
    assert fingerprint(rows) == hashlib.sha256(b"".join(each)).hexdigest()


@pytest.mark.parametrize("characters", [1, 1000])
def test_the_size_of_blocks_does_not_change_a_split(monkeypatch, tmp_path, characters):
    rows = reviews(60)
    numbered = rows.assign(source=rows["label"])

    def written() -> tuple[dict[str, object], list[dict[str, object]]]:
        facts = write_split(tmp_path / "a", rows["text"], numbered, LABELS, ["a", "b"])
        return facts, pq.read_table(tmp_path / "a").to_pylist()

    first = written()
    sources = rows["label"].map({0: "a", 1: "b"})
    assert first[0]["source_counts"] == {"a": 30, "b": 30}
    assert first[1] == rows.assign(source=sources).to_dict("records")
    monkeypatch.setattr(text_store, "BLOCK_CHARACTERS", characters)
    assert written() == first


def test_rows_with_equal_hashes_are_sorted_by_text_and_label():
    rows = table(("B", 0), ("b", 1), ("b", 0), ("B  ", 1), ("a", 1))
    test = make_splits({"train": reviews(20), "test": rows})[0]["test"]
    equal = test[test["text"] != "a"]
    assert equal[["text", "label"]].to_numpy().tolist() == [
        ["B", 0],
        ["B  ", 1],
        ["b", 0],
        ["b", 1],
    ]
