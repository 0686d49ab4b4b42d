"""Test texts that the report shows: confident mistakes, and right answers of low confidence."""

from typing import Any

import pandas as pd

from sentiformer.core.errors import plain

EXCERPT = 700  # characters of a text that are shown
START = 90  # characters of the line that stands for a folded text
LONG_WORD = 50  # characters; Chinese and Japanese texts have no spaces


def examples(predictions: pd.DataFrame, count: int, *, right: bool) -> list[dict[str, Any]]:
    """The right answers of the lowest confidence, or the mistakes of the highest.

    Each has source, actual, predicted, probability (the confidence), text and start.
    """
    is_right = predictions["actual"] == predictions["predicted"]
    table = predictions[is_right if right else ~is_right]
    table = table.assign(probability=table.filter(regex="^probability_").max(axis=1))
    table = table.sort_values("probability", ascending=right, kind="stable").head(count)
    texts = table["text"].str.replace("<br />", " ", regex=False).map(plain)
    table = table.assign(
        text=[excerpt(text, EXCERPT) for text in texts],
        start=[excerpt(" ".join(text.split()), START) for text in texts],
    )
    columns = ["source", "actual", "predicted", "probability", "text", "start"]
    return table[columns].to_dict("records")


def excerpt(text: str, characters: int) -> str:
    """The beginning of a text; it ends with a whole word, unless the word is very long."""
    if len(text) <= characters:
        return text
    start = text[:characters].rpartition(" ")[0]
    return (start if len(start) > characters - LONG_WORD else text[:characters]) + " …"
