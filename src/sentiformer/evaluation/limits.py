"""The limits of a model in sentences: for which texts its answers are not measured or worse."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sentiformer.core.errors import listed
from sentiformer.core.languages import language_name, main_languages
from sentiformer.evaluation.sentences import rounded

FEW_TEXTS = 200  # with fewer test texts, an accuracy or a calibration error is uncertain
FEW_OF_CLASS = 30  # the same for the texts of a class, in train or in test


def limits(
    about: Mapping[str, Any], predictions: pd.DataFrame, by_class: list[dict[str, Any]]
) -> list[str]:
    """The limits of use.

    Args:
        about: `config.json` of the model.
        predictions: all test texts, with tokens and known_words.
        by_class: the class and the number of test texts of each class.
    """
    data = about["data"]
    return [
        f"Kind of text: the model has learned from {data['origin']['name']}. Texts of another kind "
        "get a label too, and it is wrong more often.",
        language_limit(data["splits"]["train"]["languages"]),
        length_limit(predictions["tokens"], about["params"]["model"]["max_len"]),
        "Unknown words: a text with only words that the model does not know gets “?” instead of a "
        f"label; {_count(int((predictions['known_words'] == 0).sum()))} no other words.",
        *class_limits(data["splits"]["train"]["label_counts"], by_class),
    ]


def language_limit(languages: Mapping[str, int]) -> str:
    """The languages of the training texts."""
    shares = main_languages(languages).items()
    if not shares:
        return "Language: most training texts are in no language that was recognized."
    return (
        "Language: the training texts seem to be in "
        f"{', '.join(f'{language_name(code)} {rounded(share)}' for code, share in shares)}. The "
        "model knows no other language."
    )


def length_limit(tokens: pd.Series, max_len: int) -> str:
    """The lengths of the test texts, and what happens to longer ones."""
    low, high = (int(tokens.quantile(share)) for share in (0.05, 0.95))
    cut = int((tokens > max_len).sum())
    return (
        f"Length: 90 % of the test texts have {low:,} to {high:,} tokens. Of a text of more than "
        f"{max_len:,} tokens, the model reads the beginning and the end, {max_len:,} tokens in "
        f"all; {_count(cut)} more."
    )


def class_limits(train: Mapping[str, int], by_class: list[dict[str, Any]]) -> list[str]:
    """The classes with few texts in train or in test, if there are any."""
    rare = [f"{label} ({count:,})" for label, count in train.items() if count < FEW_OF_CLASS]
    test = {row["class"]: int(row["texts"]) for row in by_class}
    absent = [label for label, count in test.items() if not count]
    few = [f"{label} ({count:,})" for label, count in test.items() if 0 < count < FEW_OF_CLASS]
    found = {
        "Few training texts, so that the model hardly knows the class": rare,
        "No test text, so that nothing is known about the class": absent,
        "Few test texts, so that the values of the class are uncertain": few,
    }
    return [f"{title}: {listed(names)}." for title, names in found.items() if names]


def _count(texts: int) -> str:
    return f"{texts:,} test {'text has' if texts == 1 else 'texts have'}"
