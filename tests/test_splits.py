"""Splits by content alone: no duplicates, and nothing that judges is seen in training."""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from conftest import made_up_reviews, tiny_params

from sentiformer.core.names import SPLITS
from sentiformer.data import sources
from sentiformer.data import splits as rules
from sentiformer.data.params import DownloadParams
from sentiformer.data.sources import LABELS, digest, write_split
from sentiformer.data.splits import content_hash, spool_source, text_hash
from sentiformer.data.streams import Source, Stream
from sentiformer.data.text_store import Spool

PARAMS = tiny_params().download
EQUAL = ["A great<br />film.", "a  GREAT film.", " A great\n\tfilm. ", "A Great <br /><br />Film."]

SAME = ["A great<br>film.", "<p>A <I>great</I> film.</p>", "A&nbsp;great<!-- -->film&#46;"]
SAME += ['<a href="x">A</a> gre&#65;t <br/>film.', "A great film.&#" + "1" * 5000]


def table(*rows: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["text", "label"])


def shuffled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows.sample(frac=1, random_state=seed)


def reviews(count: int = 400) -> pd.DataFrame:
    return made_up_reviews(count)[["text", "label"]]


def spooled(tables: dict[str, pd.DataFrame], spool: Spool) -> dict[str, pd.DataFrame]:
    """Put tables with a text and a label into the spool, as a source's streams come there."""
    streams = {
        split: Stream(zip(rows["text"].tolist(), rows["label"].tolist(), strict=True), split)
        for split, rows in tables.items()
    }
    return spool_source(Source(streams, LABELS, {}), spool)[0]


def unspooled(rows: pd.DataFrame, spool: Spool) -> pd.DataFrame:
    return rows.assign(text=[spool[place] for place in rows["place"]]).drop(columns="place")


def split_up(
    tables: dict[str, pd.DataFrame], params: DownloadParams
) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The splits with their texts in memory."""
    with TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
        splits, removed = rules.split_up(spooled(tables, spool), spool, params)
        return {split: unspooled(rows, spool) for split, rows in splits.items()}, removed


def without_duplicates(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    with TemporaryDirectory() as folder, Spool(Path(folder)) as spool:
        tables = spooled({"train": rows}, spool)
        kept, removed = rules.without_duplicates(rules.by_hash(tables["train"], spool))
        return unspooled(kept, spool), removed


def held_out(rows: pd.DataFrame, **fractions: float) -> dict[str, pd.DataFrame]:
    splits, _ = split_up({"train": rows}, PARAMS.model_copy(update=fractions))
    return splits


def fingerprint(rows: pd.DataFrame) -> str:
    pairs = zip(rows["text"], rows["label"], strict=True)
    return sources.fingerprint(bytearray().join(digest(*pair) for pair in pairs))


@pytest.mark.parametrize("text", EQUAL)
def test_case_white_space_and_line_breaks_do_not_change_the_place_of_a_text(text):
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
def test_a_text_that_differs_in_markup_alone_leaks(text):
    judged = table((EQUAL[0], 1), ("Dull.", 0))
    train = pd.concat([table((text, 1)), reviews(40)])
    splits, removed = split_up({"train": train, "test": judged}, PARAMS)
    assert removed["leaked"] == 1
    assert text not in set(splits["train"]["text"]) | set(splits["validation"]["text"])


def test_one_of_equal_texts_is_kept():
    rows = table(*[(text, 1) for text in EQUAL], ("Dull.", 0), ("Dull.", 0), ("Other.", 1))
    kept, removed = without_duplicates(rows)
    assert sorted(kept["label"]) == [0, 1, 1]
    assert kept["hash"].is_unique
    assert removed == {"duplicates": 4, "contradictions": 0}


def test_equal_texts_of_different_labels_all_go():
    rows = table((EQUAL[0], 1), (EQUAL[1], 0), (EQUAL[2], 1), ("Dull.", 0))
    kept, removed = without_duplicates(rows)
    assert kept["text"].tolist() == ["Dull."]
    assert removed == {"duplicates": 1, "contradictions": 2}


def test_what_is_kept_and_in_what_order_does_not_depend_on_the_rows():
    rows = pd.concat([reviews(60), table(*[(text, 1) for text in EQUAL])])
    first, _ = without_duplicates(rows)
    for seed in range(5):
        again, _ = without_duplicates(shuffled(rows, seed))
        pd.testing.assert_frame_equal(again, first)
    assert first["hash"].is_monotonic_increasing


def test_the_split_does_not_depend_on_the_order_of_the_rows():
    first = held_out(reviews())
    for seed in range(3):
        again = held_out(shuffled(reviews(), seed))
        for split in SPLITS:
            pd.testing.assert_frame_equal(again[split], first[split])


def test_every_text_stands_on_exactly_one_side():
    rows = pd.concat([reviews(), reviews().assign(text=lambda t: t["text"].str.upper())])
    splits = held_out(rows)
    hashes = [text_hash(text) for split in splits.values() for text in split["text"]]
    assert len(hashes) == len(set(hashes)) == 400
    assert set(hashes) == set(rows["text"].map(text_hash))


@pytest.mark.parametrize("fractions", [(0.1, 0.1), (0.25, 0.05), (0.301, 0.499)])
def test_every_label_gives_its_exact_share(fractions):
    rows = reviews(1000).iloc[:900]
    rows = rows[(rows["label"] == 1) | (rows.index < 400)]  # 200 negative, 450 positive
    validation, test = fractions
    splits = held_out(rows, validation_fraction=validation, test_fraction=test)
    for label, count in ((0, 200), (1, 450)):
        shares = {split: int((rows["label"] == label).sum()) for split, rows in splits.items()}
        held = {"validation": round(count * validation), "test": round(count * test)}
        assert shares == {"train": count - sum(held.values()), **held}


def test_held_out_texts_are_no_sample_by_length_or_place():
    splits = held_out(made_up_reviews(2000, seed=1)[["text", "label"]])
    numbers = splits["test"]["text"].str.extract(r"No\. (\d+)\.")[0].astype(int)
    assert abs(numbers.mean() - 1000) < 150
    assert splits["test"]["text"].str.len().mean() == pytest.approx(
        splits["train"]["text"].str.len().mean(), rel=0.1
    )


def test_a_new_row_moves_few_texts_to_another_side():
    before = held_out(reviews())
    after = held_out(pd.concat([reviews(), table(("A new text.", 1))]))
    for split in SPLITS:
        assert len(set(before[split]["text"]) - set(after[split]["text"])) <= 1


def official(**texts: str) -> dict[str, pd.DataFrame]:
    """Splits of one-letter texts; those in capitals are labelled 1, and equal to small ones."""
    return {
        split: table(*[(text, -1 if split == "unlabeled" else int(text > "Z")) for text in letters])
        for split, letters in texts.items()
    }


def texts_of(splits: dict[str, pd.DataFrame]) -> dict[str, str]:
    return {split: "".join(sorted(rows["text"])) for split, rows in splits.items()}


def test_official_splits_stay_and_nothing_that_judges_is_seen_in_training():
    tables = official(train="abcdeffgxyXY", validation="bbghA", test="aadiB", unlabeled="acfghzzZ")
    splits, removed = split_up(tables, PARAMS)
    assert texts_of(splits) == {
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
def test_a_split_that_is_missing_is_held_out_of_what_is_left_of_train(missing):
    given = ({"validation", "test"} - {missing}).pop()
    tables = {"train": reviews(420), given: reviews(20), "unlabeled": reviews(420).assign(label=-1)}
    splits, removed = split_up(tables, PARAMS)
    assert {split: len(rows) for split, rows in splits.items()} == {
        "train": 360,
        given: 20,
        missing: 40,
        "unlabeled": 360,
    }
    assert removed["leaked"] == 20
    assert removed["unlabeled_leaked"] == 60
    hashes = [set(splits[split]["hash"]) for split in SPLITS]
    assert len(set.union(*hashes)) == sum(map(len, hashes))


def test_splits_do_not_depend_on_the_order_of_the_rows():
    tables = {"train": reviews(), "test": reviews(440).iloc[390:]}
    first, _ = split_up(tables, PARAMS)
    again, _ = split_up({split: shuffled(rows, 1) for split, rows in tables.items()}, PARAMS)
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


def test_a_description_counts_rows_bytes_and_labels(tmp_path):
    path = tmp_path / "a.parquet"

    def about(rows: pd.DataFrame) -> dict[str, object]:
        return write_split(path, rows["text"], rows["label"].to_numpy(), LABELS)

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


@pytest.mark.parametrize("characters", [1, 1000, 2**24])
def test_a_split_is_the_same_whatever_is_read_and_written_at_a_time(monkeypatch, characters):
    rows = pd.concat([reviews(60), table(*[(text, 1) for text in EQUAL])])
    first, _ = split_up({"train": rows, "test": rows}, PARAMS)
    for module in (sources, rules):
        monkeypatch.setattr(module, "BLOCK_CHARACTERS", characters)
    again, _ = split_up({"train": rows, "test": rows}, PARAMS)
    for split in SPLITS:
        pd.testing.assert_frame_equal(again[split], first[split])


def test_equal_hashes_are_in_the_order_of_text_and_label():
    rows = table(("B", 0), ("b", 1), ("b", 0), ("B  ", 1), ("a", 1))
    splits, _ = split_up({"train": reviews(20), "test": rows}, PARAMS)
    of_b = splits["test"][splits["test"]["text"] != "a"]
    assert of_b[["text", "label"]].to_numpy().tolist() == [["B", 0], ["B  ", 1], ["b", 0], ["b", 1]]
