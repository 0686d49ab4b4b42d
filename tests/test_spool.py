"""Texts on disk: they come back as they were, and nothing of them stays."""

import pytest

from sentiformer.data.text_store import ROW_WEIGHT, Spool, SpooledTexts, blocks

TEXTS = ["plain", "", "é😀 \u2028", "two\nlines\r\n", "x" * 100_000]


def test_texts_come_back_in_any_order_and_the_file_has_no_name(tmp_path):
    with Spool(tmp_path) as spool:
        for text in TEXTS:
            spool.append(text)
        assert len(spool) == len(TEXTS)
        assert not list(tmp_path.iterdir())
        for order in ([0, 1, 2, 3, 4], [4, 2, 0, 2, 1, 3]):
            assert list(SpooledTexts(spool, order)) == [TEXTS[number] for number in order]
        assert len(SpooledTexts(spool, [1, 1])) == 2


@pytest.mark.parametrize("characters", [1, 250, 10_000, 10**9])
def test_blocks_hold_all_rows_in_order_and_about_as_many_characters(characters):
    rows = [(text, number) for number, text in enumerate(TEXTS * 3)]
    cut = list(blocks(rows, characters=characters))
    assert [row for block in cut for row in block] == rows
    for block in cut:
        assert sum(len(text) + ROW_WEIGHT for text, _ in block[:-1]) < characters


def test_no_rows_give_no_block():
    assert list(blocks([], characters=1)) == []
