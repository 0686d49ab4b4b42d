"""Spellings of labels: which of them mean the same, surely or perhaps.

A label has a spelling as text, also if it is a number in the data.
"""

import re
from fractions import Fraction
from html import unescape
from unicodedata import normalize

# Characters that show nothing: zero-width spaces, byte order marks, soft hyphens, bidi marks, ...
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufeff\uffa0\ufff9-\ufffb]"
)
JOINERS = re.compile("[\u200c\u200d\ufe00-\ufe0f]")  # these change how their neighbours look
ALIKE = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-")
    | dict.fromkeys("\u2018\u2019\u201a\u201b\u02b9\u02bb\u02bc\u02c8\u2032\u00b4`\ua78c", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"')
    | {"_": " "}
)
NUMBER = re.compile(r"[+-]?(\d{1,100}(\.\d{0,100})?|\.\d{1,100})(e[+-]?\d{1,2})?", re.IGNORECASE)


def clean(spelling: str) -> str:
    """The spelling without invisible characters, in NFC, and with single spaces inside only."""
    return " ".join(normalize("NFC", INVISIBLE.sub("", spelling)).split())


def exact_key(spelling: str) -> str:
    """Equal for spellings that surely mean the same: no reader sees a difference."""
    return clean(JOINERS.sub("", spelling))


def number_value(spelling: str) -> Fraction | None:
    """The value of a spelling such as `1`, `1.0`, `01`, `+1`, `1e0`, also in full-width digits."""
    found = NUMBER.fullmatch(normalize("NFKC", exact_key(spelling)).translate(ALIKE))
    return Fraction(found[0]) if found else None


def loose_key(spelling: str) -> str:
    """Equal for spellings that perhaps mean the same.

    They differ in case, dashes, apostrophes, quotes, underscores, compatible characters such as
    full-width letters, HTML entities, or how a number is written.
    """
    text = exact_key(normalize("NFKC", unescape(spelling).translate(ALIKE)).casefold())
    value = number_value(text.replace(",", "."))
    return re.sub(r" ?- ?", "-", text) if value is None else str(value)
