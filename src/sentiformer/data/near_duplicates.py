"""Near-duplicates between splits: found, counted and listed, but not removed.

The similarity of two texts is the Jaccard similarity of their sets of shingles, which are sequences
of three words (Broder 1997, On the resemblance and containment of documents). MinHash finds the
candidates (`minhash.py`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple
from unicodedata import category, name, normalize

from sentiformer.core.files import write_csv
from sentiformer.data.minhash import Index
from sentiformer.data.splits import HELD_OUT

SHINGLE_WORDS = 3
THRESHOLD = 0.5  # reached when one word of nine is replaced; 1.0 means the same shingles
LOWEST_ESTIMATE = THRESHOLD - 0.15  # three standard errors of an estimate from 90 values
EXCERPT_CHARACTERS = 200
NO_SPACES = (  # Unicode's names of characters of scripts that do not separate words by spaces
    "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI ", "THAI", "LAO", "MYANMAR",
    "KHMER", "TAI ", "NEW TAI", "JAVANESE", "BALINESE",
)  # fmt: skip


class _SpacedWords(dict[int, str]):
    """For `str.translate`: keeps letters, marks and digits, and puts spaces between the words.

    A character of a script without spaces is a word of its own. Invisible characters are dropped.
    """

    def __missing__(self, code: int) -> str:
        character, kind = chr(code), category(chr(code))
        if kind[0] not in "LMN":  # letters, marks and numbers
            spaced = "" if kind == "Cf" else " "
        else:
            alone = name(character, "").startswith(NO_SPACES)
            spaced = f" {character} " if alone else character
        self[code] = spaced
        return spaced


SPACED_WORDS = _SpacedWords()


class Match(NamedTuple):
    """A text of test or validation and its nearest text in another split; rows count from 0."""

    split: str
    row: int
    other_split: str
    other_row: int
    similarity: float


def find_near_duplicates(
    texts: Mapping[str, Sequence[str]], folder: Path | None = None
) -> list[Match]:
    """Find the texts of test and validation that have a near-duplicate in another split.

    For each text the candidate with the highest estimate is compared exactly; of equally similar
    texts the first is the match. The matches are sorted by splits and falling similarity. A
    temporary file is written to `folder`.
    """
    others, matches = _other_splits(texts), []
    first, second = HELD_OUT
    with TemporaryFile(dir=folder) as file:
        index = Index((shingles(text) for split in HELD_OUT for text in texts[split]), file)
        for other in others["test"]:
            best: dict[tuple[str, int], tuple[float, int]] = {}  # by split and row
            for other_row, key, estimate in index.search(map(shingles, texts[other])):
                below = key - len(texts[first])
                place = (first, key) if below < 0 else (second, below)
                is_better = estimate > best.get(place, (LOWEST_ESTIMATE, 0))[0]
                if other in others[place[0]] and is_better:
                    best[place] = estimate, other_row
            for (split, row), (_, other_row) in best.items():
                similarity = jaccard(texts[split][row], texts[other][other_row])
                if similarity >= THRESHOLD:
                    matches.append(Match(split, row, other, other_row, round(similarity, 4)))
    return sorted(matches, key=lambda m: (m.split, m.other_split, -m.similarity, m.row))


def _other_splits(splits: Collection[str]) -> dict[str, list[str]]:
    """The splits that test and validation are compared with; these two are compared once."""
    return {
        "test": [split for split in splits if split != "test"],
        "validation": [split for split in splits if split not in HELD_OUT],
    }


def count_matches(matches: Iterable[Match], splits: Collection[str]) -> dict[str, dict[str, int]]:
    """Count the texts of test and of validation that have a near-duplicate in each other split."""
    counts = {split: dict.fromkeys(names, 0) for split, names in _other_splits(splits).items()}
    for match in matches:
        counts[match.split][match.other_split] += 1
    return counts


def write_matches(path: Path, matches: Iterable[Match], texts: Mapping[str, Sequence[str]]) -> None:
    """Write a CSV with one row for each match, which shows the beginnings of both texts."""
    rows = (
        match._asdict()
        | {"text": texts[match.split][match.row][:EXCERPT_CHARACTERS]}
        | {"other_text": texts[match.other_split][match.other_row][:EXCERPT_CHARACTERS]}
        for match in matches
    )
    write_csv(path, [*Match._fields, "text", "other_text"], rows)


def shingles(text: str) -> list[str]:
    """The sequences of three words, lower-cased and without punctuation; a shorter text is one.

    In scripts without spaces, such as Chinese, Japanese or Thai, each character is a word. So is
    each character of a text without words, such as emoji.
    """
    plain = normalize("NFKC", text.replace("<br />", " ")).lower()
    words = plain.translate(SPACED_WORDS).split() or list("".join(plain.split()))
    sequences = zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)
    return [" ".join(sequence) for sequence in sequences] or [" ".join(words)]


def jaccard(first: str, second: str) -> float:
    """The number of shingles that two texts share, divided by the number that either has."""
    a, b = set(shingles(first)), set(shingles(second))
    return len(a & b) / len(a | b)
