"""What the folder of stage evaluate says of a model, as it predicts: alone or as an ensemble."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import one_line
from sentiformer.core.files import corrupt, read_csv, reading
from sentiformer.encoder.finetune import NGRAMS
from sentiformer.evaluation.compare import answer_metrics
from sentiformer.evaluation.evaluated import PREDICTIONS, of_evaluation
from sentiformer.evaluation.limits import class_limits, language_limit
from sentiformer.evaluation.sentences import rounded

METRICS = ["texts", "accuracy", "accuracy_low", "accuracy_high", "f1", "log_loss"]
METRICS += ["calibration_error"]
LENGTHS = {"0 to 8": 8, "9 to 32": 32, "33 to 128": 128, "129 to 512": 512, "more": 10**9}


class Measured(NamedTuple):
    """The metrics of a model on test, and its limits.

    Attributes:
        sources: see `card_sections`; in the order of the evaluation, without all together.
        limits: sentences.
    """

    sources: list[dict[str, Any]]
    limits: list[str]


def measured(model: Path, evaluation: Path, about: Mapping[str, Any], weights: str) -> Measured:
    """The metrics and limits of the model with this SHA-256 of its weights.

    `about` is the `config.json` of the model.

    Raises:
        UserError: there is no evaluation, a file of it is corrupt, or it is of another model.
    """
    has_ngrams = (model / NGRAMS).exists()
    answers = of_evaluation(str(model), evaluation, weights, has_ngrams=has_ngrams).answers
    path = evaluation / PREDICTIONS
    with reading(path, "evaluate", KeyError):
        words = pd.read_parquet(path, columns=["tokens", "known_words"])
    sources, table = [], evaluation / "by_source.csv"
    for row in read_csv(table, made_by="evaluate"):
        if (of_source := answers[answers["source"] == row.get("source")]).empty:
            continue  # the row of all sources
        others = {key: row[key] for name in KINDS if (key := f"{name}_accuracy") in row}
        found = answer_metrics(of_source)
        known = {name: found[name] for name in METRICS if name in found}
        sources.append({"source": row["source"], **known, **others})
    if not sources:
        raise corrupt(table, "evaluate", f"it has no source of {PREDICTIONS}")
    train, counts = about["data"]["splits"]["train"], answers["actual"].value_counts()
    by_class = [{"class": name, "texts": counts.get(name, 0)} for name in about["labels"]]
    unknown = int((words["known_words"] == 0).sum())
    limits = [
        language_limit(train["languages"]),
        _by_length(answers, words["tokens"]),
        f"Unknown words: {unknown:,} of {len(words):,} test texts have no word that the model "
        "knows. Such a text gets the label “?”.",
        *class_limits(train["label_counts"], by_class),
    ]
    return Measured(sources, [one_line(limit) for limit in limits])


def _by_length(answers: pd.DataFrame, tokens: pd.Series) -> str:
    """The accuracy by the number of tokens."""
    length = pd.cut(tokens, [-1, *LENGTHS.values()], labels=list(LENGTHS))
    is_right = answers["predicted"] == answers["actual"]
    groups = is_right.groupby(length, observed=True).agg(["mean", "size"])
    parts = [
        f"{name} tokens: {rounded(mean)} ({size:,})" for name, mean, size in groups.itertuples()
    ]
    return f"Length: the accuracy on test by the length of the text is {'; '.join(parts)}."
