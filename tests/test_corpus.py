"""Corpora on disk: the same texts come back, and a damaged file is one clear message."""

import random

import numpy as np
import pyarrow as pa
import pytest

from sentiformer.core.errors import UserError
from sentiformer.text.corpus import Block, Corpus, read_lines, write_corpus, write_lines

TEXTS = [[3, 1, 4], [], [1, 5], [], [], [9, 2, 6, 5, 3, 5], [8], []]
LABELS = [1, 0, 0, 1, 1, 0, 1, 0]


def block(texts, labels):
    ids = [i for text in texts for i in text]
    return Block(np.array(ids, dtype=int), np.array([len(t) for t in texts], int), np.array(labels))


def write(path, *sizes):
    """Write the texts in blocks of these sizes."""
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    assert sum(sizes) == len(TEXTS)
    spans = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return write_corpus(path, (block(TEXTS[span], LABELS[span]) for span in spans))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.arrow"


@pytest.mark.parametrize("sizes", [(8,), (3, 5), (1, 1, 1, 2, 3), (4, 0, 4), (0, 7, 1), (2, 6, 0)])
def test_texts_come_back_for_any_block_sizes(path, sizes):
    assert write(path, *sizes) == 12
    corpus = Corpus(path)
    assert len(corpus) == 8
    assert [corpus[i].tolist() for i in range(8)] == TEXTS
    assert [text.tolist() for text in corpus] == TEXTS, "iteration ends with the last text"
    assert [corpus[i].tolist() for i in np.array([5, 0, 7])] == [TEXTS[5], TEXTS[0], TEXTS[7]]
    assert corpus.labels.tolist() == LABELS
    assert corpus.lengths.tolist() == [len(text) for text in TEXTS]
    chunks = list(corpus.chunks())
    assert len(chunks) == len(sizes)
    assert np.concatenate(chunks).tolist() == [i for text in TEXTS for i in text]


def test_ids_are_32_bit_and_memory_mapped(path):
    write(path, 3, 5)
    text = Corpus(path)[0]
    assert text.dtype == np.int32
    assert not text.flags.writeable
    assert not text.flags.owndata


def test_a_split_without_texts_is_empty(path):
    assert write_corpus(path, []) == 0
    corpus = Corpus(path)
    assert (len(corpus), len(corpus.lengths), list(corpus.chunks())) == (0, 0, [])


def test_blocks_are_written_one_by_one(path):
    written = []

    def blocks():
        for text in ([7] * 200_000, [8], [9]):
            yield block([text], [0])
            written.append(path.stat().st_size)

    write_corpus(path, blocks())
    assert written[0] > 200_000 * 4


def test_the_same_blocks_give_the_same_bytes(path):
    write(path, 3, 5)
    first = path.read_bytes()
    write(path, 3, 5)
    assert path.read_bytes() == first


def corrupt_message(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Corpus(path)
    return str(caught.value)


def assert_names_file_and_fix(message, path):
    assert message.startswith(f"{path} is corrupt (")
    assert message.endswith("); `dvc repro --force tokenize` creates it again")
    assert "\n" not in message


def test_a_missing_split_is_reported_with_its_stage(path):
    with pytest.raises(UserError) as caught:
        Corpus(path)
    fix = "`dvc repro tokenize` makes it in the project's root"
    assert str(caught.value) == f"{path} is missing; {fix}"


def test_a_truncated_split_is_corrupt(path):
    write(path, 3, 5)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        assert_names_file_and_fix(corrupt_message(path, whole[:length]), path)


def test_a_split_of_random_bytes_is_corrupt(path):
    rng = random.Random(0)
    for length in (1, 8, 100, 5000):
        noise = rng.randbytes(length)
        for content in (noise, b"ARROW1\0\0" + noise + b"ARROW1"):
            assert_names_file_and_fix(corrupt_message(path, content), path)


def test_flipped_bytes_never_give_a_traceback(path):
    write(path, 3, 5)
    whole = path.read_bytes()
    rng = random.Random(0)
    noticed = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            corpus = Corpus(path)
            assert [len(text) for text in corpus] == corpus.lengths.tolist()
        except UserError as error:
            assert_names_file_and_fix(str(error), path)
            noticed += 1
    assert noticed > 100


def test_offsets_that_point_outside_are_corrupt(path):
    write(path, 8)
    offsets = np.cumsum([0] + [len(text) for text in TEXTS]).astype(np.int32)
    wrong = offsets.copy()
    wrong[-1] = 10_000
    whole = path.read_bytes()
    assert whole.count(offsets.tobytes()) == 1
    message = corrupt_message(path, whole.replace(offsets.tobytes(), wrong.tobytes()))
    assert_names_file_and_fix(message, path)


@pytest.mark.parametrize(
    "columns", [{"text": ["a"], "label": [1]}, {"type_ids": ["a"], "label": [1]}, {"label": [1]}]
)
def test_a_table_with_other_columns_is_corrupt(path, columns):
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert_names_file_and_fix(corrupt_message(path, path.read_bytes()), path)


@pytest.mark.parametrize("ids", [[1, 9, 2], [1, -3, 2]])
def test_an_invalid_type_id_is_corrupt(path, ids):
    write_corpus(path, [block([ids], [0])])
    message = rf"its type ids are from {min(ids)} to {max(ids)}, not below 9\)"
    with pytest.raises(UserError, match=message) as caught:
        Corpus(path, types=9)
    assert_names_file_and_fix(str(caught.value), path)


def test_valid_type_ids_and_empty_texts_are_accepted(path):
    write(path, 8)
    assert len(Corpus(path, types=10)) == len(TEXTS)
    write_corpus(path, [block([[], []], [0, 1])])
    assert len(Corpus(path, types=0)) == 2


def test_lines_of_any_characters_come_back(tmp_path):
    path, lines = tmp_path / "types.txt", ["a", "é", "😀", "", " ", "\u2028", "\x85x", "<pad>", "￾"]
    write_lines(path, lines)
    assert read_lines(path, made_by="tokenize") == lines
    assert path.read_bytes().count(b"\n") == len(lines)
    assert b"\r" not in path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"a\nb", b"a\n\xff\n"])
def test_truncated_or_undecodable_lines_are_corrupt(tmp_path, content):
    path = tmp_path / "types.txt"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_lines(path, made_by="tokenize")
    assert_names_file_and_fix(str(caught.value), path)


def test_missing_lines_are_reported_with_their_stage(tmp_path):
    fix = "`dvc repro tokenize` makes it in the project's root"
    with pytest.raises(UserError, match=rf"types.txt is missing; {fix}$"):
        read_lines(tmp_path / "types.txt", made_by="tokenize")
