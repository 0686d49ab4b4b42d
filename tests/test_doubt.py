"""The label "?": texts without a text, without a known word, or in another language."""

import json
import shutil

import numpy as np
import pytest
from conftest import RUNTIME

from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.core.seal import seal
from sentiformer.serving.doubt import Doubts, is_word
from sentiformer.serving.predictor import Predictor
from sentiformer.text.tokenizer import Tokenizer
from sentiformer.text.vocab import Vocab

ENGLISH = "the film was a great story with its cast and i am not bored of it this is very good"
KNOWN = Vocab([*SPECIAL_TOKENS, *dict.fromkeys(ENGLISH.split()), "!", ".", "10/10", "😀"])
FOREIGN = {
    "German": "Der Film war leider ziemlich langweilig.",
    "French": "Je me suis ennuyé pendant tout le film.",
    "Spanish": "La película es maravillosa y muy emocionante.",
    "Italian": "Mi sono annoiato per tutto il film.",
    "Portuguese": "Não recomendo este filme a ninguém.",
    "Dutch": "Ik heb me de hele film verveeld.",
    "Polish": "Nie polecam tego filmu nikomu.",
    "Turkish": "Bu filmi kimseye tavsiye etmiyorum.",
    "Russian": "Мне было скучно весь фильм.",
    "Chinese": "这部电影真的非常精彩，很感人。",
    "Japanese": "この映画は本当に素晴らしくて感動的です。",
    "Arabic": "شعرت بالملل طوال الفيلم كله",
    "Hindi": "मैं पूरी फिल्म में ऊब गया था।",
}


def reasons(*texts, languages=None):
    languages = {"en": 99, "unknown": 1} if languages is None else languages
    tokens = Tokenizer("en")(texts)
    ids = [KNOWN.encode(words) for words in tokens]
    return Doubts(KNOWN, languages).reasons(texts, tokens, ids)


@pytest.mark.parametrize("text", ["", " ", "\n\t\u3000"])
def test_white_space_is_no_text(text):
    assert reasons(text) == ["no text"]


@pytest.mark.parametrize("text", ["asdf qwer zxcv", "!!!", "...", "<br />", "\0", "<pad>", "12345"])
def test_unknown_words_and_punctuation_are_no_known_word(text):
    assert reasons(text) == ["no known word"]


@pytest.mark.parametrize("text", ["good", "asdf qwer zxcv good", "GOOD!!!", "10/10", "😀"])
def test_one_known_word_or_number_or_emoji_is_enough(text):
    assert reasons(text) == [""]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_text_in_another_language_is_named(name):
    (reason,) = reasons(FOREIGN[name])
    assert reason.startswith(f"the text seems to be in {name} (")
    assert reason.endswith("); the model was trained on English (en)")


def test_a_text_in_the_language_of_the_model_is_answered_even_if_the_guess_is_wrong():
    texts = [ENGLISH, "horrible film", "a great film", "This is the story of Amélie Poulain"]
    assert reasons(*texts) == [""] * len(texts)


def test_each_text_keeps_its_own_reason():
    found = reasons(FOREIGN["German"], "a great film", "", FOREIGN["French"], "qwer")
    assert ["German" in found[0], found[1], found[2]] == [True, "", "no text"]
    assert ["French" in found[3], found[4]] == [True, "no known word"]


def test_the_languages_of_a_model_have_a_real_share_of_its_training_texts():
    german, known = FOREIGN["German"], "das ist ein sehr guter film"
    assert "English (en)" in reasons(german, languages={"en": 96, "de": 4})[0]
    assert reasons(known, languages={"en": 94, "de": 6}) == [""]
    (reason,) = reasons(FOREIGN["French"], languages={"en": 50, "de": 50})
    assert reason.endswith("the model was trained on English (en), German (de)")


@pytest.mark.parametrize("languages", [{}, {"en": 40, "unknown": 60}, {"unknown": 9}])
def test_without_known_languages_of_the_training_texts_there_is_no_check(languages):
    assert reasons("das ist ein film with its cast", languages=languages) == [""]
    assert reasons(FOREIGN["Japanese"], languages=languages) == ["no known word"]


def test_a_word_has_a_letter_a_digit_or_an_emoji():
    assert all(map(is_word, ["a", "10/10", "don't", "電", "é", "👍", "فيلم"]))
    assert not any(map(is_word, ["!", "...", "--", ":)", "$", " ", ""]))


def test_the_languages_are_those_in_the_files_of_the_model(data, tmp_path):
    folder = shutil.copytree(data / "model", tmp_path / "model")
    about = json.loads((folder / "config.json").read_text())
    text = "der film war langweilig und schlecht gemacht"
    train = about["data"]["splits"]["train"]
    for languages, label in (({"en": 9}, "?"), ({"de": 9}, None), (None, None)):
        train.pop("languages", None)
        if languages is not None:
            train["languages"] = languages
        (folder / "config.json").write_text(json.dumps(about))
        seal(folder)
        (prediction,) = Predictor.load(folder, RUNTIME)([text])
        assert (prediction.label == "?") is (label == "?")
        assert bool(prediction.reason) is (label == "?")
        assert np.isclose(sum(prediction.probabilities.values()), 1)
