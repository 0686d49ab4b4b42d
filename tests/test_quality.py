"""What dataset.json says of the quality of the data."""

import numpy as np
import pytest

from sentiformer.data import quality
from sentiformer.data.quality import count_languages, length_quantiles, summarize

TEXTS = {
    "train": ["The parcel arrived broken, and no one answered."] * 5
    + ["Das Paket kam beschädigt an, und niemand antwortete."] * 2
    + ["这部电影非常好看", "12345", ":-)", ""],
    "test": ["これは最高の映画です"],
    "unlabeled": [],
}
COUNTS = {
    "train": {"en": 5, "de": 2, "zh": 1, "unknown": 3},
    "test": {"ja": 1},
    "unlabeled": {},
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("block", [1, 4, 1000])
def test_languages_are_counted_in_each_split_the_most_frequent_first(monkeypatch, workers, block):
    monkeypatch.setattr(quality, "BLOCK_TEXTS", block)
    counts = count_languages(TEXTS, workers=workers)
    assert counts == COUNTS
    assert list(counts["train"]) == ["en", "de", "zh", "unknown"]


def test_unknown_languages_come_last_even_if_they_are_the_most():
    assert list(count_languages({"train": ["1", "2", "Hello, world."]}, workers=1)["train"]) == [
        "en",
        "unknown",
    ]


def test_only_the_beginning_of_a_text_is_read():
    class Text(str):
        def __getitem__(self, key: object) -> str:
            assert key == slice(None, quality.LANGUAGE_CHARACTERS, None)
            return super().__getitem__(key)

    text = Text("A fine film with a fine cast. " * 1000)
    assert count_languages({"train": [text]}, workers=1) == {"train": {"en": 1}}


def test_quantiles_are_lengths_of_texts():
    assert length_quantiles(np.array([])) == {}
    assert set(length_quantiles(np.array([7])).values()) == {7}
    assert set(length_quantiles(np.array([1, 100])).values()) == {1, 100}
    found = length_quantiles(np.arange(1, 102)[::-1])
    assert found == {"min": 1, "5%": 6, "25%": 26, "50%": 51, "75%": 76, "95%": 96, "max": 101}


def test_the_summary_counts_what_came_out_and_what_was_left_out():
    dataset = {
        "splits": {"train": {"rows": 1200}, "validation": {"rows": 80}, "test": {"rows": 90}},
        "rows_read": {"train": 1300, "test": 94},
        "left_out": {"train": {"no text": 2, "no label": 1}, "test": {"no label": 4}},
        "removed": {"duplicates": 16, "contradictions": 0, "leaked": 1, "unlabeled_leaked": 0},
        "near_duplicates": {"test": {"train": 3, "validation": 1}, "validation": {"train": 0}},
    }
    assert summarize(dataset) == (
        "texts: train 1,200, validation 80, test 90 of 1,394 rows; "
        "left out: train: no text 2, no label 1; test: no label 4; "
        "removed: duplicates 16, leaked 1; near-duplicates: 4"
    )
    nothing = dataset | {"left_out": {}, "removed": {"duplicates": 0}}
    assert "; left out: none; removed: none; " in summarize(nothing)
