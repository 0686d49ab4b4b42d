"""Guessed languages."""

import pytest

from sentiformer.core.languages import (
    guess_languages,
    language_name,
    language_shares,
    main_languages,
)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The parcel arrived broken,\nand no one answered.", "en"),
        ("Das Paket kam beschädigt an, und niemand antwortete.", "de"),
        ("これは最高の映画です", "ja"),
        ("这部电影非常好看", "zh"),
    ],
)
def test_the_language_of_a_sentence_is_guessed_with_certainty(text, code):
    (language,) = guess_languages([text])
    assert language.code == code
    assert 0.9 < language.probability <= 1


@pytest.mark.parametrize("text", ["", " \n", "12345", "\0", ":-)", "👍👍", "!!!"])
def test_a_text_without_words_has_no_probable_language(text):
    (language,) = guess_languages([text])
    assert language.probability < 0.2


def test_a_language_that_spacy_does_not_know_has_its_code():
    assert language_name("de") == "German (de)"
    assert language_name("xx1") == "the language xx1"


def test_shares_are_of_the_texts_whose_language_was_guessed():
    counts = {"en": 72, "de": 24, "fr": 4, "unknown": 60}
    assert language_shares(counts) == {"en": 0.72, "de": 0.24, "fr": 0.04}
    assert main_languages(counts) == {"en": 0.72, "de": 0.24}


@pytest.mark.parametrize("counts", [{}, {"unknown": 9}, {"en": 4, "unknown": 5}])
def test_shares_are_unknown_if_less_than_half_of_the_texts_have_a_guess(counts):
    assert language_shares(counts) == main_languages(counts) == {}
    assert language_shares({"en": 5, "unknown": 5}) == {"en": 1}
