"""Whether `tokenize.language` fits the texts, by the languages that stage download guessed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spacy.language import Language

MOST = 0.5  # more than this share of the texts
SHOWN_SHARE = 0.05  # languages with a smaller share are not listed
CHARACTERS, MULTIPLE = "zh", "xx"  # spaCy's codes for single characters, and for any language
NO_SPACES = ("bo", "ja", "km", "lo", "my", "th", "wuu", "yue", "zh")  # no spaces between words
SPACY_CODES = {"arz": "ar", "no": "nb", "wuu": "zh", "yue": "zh"}  # where spaCy has another code


def language_advice(language: str, counts: Mapping[str, int]) -> str:
    """Return one line if most texts seem to be in other languages than `language`, or else nothing.

    Args:
        language: spaCy's code of the rules that split the texts.
        counts: the number of texts by the ISO code of their guessed language, or "unknown".
    """
    guessed = {code: count for code, count in counts.items() if code != "unknown"}
    total = sum(guessed.values())
    if total <= MOST * sum(counts.values()):
        return ""
    shares: dict[str, float] = {}
    for code, count in guessed.items():
        code = SPACY_CODES.get(code, code)
        shares[code] = shares.get(code, 0) + count / total
    main = max(shares, key=shares.__getitem__)
    if shares[main] > MOST:
        fix, found = main, f"most texts of train seem to be in {_name(main)}"
        if not _spacy_language(main):
            fix = CHARACTERS if main in NO_SPACES else MULTIPLE
            found += ", for which spaCy has no rules"
    else:
        fix = MULTIPLE
        shown = [
            f"{_name(c)} {100 * share:.0f} %" for c, share in shares.items() if share >= SHOWN_SHARE
        ]
        found = f"the texts of train seem to be in several languages ({', '.join(shown)})"
    if language == fix or (language == MULTIPLE and main not in NO_SPACES):
        return ""
    return f"{found}, and tokenize.language is {language}; set tokenize.language: {fix}"


def _name(code: str) -> str:
    """The name of a language with its code, such as "Chinese (zh)"; else only its code."""
    known = _spacy_language(code)
    return f"{known.__name__} ({code})" if known else code


def _spacy_language(code: str) -> "type[Language] | None":
    """The class of a language in spaCy, such as `Chinese`, or None."""
    from spacy.util import get_lang_class

    try:
        return get_lang_class(code)
    except ImportError:
        return None
