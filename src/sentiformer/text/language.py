"""Whether `tokenize.language` fits the texts, by the languages that stage download guessed."""

from collections.abc import Mapping

from sentiformer.core.languages import MAIN_SHARE, language_name, language_shares, spacy_name

MOST = 0.5  # more than this share of the texts
CHARACTERS, MULTIPLE = "zh", "xx"  # spaCy's codes for single characters, and for any language
NO_SPACES = ("bo", "ja", "km", "lo", "my", "th", "wuu", "yue", "zh")  # no spaces between words
SPACY_CODES = {"arz": "ar", "no": "nb", "wuu": "zh", "yue": "zh"}  # where spaCy has another code


def language_advice(language: str, counts: Mapping[str, int]) -> str:
    """Return one line if most texts seem to be in other languages than `language`, or else nothing.

    Args:
        language: spaCy's code of the rules that split the texts.
        counts: the number of texts by the ISO code of their guessed language, or "unknown".
    """
    shares: dict[str, float] = {}
    for code, share in language_shares(counts).items():
        code = SPACY_CODES.get(code, code)
        shares[code] = shares.get(code, 0) + share
    if not shares:
        return ""
    main = max(shares, key=shares.__getitem__)
    if shares[main] > MOST:
        fix, found = main, f"most texts of train seem to be in {language_name(main)}"
        if not spacy_name(main):
            fix = CHARACTERS if main in NO_SPACES else MULTIPLE
            found += ", for which spaCy has no rules"
    else:
        fix = MULTIPLE
        shown = [
            f"{language_name(c)} {100 * share:.0f} %"
            for c, share in shares.items()
            if share >= MAIN_SHARE
        ]
        found = f"the texts of train seem to be in several languages ({', '.join(shown)})"
    if language == fix or (language == MULTIPLE and main not in NO_SPACES):
        return ""
    return f"{found}, and tokenize.language is {language}; set tokenize.language: {fix}"
