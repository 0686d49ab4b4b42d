"""Near-duplicates between splits: found, counted and listed, but not removed.

The similarity of two texts is the Jaccard similarity of their sets of shingles, which are sequences
of three words (Broder 1997, On the resemblance and containment of documents). The package `rensa`
computes MinHash signatures, which estimate it. Texts whose signatures agree in all values of a band
are candidates (Leskovec, Rajaraman and Ullman 2014, Mining of Massive Datasets, chapter 3). For
each text the candidate with the highest estimate is compared exactly. Memory holds the signatures
of validation and test, 180 bytes a text, and one chunk of those of another split.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sentiformer.core.files import write_csv
from sentiformer.data.splits import HELD_OUT
from sentiformer.data.text_store import blocks

if TYPE_CHECKING:
    import numpy as np

SHINGLE_WORDS = 3
THRESHOLD = 0.5  # reached when one word of nine is replaced; 1.0 means the same shingles
BANDS, BAND_VALUES = 30, 3  # find 98 % of the texts with similarity 0.5, 99.9 % with 0.6
MARGIN = 0.15  # three standard errors of an estimate from 90 values
SEED = 1
BLOCK_CHARACTERS = 2**20  # in memory at a time; their shingles take twenty times as many bytes
CHUNK_TEXTS = 2**15
EXCERPT_CHARACTERS = 200
NO_SPACES = (  # characters of scripts that do not separate words by spaces, with their marks
    "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Hiragana, Katakana
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0eaf\u0eb0-\u0ece"  # Thai, Lao
    "\u1000-\u103f\u1050-\u108f\u1780-\u17d3"  # Burmese, Khmer
)
WORD = re.compile(rf"[^\W{NO_SPACES}]+|[{NO_SPACES}]")


class Match(NamedTuple):
    """A text of test or validation and its nearest text in another split; rows count from 0."""

    split: str
    row: int
    other_split: str
    other_row: int
    similarity: float


def find_near_duplicates(texts: Mapping[str, Sequence[str]]) -> list[Match]:
    """Find the texts of test and validation that have a near-duplicate in another split.

    Args:
        texts: the texts of each split; their order decides between equally similar ones.

    Returns:
        a match for each such text and other split, by splits and falling similarity.
    """
    known = {split: _all_signatures(texts[split]) for split in HELD_OUT}
    others = _other_splits(texts)
    matches = []
    for other in texts:
        searches = {s: CandidateSearch(known[s]) for s in HELD_OUT if other in others[s]}
        for chunk in _signature_chunks(texts[other]) if searches else ():
            for search in searches.values():
                search.update(chunk)
        for split, search in searches.items():
            for row, other_row in search.candidates():
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

    In scripts without spaces, such as Chinese, Japanese or Thai, each character is a word.
    """
    plain = text.lower().replace("<br />", " ")
    words = WORD.findall(plain) or plain.split()
    sequences = zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)
    return [" ".join(sequence) for sequence in sequences] or [" ".join(words)]


def jaccard(first: str, second: str) -> float:
    """The number of shingles that two texts share, divided by the number that either has."""
    a, b = set(shingles(first)), set(shingles(second))
    return len(a & b) / len(a | b)


def signatures(texts: Iterable[str]) -> "np.ndarray":
    """MinHash signatures, (N, 90) in uint16.

    Only the lowest 16 bits of each value are kept; different values agree in them by chance once
    in 65,536 times (Li and König 2010, b-bit minwise hashing).
    """
    import numpy as np
    from rensa import RMinHash

    values = RMinHash.digest_matrix_from_token_sets(
        [shingles(text) for text in texts], num_perm=BANDS * BAND_VALUES, seed=SEED
    )
    return np.array(values.to_rows(), dtype=np.uint32).astype(np.uint16)


class CandidateSearch:
    """For each of N texts, the candidate with the highest estimated similarity.

    Args:
        signatures: of the N texts, (N, 90).
    """

    def __init__(self, signatures: "np.ndarray") -> None:
        import numpy as np

        self._signatures = signatures
        self._estimates = np.zeros(len(signatures), dtype=np.float32)
        self._others = np.zeros(len(signatures), dtype=np.int64)
        self._compared = 0

    def update(self, others: "np.ndarray") -> None:
        """Compare with the signatures of further texts, (M, 90).

        If several of these agree with a text in the same band, only the first is a candidate.
        """
        import numpy as np

        for start in range(0, BANDS * BAND_VALUES, BAND_VALUES):
            band = slice(start, start + BAND_VALUES)
            keys, firsts = np.unique(_band_keys(others[:, band]), return_index=True)
            sought = _band_keys(self._signatures[:, band])
            found = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
            rows = np.flatnonzero(keys[found] == sought)
            candidates = firsts[found[rows]]
            estimates = (self._signatures[rows] == others[candidates]).mean(axis=1)
            better = estimates > self._estimates[rows]
            self._estimates[rows[better]] = estimates[better]
            self._others[rows[better]] = self._compared + candidates[better]
        self._compared += len(others)

    def candidates(self) -> Iterator[tuple[int, int]]:
        """Yield the row of each text with a likely near-duplicate, and the row of that one."""
        import numpy as np

        for row in np.flatnonzero(self._estimates >= THRESHOLD - MARGIN):
            yield int(row), int(self._others[row])


def _band_keys(band: "np.ndarray") -> "np.ndarray":
    """The values of a band, (N, 3), as one number of 48 bits for each text, (N,)."""
    import numpy as np

    shifts = np.array([32, 16, 0], dtype=np.uint64)
    return (band.astype(np.uint64) << shifts).sum(axis=1)


def _signature_chunks(texts: Sequence[str]) -> "Iterator[np.ndarray]":
    """Yield the signatures of about `CHUNK_TEXTS` texts at a time."""
    import numpy as np

    parts: list[np.ndarray] = []
    for block in blocks(zip(texts), characters=BLOCK_CHARACTERS):
        parts.append(signatures(text for (text,) in block))
        if sum(map(len, parts)) >= CHUNK_TEXTS:
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)


def _all_signatures(texts: Sequence[str]) -> "np.ndarray":
    import numpy as np

    none = np.zeros((0, BANDS * BAND_VALUES), dtype=np.uint16)
    return np.concatenate([none, *_signature_chunks(texts)])
