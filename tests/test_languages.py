"""Guessed languages."""

import pytest

from sentiformer.core.languages import guess_languages


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
