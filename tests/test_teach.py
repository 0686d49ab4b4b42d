"""Stage teach: which texts and spans it labels, and how each teacher labels them."""

import json
import shutil
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import RUNTIME
from test_baselines import tokens_of
from test_evaluation import DAMAGES, change_json

from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.baselines.params import TeachParams
from sentiformer.core.errors import UserError
from sentiformer.core.names import PSEUDO_LABELLED, PSEUDO_LABELS
from sentiformer.serving import trained_model
from sentiformer.serving.teach import LEAST, MOST, draw_span, split_sentences, teach
from sentiformer.text.corpus import Corpus, read_types
from sentiformer.text.tokenizer import Tokenizer

REVIEW = 'A "fine" film!  I liked it.<br /><br />Mr. Fox said "no." (He did.) Why? it\u00a0ends… so'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            REVIEW,
            'A "fine" film!|I liked it.|Mr.|Fox said "no."|(He did.)|Why?|it\u00a0ends…|so',
        ),
        ("one chunk.no end", "one chunk.no end"),
        ("<br />a<br /> <br />b<br />", "a|b"),
        ("", ""),
        (" \n\t", ""),
        ("很好。真的!不好", "很好。真的!不好"),
    ],
)
def test_a_text_is_split_after_sentences_and_at_line_breaks(text, expected):
    assert split_sentences(text, characters=False) == [part for part in expected.split("|") if part]


def test_a_text_of_characters_is_split_without_white_space():
    text = "他说：“很好。”真的？！不好。 Fine. ok"
    expected = "他说：“很好。”|真的？！|不好。|Fine.|ok".split("|")
    assert split_sentences(text, characters=True) == expected


@pytest.mark.parametrize("language", ["en", "xx", "zh", "de"])
def test_the_tokens_of_the_sentences_are_those_of_the_text(language):
    tokenizer = Tokenizer(language)
    characters = tokenizer.segmenter == "characters"
    rng = np.random.default_rng(0)
    parts = [*REVIEW.split(" "), "<br />", "。", "好！", "u.s.", "...", "x" * 1500, "İ", "!?:("]
    for _ in range(100):
        text = "".join(rng.choice([*parts, " ", " "], 30))
        found = tokenizer(split_sentences(text, characters=characters))
        assert [*chain.from_iterable(found)] == tokenizer([text])[0]


def runs_of(lengths):
    """All runs of sentences that are spans."""
    runs = [(i, j) for i in range(len(lengths)) for j in range(i + 1, len(lengths) + 1)]
    fits = [run for run in runs if LEAST <= sum(lengths[slice(*run)]) <= MOST]
    return {run for run in fits if run != (0, len(lengths))}


@pytest.mark.parametrize("seed", range(30))
def test_spans_are_drawn_from_all_runs_of_sentences_with_the_right_length(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, seed % 10).tolist()
    drawn = {draw_span(lengths, rng) and True for _ in range(10)}
    assert drawn == {True if runs_of(lengths) else None}


def test_each_span_is_equally_likely():
    lengths, rng = [3, 3, 20, 30, 45, 5], np.random.default_rng(0)
    found = [draw_span(lengths, rng) for _ in range(3000)]
    counts = pd.Series([(span.start, span.stop) for span in found]).value_counts()
    assert set(counts.index) == runs_of(lengths)
    assert counts.min() > 0.8 * 3000 / len(counts)


def test_a_long_text_is_fast():
    span = draw_span([7] * 10_000, np.random.default_rng(0))
    assert 1 <= span.stop - span.start <= 5
    assert split_sentences("a" + " " * 1_000_000 + "b", characters=True)


def run(data, by, name="teacher"):
    """Run the stage; return its texts as tokens, the probabilities, and `config.json`."""
    folder = data / name
    folder.mkdir(exist_ok=True)
    teach(TeachParams(by=by), data, folder, RUNTIME)
    texts, types = Corpus(folder / PSEUDO_LABELLED), read_types(data / "tokens")
    assert (texts.labels == -1).all()
    tokens = [[types[i] for i in texts[row].tolist()] for row in range(len(texts))]
    about = json.loads((folder / "config.json").read_text())
    return tokens, np.load(folder / PSEUDO_LABELS), about


def contains(whole, part):
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))


def test_unlabelled_texts_and_spans_are_labelled_by_the_baseline(unlabeled_data):
    tokens, probabilities, about = run(unlabeled_data, "nb_trigrams")
    unlabeled, train = (tokens_of(unlabeled_data, split) for split in ("unlabeled", "train"))
    spans_of = {tuple(text): 0 for text in (*train, *unlabeled)}
    texts = iter(train)
    whole, text = [], None
    for found in tokens:  # spans of train, then each unlabelled text and its span
        if found in unlabeled:
            whole.append(text := found)
            texts = iter(())
        else:
            assert LEAST <= len(found) <= MOST
            text = next((t for t in texts if contains(t, found)), text)
            assert len(found) < len(text)
            assert contains(text, found)
            spans_of[tuple(text)] += 1
    assert whole == unlabeled
    spans = len(tokens) - len(whole)
    assert max(spans_of.values()) == 1
    assert spans > 0.9 * len(spans_of)
    assert about == {"by": "nb_trigrams", "texts": len(whole), "spans": spans}
    model = NgramModel.load(unlabeled_data / "baseline" / "ngrams")
    assert probabilities == pytest.approx(model.probabilities(tokens), abs=1e-6)
    assert probabilities.dtype == np.float32


def test_the_bundled_texts_have_only_spans_of_train(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "raw" / "test.parquet").unlink()
    tokens, _, about = run(folder, "nb_trigrams")
    assert about == {"by": "nb_trigrams", "texts": 0, "spans": len(tokens)}


def test_a_split_without_unlabelled_texts_has_only_spans_of_train(unlabeled_data):
    path = unlabeled_data / "raw" / "unlabeled.parquet"
    pd.read_parquet(path).iloc[:0].to_parquet(path)
    change_json(
        unlabeled_data / "tokens" / "corpus.json",
        lambda about: about["splits"]["unlabeled"].update(rows=0),
    )
    tokens, _, about = run(unlabeled_data, "nb_trigrams")
    assert about == {"by": "nb_trigrams", "texts": 0, "spans": len(tokens)}


def test_the_files_are_the_same_each_time(unlabeled_data):
    for name in ("one", "two"):
        run(unlabeled_data, "nb_trigrams", name)
    for file in ("config.json", PSEUDO_LABELLED, PSEUDO_LABELS):
        one, two = ((unlabeled_data / name / file).read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.fixture
def encoder(unlabeled_data, monkeypatch):
    """A stub in place of a fine-tuned encoder; the list of the texts that it was given."""
    seen = []

    def probabilities(texts, tokens):
        seen.extend(zip(texts, tokens, strict=True))
        second = np.array([len(text) % 7 / 7 for text in texts])
        return np.stack([1 - second, second], axis=1)

    def load(folder, runtime, precision):
        assert (folder, runtime, precision) == (unlabeled_data / "finetuned", RUNTIME, "auto")
        return SimpleNamespace(probabilities=probabilities)

    monkeypatch.setattr(trained_model, "load_classifier", load)
    (unlabeled_data / "finetuned").mkdir(exist_ok=True)
    about = {"stage": "finetune", "params": {"encoder": {"name": "owner/name"}}}
    (unlabeled_data / "finetuned" / "config.json").write_text(json.dumps(about))
    return seen


def test_the_encoder_labels_the_raw_texts(unlabeled_data, encoder):
    tokens, probabilities, about = run(unlabeled_data, "encoder")
    assert about["by"] == "encoder"
    raw = pd.read_parquet(unlabeled_data / "raw" / "unlabeled.parquet")["text"].tolist()
    texts = [text for text, _ in encoder]
    assert [text for text in texts if text in raw] == raw
    assert Tokenizer("en")(texts) == [given for _, given in encoder] == tokens
    assert not any("<br />" in text for text in texts if text not in raw)
    assert probabilities[:, 1] == pytest.approx([len(text) % 7 / 7 for text in texts])


def test_the_ensemble_takes_the_mean_of_the_logits(unlabeled_data, encoder):
    ngrams = run(unlabeled_data, "nb_trigrams", "ngrams")[1].astype(float)
    alone = run(unlabeled_data, "encoder", "alone")[1].astype(float)
    both = run(unlabeled_data, "ensemble", "both")[1]
    product = np.sqrt(ngrams * alone)
    expected = product / product.sum(axis=1, keepdims=True)
    assert both == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(both).all()
    assert both.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("by", ["encoder", "ensemble"])
def test_a_teacher_without_an_encoder_is_one_line(unlabeled_data, encoder, by, monkeypatch):
    change_json(
        unlabeled_data / "finetuned" / "config.json",
        lambda about: about["params"]["encoder"].update(name=None),
    )
    monkeypatch.undo()  # of the stub
    with pytest.raises(
        UserError, match=r"^.*finetuned holds no encoder: encoder\.name was null; .*"
    ):
        run(unlabeled_data, by)


def test_nothing_to_label_is_one_line(data, tmp_path, monkeypatch):
    monkeypatch.setitem(teach.__globals__, "LEAST", 1000)
    folder = shutil.copytree(data, tmp_path / "data")
    with pytest.raises(UserError, match=r"^params.yaml: teach.by is nb_trigrams, but .* to null$"):
        run(folder, "nb_trigrams")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    [
        *("raw/train.parquet", "raw/unlabeled.parquet", "tokens/corpus.json", "tokens/types.txt"),
        *("baseline/ngrams/words.txt", "baseline/ngrams/model.safetensors"),
    ],
)
def test_a_missing_or_corrupt_file_is_named_in_one_line(unlabeled_data, name, damage):
    DAMAGES[damage](unlabeled_data / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"ngrams/.* is {word}|{name} is {word}") as error:
        run(unlabeled_data, "nb_trigrams")
    assert "\n" not in str(error.value)


def test_texts_of_other_types_are_one_line(unlabeled_data):
    path = unlabeled_data / "raw" / "train.parquet"
    table = pd.read_parquet(path)
    table["text"] = "A word that is zyzzyva. And many more of them follow here. The end."
    table.to_parquet(path)
    with pytest.raises(UserError, match=r"types\.txt is corrupt \(it lacks '\w+'\); `dvc repro"):
        run(unlabeled_data, "nb_trigrams")
