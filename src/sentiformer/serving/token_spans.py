"""Where the tokens of a text are in it, and which tokens the pieces of an encoder belong to."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

LINE_BREAK = "<br />"


def without_line_breaks(text: str) -> str:
    """The text with spaces in place of line-break tags, as all tokenizers read it."""
    return text.replace(LINE_BREAK, " ")


def token_spans(text: str, tokens: Sequence[str]) -> np.ndarray:
    """Where each of T tokens begins and ends in a text without line-break tags, (T, 2).

    The tokens are those of `Tokenizer`: all characters but white space, in order and lower-cased.
    A character may become several in lower case.
    """
    places = [place for place, sign in enumerate(text) if not sign.isspace() for _ in sign.lower()]
    ends = np.cumsum([0, *map(len, tokens)])
    return np.array(
        [(places[first], places[end - 1] + 1) for first, end in pairwise(ends.tolist())],
        dtype=np.int64,
    ).reshape(-1, 2)


def shares_of_tokens(pieces: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The share that each of T tokens has in each of P pieces, (P, T), by their common characters.

    `pieces`, (P, 2), and `tokens`, (T, 2), are spans. A piece without a character of a token, such
    as a space, belongs to the next token, or else to the last; an empty piece to none.
    """
    shares = np.zeros((len(pieces), len(tokens)))  # its zeros take no memory
    firsts = np.searchsorted(tokens[:, 1], pieces[:, 0], side="right").tolist()
    ends = np.searchsorted(tokens[:, 0], pieces[:, 1]).tolist()
    for share, (start, stop), first, end in zip(shares, pieces.tolist(), firsts, ends, strict=True):
        if first < end and start < stop:
            common = np.diff(tokens[first:end].clip(start, stop))[:, 0]
            share[first:end] = common / common.sum()
        elif start < stop:
            share[min(first, len(tokens) - 1)] = 1
    return shares


def as_written(text: str, spans: np.ndarray) -> tuple[list[str], list[bool]]:
    """The tokens of a text in its spelling, by their spans, and whether each is before a space."""
    places = spans.tolist()
    after = [end < first for (_, end), (first, _) in pairwise(places)]
    return [text[first:end] for first, end in places], after + [False] * bool(places)
