"""What `dataset.json` says of the quality of the data: lengths, languages, rows left out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sentiformer.console.progress import progress
from sentiformer.core.languages import guess_languages
from sentiformer.core.process import ordered_map

if TYPE_CHECKING:
    import numpy as np

CERTAIN = 0.5  # the least probability of a guess that is counted
LANGUAGE_CHARACTERS = 100  # of a text; more would take longer and change few guesses
BLOCK_TEXTS = 1000
QUANTILES = {"min": 0.0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95, "max": 1.0}


def length_quantiles(lengths: "np.ndarray") -> dict[str, int]:
    """Quantiles of the lengths of texts, (N,); each is the length of a text. Empty if N is 0."""
    import numpy as np

    if not len(lengths):
        return {}
    values = np.quantile(lengths, list(QUANTILES.values()), method="lower").tolist()
    return dict(zip(QUANTILES, values, strict=True))


def count_languages(
    texts: Mapping[str, Sequence[str]], *, workers: int
) -> dict[str, dict[str, int]]:
    """Count the guessed languages of the texts of each split, the most frequent one first.

    The key is a code of ISO 639, or "unknown" for guesses with a probability below `CERTAIN`, which
    are the last.
    """
    counts = {split: Counter[str]() for split in texts}
    total = sum(-(-len(of_split) // BLOCK_TEXTS) for of_split in texts.values())
    blocks = ordered_map(_count_block, _blocks(texts), workers=workers)
    for split, found in progress(blocks, total=total, what="guess languages, blocks of texts"):
        counts[split] += found
    return {split: _most_frequent_first(found) for split, found in counts.items()}


def _blocks(texts: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the beginnings of `BLOCK_TEXTS` texts of one split; the last may be fewer."""
    for split, of_split in texts.items():
        for start in range(0, len(of_split), BLOCK_TEXTS):
            rows = range(start, min(start + BLOCK_TEXTS, len(of_split)))
            yield split, [of_split[row][:LANGUAGE_CHARACTERS] for row in rows]


def _count_block(block: tuple[str, list[str]]) -> tuple[str, Counter[str]]:
    split, texts = block
    guesses = guess_languages(texts)
    return split, Counter(g.code if g.probability >= CERTAIN else "unknown" for g in guesses)


def _most_frequent_first(counts: Counter[str]) -> dict[str, int]:
    order = sorted(counts, key=lambda code: (code == "unknown", -counts[code], code))
    return {code: counts[code] for code in order}


def summarize(dataset: Mapping[str, Any]) -> str:
    """One line on the content of `dataset.json`: the texts, and what was left out."""
    rows = ", ".join(f"{split} {facts['rows']:,}" for split, facts in dataset["splits"].items())
    left_out = "; ".join(
        f"{split}: {_counts(reasons)}" for split, reasons in dataset["left_out"].items()
    )
    near = sum(n for others in dataset["near_duplicates"].values() for n in others.values())
    parts = [
        f"texts: {rows} of {sum(dataset['rows_read'].values()):,} rows",
        f"left out: {left_out or 'none'}",
        f"removed: {_counts(dataset['removed']) or 'none'}",
        f"near-duplicates: {near:,}",
    ]
    return "; ".join(parts)


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {n:,}" for reason, n in reasons.items() if n)
