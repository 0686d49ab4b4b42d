"""Texts that the report shows: sure mistakes, unsure right answers, and labels in doubt."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sentiformer.core.errors import plain

EXAMPLES = 8  # of each kind that are shown
VISIBLE = 0.1  # of the largest contribution in a text: a smaller one is not marked
EXCERPT = 700  # characters of a text that are shown
START = 90  # characters of the line that stands for a folded text
LONG_WORD = 50  # characters; Chinese and Japanese texts have no spaces


def chosen_rows(predictions: pd.DataFrame, count: int, *, right: bool) -> list[int]:
    """The rows of the right answers of the lowest confidence, or the mistakes of the highest."""
    is_right = predictions["actual"] == predictions["predicted"]
    confidence = predictions.filter(regex="^probability_").max(axis=1)
    found = confidence[is_right if right else ~is_right]
    rows: list[int] = found.sort_values(ascending=right, kind="stable").index[:count].tolist()
    return rows


def examples(
    predictions: pd.DataFrame,
    explained: Mapping[str, Mapping[str, Any]],
    count: int,
    *,
    right: bool,
) -> list[dict[str, Any]]:
    """The right answers of the lowest confidence, or the mistakes of the highest.

    Each has source, actual, predicted, probability (the confidence), start, and words; see
    `marked_words`. `explained` has the explanations of rows; other texts are not marked.
    """
    table = predictions.loc[chosen_rows(predictions, count, right=right)]
    table = table.assign(probability=table.filter(regex="^probability_").max(axis=1))
    table = _with_excerpts(table)
    table["words"] = [
        marked_words(explained[str(row)]) if str(row) in explained else [(text, 0.0)]
        for row, text in table["text"].items()
    ]
    columns = ["source", "actual", "predicted", "probability", "start", "words"]
    return table[columns].to_dict("records")


def label_issues(table: pd.DataFrame, count: int) -> list[dict[str, Any]]:
    """The first rows of label_issues.csv, with beginnings of the texts that are safe to show."""
    return _with_excerpts(table.head(count)).to_dict("records")


def _with_excerpts(table: pd.DataFrame) -> pd.DataFrame:
    """The table with beginnings of its texts, `text`, and even shorter ones on a line, `start`."""
    texts = table["text"].str.replace("<br />", " ", regex=False).map(plain)
    return table.assign(
        text=[excerpt(text, EXCERPT) for text in texts],
        start=[excerpt(" ".join(text.split()), START) for text in texts],
    )


def marked_words(explanation: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Runs of the text, and how strongly each is marked: from -1, against the class, to 1, for it.

    A token with a small contribution is not marked, and the text ends after EXCERPT characters.
    """
    contributions = explanation["contributions"]
    most = max(map(abs, contributions), default=0) or 1
    rows = zip(explanation["tokens"], explanation["spaces"], contributions, strict=True)
    words: list[tuple[str, float]] = []
    characters = 0
    for token, space, value in rows:
        if characters > EXCERPT:
            return [*words, ("…", 0.0)]
        characters += len(token) + space
        size = value / most if abs(value) >= VISIBLE * most else 0.0
        words += [(plain(token), size), (" ", 0.0)] if space else [(plain(token), size)]
    return words


def excerpt(text: str, characters: int) -> str:
    """The beginning of a text; it ends with a whole word, unless the word is very long."""
    if len(text) <= characters:
        return text
    start = text[:characters].rpartition(" ")[0]
    return (start if len(start) > characters - LONG_WORD else text[:characters]) + " …"
