"""The line that says that tokenize.language does not fit the texts."""

import pytest

from sentiformer.text.language import language_advice

ENGLISH_GERMAN_FRENCH = {"en": 40, "de": 35, "fr": 24, "it": 1}


@pytest.mark.parametrize(
    ("language", "counts", "advice"),
    [
        (
            "en",
            {"zh": 90, "en": 5, "unknown": 10},
            "most texts of train seem to be in Chinese (zh), and tokenize.language is en; "
            "set tokenize.language: zh",
        ),
        (
            "en",
            ENGLISH_GERMAN_FRENCH,
            "the texts of train seem to be in several languages (English (en) 40 %, German (de) "
            "35 %, French (fr) 24 %), and tokenize.language is en; set tokenize.language: xx",
        ),
        (
            "en",
            {"my": 9},
            "most texts of train seem to be in the language my, for which spaCy has no rules, "
            "and tokenize.language is en; set tokenize.language: zh",
        ),
    ],
)
def test_the_line_names_the_languages_the_value_and_a_better_one(language, counts, advice):
    assert language_advice(language, counts) == advice


@pytest.mark.parametrize(
    ("language", "counts", "better"),
    [
        ("de", {"en": 9}, "en"),
        ("xx", {"zh": 9, "en": 1}, "zh"),
        ("en", {"no": 9}, "nb"),
        ("en", {"yue": 5, "zh": 4, "en": 1}, "zh"),
        ("en", {"be": 9}, "xx"),
    ],
)
def test_the_better_language_is_one_of_spacy(language, counts, better):
    assert language_advice(language, counts).endswith(f"set tokenize.language: {better}")


@pytest.mark.parametrize(
    ("language", "counts"),
    [
        ("en", {}),
        ("en", {"unknown": 9}),
        ("en", {"zh": 4, "unknown": 9}),
        ("en", {"en": 6, "zh": 4}),
        ("xx", ENGLISH_GERMAN_FRENCH),
        ("xx", {"en": 9}),
        ("nb", {"no": 9}),
        ("zh", {"my": 9}),
    ],
)
def test_nothing_is_said_if_the_language_fits_or_is_unknown(language, counts):
    assert language_advice(language, counts) == ""
