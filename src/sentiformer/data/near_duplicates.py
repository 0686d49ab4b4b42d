"""Texts that nearly stand in another split, too: counted and shown, but left where they are.

How alike two texts are is the Jaccard similarity of their shingles, the sets of their runs of three
words (Broder 1997, On the resemblance and containment of documents). MinHash signatures, of the
package `rensa`, estimate it. Texts whose signatures agree in a whole band are candidates
(Leskovec, Rajaraman and Ullman 2014, Mining of Massive Datasets, chapter 3), and the best of them
is compared text by text. Memory holds the signatures of the texts that judge a model, 180 bytes
each, and no more than a chunk of those that are held against them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sentiformer.core.files import write_csv
from sentiformer.data.text_store import blocks

if TYPE_CHECKING:
    import numpy as np

SHINGLE_WORDS = 3
THRESHOLD = 0.5  # where one word of nine differs in texts of equal length; 1.0 is the same words
BANDS, BAND_VALUES = 30, 3  # finds 98 of 100 pairs at the threshold, 999 of 1,000 at 0.6
MARGIN = 0.15  # three standard errors of an estimate from 90 values
SEED = 1
BLOCK_CHARACTERS = 2**20  # at a time; their shingles take twenty times as many bytes
CHUNK_TEXTS = 2**15
EXCERPT = 200  # characters shown of a text
JUDGES = ("test", "validation")
WORD = re.compile(r"\w+")


class Pair(NamedTuple):
    """A text of a split that judges, and its nearest in another; rows count from 0."""

    split: str
    row: int
    other_split: str
    other_row: int
    similarity: float


def find_near_duplicates(texts: Mapping[str, Sequence[str]]) -> list[Pair]:
    """Find the texts of test and validation that have a near-duplicate in another split.

    Args:
        texts: of each split; on their order depends which of several near-duplicates is named.

    Returns:
        for each such text and each other split its nearest there, by split and similarity.
    """
    judges = {split: _all_signatures(texts[split]) for split in JUDGES}
    pairs = []
    for other in texts:
        against = [s for s in JUDGES if s != other and (s, other) != ("validation", "test")]
        nearest = {split: Nearest(judges[split]) for split in against}
        for chunk in _chunks(texts[other]) if against else ():
            for of_split in nearest.values():
                of_split.see(chunk)
        for split, of_split in nearest.items():
            for row, other_row in of_split.candidates():
                similarity = jaccard(texts[split][row], texts[other][other_row])
                if similarity >= THRESHOLD:
                    pairs.append(Pair(split, row, other, other_row, round(similarity, 4)))
    return sorted(pairs, key=lambda p: (p.split, p.other_split, -p.similarity, p.row))


def count_pairs(pairs: Iterable[Pair], splits: Iterable[str]) -> dict[str, dict[str, int]]:
    """How many texts of test and of validation have a near-duplicate in each other split."""
    others = {
        "test": [split for split in splits if split != "test"],
        "validation": [split for split in splits if split not in JUDGES],
    }
    counts = {split: dict.fromkeys(names, 0) for split, names in others.items()}
    for pair in pairs:
        counts[pair.split][pair.other_split] += 1
    return counts


def write_pairs(path: Path, pairs: Iterable[Pair], texts: Mapping[str, Sequence[str]]) -> None:
    """Write a CSV with a row a pair, and how each of its two texts begins."""
    rows = (
        pair._asdict()
        | {"text": texts[pair.split][pair.row][:EXCERPT]}
        | {"other_text": texts[pair.other_split][pair.other_row][:EXCERPT]}
        for pair in pairs
    )
    write_csv(path, [*Pair._fields, "text", "other_text"], rows)


def shingles(text: str) -> list[str]:
    """The runs of three words, lower-cased, without punctuation; a shorter text is one shingle."""
    plain = text.lower().replace("<br />", " ")
    words = WORD.findall(plain) or plain.split()
    runs = zip(*(words[start:] for start in range(SHINGLE_WORDS)), strict=False)
    return [" ".join(run) for run in runs] or [" ".join(words)]


def jaccard(first: str, second: str) -> float:
    """The share of the shingles of two texts that both have."""
    a, b = set(shingles(first)), set(shingles(second))
    return len(a & b) / len(a | b)


def signatures(texts: Iterable[str]) -> "np.ndarray":
    """MinHash signatures, (N, 90) in uint16.

    Of each value the lowest 16 bits are kept, which agree by chance once in 65,536 times (Li and
    König 2010, b-bit minwise hashing).
    """
    import numpy as np
    from rensa import RMinHash

    values = RMinHash.digest_matrix_from_token_sets(
        [shingles(text) for text in texts], num_perm=BANDS * BAND_VALUES, seed=SEED
    )
    return np.array(values.to_rows(), dtype=np.uint32).astype(np.uint16)


class Nearest:
    """The nearest candidate of each text, by the estimate, among all that were seen.

    Args:
        judging: signatures of the texts, (N, 90).
    """

    def __init__(self, judging: "np.ndarray") -> None:
        import numpy as np

        self._judging = judging
        self._estimates = np.zeros(len(judging), dtype=np.float32)
        self._others = np.zeros(len(judging), dtype=np.int64)
        self._seen = 0

    def see(self, signatures: "np.ndarray") -> None:
        """Compare with more texts, (M, 90): in each band with the first that agrees in it."""
        import numpy as np

        for start in range(0, BANDS * BAND_VALUES, BAND_VALUES):
            band = slice(start, start + BAND_VALUES)
            keys, firsts = np.unique(_keys(signatures[:, band]), return_index=True)
            sought = _keys(self._judging[:, band])
            found = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
            rows = np.flatnonzero(keys[found] == sought)
            others = firsts[found[rows]]
            estimates = (self._judging[rows] == signatures[others]).mean(axis=1)
            better = estimates > self._estimates[rows]
            self._estimates[rows[better]] = estimates[better]
            self._others[rows[better]] = self._seen + others[better]
        self._seen += len(signatures)

    def candidates(self) -> Iterator[tuple[int, int]]:
        """Yield each text whose nearest may be a near-duplicate, and that: two row numbers."""
        import numpy as np

        for row in np.flatnonzero(self._estimates >= THRESHOLD - MARGIN):
            yield int(row), int(self._others[row])


def _keys(band: "np.ndarray") -> "np.ndarray":
    """A band's values, (N, 3), as one number of 48 bits a text."""
    import numpy as np

    shifts = np.array([32, 16, 0], dtype=np.uint64)
    return (band.astype(np.uint64) << shifts).sum(axis=1)


def _chunks(texts: Sequence[str]) -> "Iterator[np.ndarray]":
    """Yield the signatures of about `CHUNK_TEXTS` texts at a time, in their order."""
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
    return np.concatenate([none, *_chunks(texts)])
