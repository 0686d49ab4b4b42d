"""The vocabulary: its words, their order, and their coverage of the texts."""

import json

import numpy as np
import pytest

from sentiformer.core.errors import UserError
from sentiformer.core.files import write_json
from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.text.corpus import Block, read_lines, write_corpus, write_lines
from sentiformer.text.params import BuildVocabParams
from sentiformer.text.vocab import PAD, UNKNOWN, Vocab, build_vocab, most_frequent


@pytest.fixture
def tokens(tmp_path):
    """Writes the files of stage tokenize for texts of each split."""
    folder = tmp_path / "tokens"
    folder.mkdir()

    def write(**splits: list[str]):
        index: dict[str, int] = {}
        for split, texts in splits.items():
            words = [text.split() for text in texts]
            ids = [index.setdefault(word, len(index)) for text in words for word in text]
            lengths = np.array([len(text) for text in words])
            block = Block(np.array(ids, dtype=int), lengths, np.zeros(len(texts), dtype=int))
            write_corpus(folder / f"{split}.arrow", [block])
        write_lines(folder / "types.txt", index)
        about = {"splits": {split: {} for split in splits}, "types": len(index)}
        write_json(folder / "corpus.json", about)
        return folder

    return write


def build(folder, max_size=100):
    vocab = folder.parent / "vocab"
    vocab.mkdir(exist_ok=True)
    coverage = build_vocab(BuildVocabParams(max_size=max_size), folder, vocab)
    assert json.loads((vocab / "coverage.json").read_text()) == coverage
    return Vocab.load(vocab / "vocab.txt"), coverage


def test_specials_come_first_then_the_most_frequent_ties_by_spelling(tokens):
    vocab, _ = build(tokens(train=["é b a c b", "b c Z é"], test=["c"]))
    assert vocab.tokens == [*SPECIAL_TOKENS, "b", "c", "é", "Z", "a"]
    assert (vocab.tokens[PAD], vocab.tokens[UNKNOWN]) == ("<pad>", "<unk>")


def test_the_order_of_types_does_not_matter():
    types, counts = ["d", "a", "c", "b"], np.array([2, 2, 5, 2])
    expected = [*SPECIAL_TOKENS, "c", "a", "b"]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        assert most_frequent(counts[order], [types[i] for i in order], 5) == expected


@pytest.mark.parametrize("max_size", [3, 4, 5, 6, 1000])
def test_the_size_includes_special_tokens_and_is_never_exceeded(tokens, max_size):
    vocab, coverage = build(tokens(train=["c c c b b a"]), max_size)
    assert vocab.tokens == [*SPECIAL_TOKENS, "c", "b", "a"][:max_size]
    assert coverage["size"] == len(vocab) == min(max_size, 5)
    assert coverage["max_size"] == max_size


def test_train_alone_decides_on_the_vocabulary(tokens):
    splits = {"train": ["a b", "b"], "validation": ["x x x x a"], "test": ["y y y y b"]}
    vocab, _ = build(tokens(**splits))
    assert vocab.tokens == [*SPECIAL_TOKENS, "b", "a"]
    alone, _ = build(tokens(train=splits["train"]))
    assert alone.tokens == vocab.tokens


def test_unknown_shares_equal_those_counted_by_hand(tokens):
    splits = {
        "train": ["a a a b b c", "", "<pad>"],  # of 7 tokens, c and <pad> are unknown
        "validation": ["a b", "c d d"],  # 3 of 5
        "test": ["", ""],  # none of none
    }
    vocab, coverage = build(tokens(**splits), max_size=4)
    assert vocab.tokens == [*SPECIAL_TOKENS, "a", "b"]
    shares = {"train": round(2 / 7, 6), "validation": 0.6, "test": 0.0}
    assert coverage["unknown_share"] == shares


def test_the_name_of_a_special_token_in_a_text_is_an_unknown_word(tokens):
    vocab, _ = build(tokens(train=["<pad> <pad> <unk> a"]))
    assert vocab.tokens == [*SPECIAL_TOKENS, "a"]
    assert vocab.encode(["a", "<pad>", "<unk>", "b"]).tolist() == [2, UNKNOWN, UNKNOWN, UNKNOWN]


def test_encoding_gives_the_line_number_of_each_word_and_never_padding(tokens):
    folder = tokens(train=["the film , the end"])
    vocab, _ = build(folder)
    words = ["film", "the", ",", "end", "other", "The"]
    encoded = vocab.encode(words)
    assert encoded.dtype == np.int32
    assert [vocab.tokens[i] for i in encoded] == ["film", "the", ",", "end", "<unk>", "<unk>"]
    assert vocab.encode([]).tolist() == []
    types = read_lines(folder / "types.txt", made_by="tokenize")
    assert [vocab.tokens[i] for i in vocab.encode(types)] == types


def test_a_vocabulary_comes_back_from_its_file(tmp_path):
    vocab = Vocab([*SPECIAL_TOKENS, "a", "é", "😀", "\u2028", '"'])
    vocab.save(tmp_path / "vocab.txt")
    assert Vocab.load(tmp_path / "vocab.txt").tokens == vocab.tokens


def test_train_without_a_word_is_refused(tokens):
    with pytest.raises(UserError, match=r"train\.arrow has no token; train needs texts with word"):
        build(tokens(train=["", ""], test=["a"]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a\nb\n", r"it does not begin with \('<pad>', '<unk>'\)"),
        (b"<unk>\n<pad>\na\n", "it does not begin with"),
        (b"<pad>\n<unk>\na\nb\na\n", "a token occurs twice"),
        (b"<pad>\n<unk>\na", "it does not end with a line break"),
        (b"", "it does not end with a line break"),
        (b"<pad>\n<unk>\n\xff\n", "codec can't decode byte 0xff"),
    ],
)
def test_a_corrupt_vocabulary_is_reported_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    fix = r"\); `dvc repro --force build_vocab` creates it again$"
    with pytest.raises(UserError, match=rf"vocab\.txt is corrupt \(.*{reason}.*{fix}"):
        Vocab.load(path)


@pytest.mark.parametrize("name", ["corpus.json", "types.txt", "train.arrow"])
def test_a_missing_input_is_reported_with_its_stage(tokens, name):
    folder = tokens(train=["a"])
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing; `dvc repro tokenize` makes it"):
        build(folder)


def test_a_missing_vocabulary_is_reported_with_its_stage(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.txt is missing; `dvc repro build_vocab` makes it"):
        Vocab.load(tmp_path / "vocab.txt")
