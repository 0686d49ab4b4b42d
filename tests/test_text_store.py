"""Texts in a temporary file."""

from tempfile import TemporaryFile

import pytest

from sentiformer.data import text_store
from sentiformer.data.text_store import ROW_CHARACTERS, StoredTexts, TextStore, blocks

TEXTS = ["plain", "", "é😀 \u2028", "two\nlines\r\n", "x" * 100_000]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 2, 1, 3], [1, 1]])
def test_texts_are_read_in_any_order(order):
    with TemporaryFile() as file:
        store = TextStore(file)
        for text in TEXTS:
            store.append(text)
        assert len(store) == len(TEXTS)
        stored = StoredTexts(store, order)
        assert list(stored) == [TEXTS[position] for position in order]
        assert len(stored) == len(order)


@pytest.mark.parametrize("characters", [1, 250, 10_000, 10**9])
def test_blocks_contain_all_rows_in_order_and_about_the_given_number_of_characters(
    monkeypatch, characters
):
    monkeypatch.setattr(text_store, "BLOCK_CHARACTERS", characters)
    rows = [(text, number) for number, text in enumerate(TEXTS * 3)]
    cut = list(blocks(rows))
    assert [row for block in cut for row in block] == rows
    for block in cut:
        assert sum(len(text) + ROW_CHARACTERS for text, _ in block[:-1]) < characters


def test_no_rows_give_no_block():
    assert list(blocks([])) == []
