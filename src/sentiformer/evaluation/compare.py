"""Two models on the same test texts: their metrics, McNemar's test, the texts that changed sides.

A text changed sides if exactly one of the two models is right.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sentiformer.core.errors import UserError, plain
from sentiformer.evaluation.evaluated import PREFIX, Evaluated
from sentiformer.evaluation.examples import excerpt
from sentiformer.evaluation.metrics import accuracy_interval, compute_metrics, paired_difference
from sentiformer.evaluation.sentences import comparison_rows, percent, verdict

SHOWN_CHARACTERS = 80  # of a text in the terminal
TITLE = 34  # characters of the titles of the rows
ALONE = {"transformer_alone": "only_a_right", "other_alone": "only_b_right"}


class Comparison(NamedTuple):
    """Two models, A and B, on the same texts."""

    names: tuple[str, str]
    metrics: list[dict[str, Any]]  # of A and of B
    by_source: dict[str, list[float]]  # the accuracies of A and B; empty if there is one source
    difference: dict[str, Any]  # see `paired_difference`; A is in the Transformer's place
    changed: pd.DataFrame  # the texts that changed sides, the surest mistake first
    texts: int
    different: int  # texts with different answers

    @property
    def verdict(self) -> str:
        """Which model is better, or that the difference is not significant."""
        a, b = (f"{letter} ({name})" for letter, name in zip("AB", self.names, strict=True))
        return verdict(self.difference, b, name=a)

    def summary(self, count: int) -> str:
        """How many texts changed sides, of which at most `count` are shown."""
        if not self.different:
            return f"the same answers to all {self.texts:,} texts"
        changed = len(self.changed)
        if not changed:
            return "there is no text on which one alone is right"
        shown = f"{min(count, changed):,} of {changed:,} texts on which one alone is right"
        return f"{shown}; --count shows more" if count < changed else shown

    def lines(self, count: int) -> list[str]:
        """The comparison for the terminal, with at most `count` of the texts."""
        alone = self.difference["transformer_alone"], self.difference["other_alone"]
        (title, accuracies), *others = comparison_rows(self.metrics)
        title = "accuracy, all sources, %" if self.by_source else title
        rows = [("", ["A", "B"]), (title, accuracies), *others]
        rows += [
            (f"accuracy of {name}, %", [*map(percent, of)]) for name, of in self.by_source.items()
        ]
        rows += [("texts on which it alone is right", [f"{texts:,}" for texts in alone])]
        rows = [row for row in rows if any(row[1])]
        width = max(len(cell) for _, cells in rows for cell in cells)
        table = [f"{title:<{TITLE}}  {a:>{width}}  {b:>{width}}" for title, (a, b) in rows]
        named = [f"{letter}: {name}" for letter, name in zip("AB", self.names, strict=True)]
        lines = [*map(_line, self.changed.head(count).to_dict("records"))]
        return [*named, "", *table, *([""] if lines else []), *lines]

    def as_dict(self, count: int) -> dict[str, Any]:
        """The comparison for a program, with at most `count` of the texts."""
        return {
            "a": {"name": self.names[0], **self.metrics[0]},
            "b": {"name": self.names[1], **self.metrics[1]},
            "accuracy_by_source": self.by_source,
            **{ALONE.get(key, key): value for key, value in self.difference.items()},
            "verdict": self.verdict,
            "changed_texts": len(self.changed),
            "changed": self.changed.head(count).to_dict("records"),
        }


def compare(a: Evaluated, b: Evaluated) -> Comparison:
    """Compare two models.

    Raises:
        UserError: they were evaluated on other texts or labels.
    """
    both = [_in_order(side.answers) for side in (a, b)]
    _require_the_same(a, b, *both)
    right = [(table["predicted"] == table["actual"]).to_numpy() for table in both]
    sources = both[0]["source"]
    names = sources.value_counts().index.tolist()
    groups = {name: (sources == name).to_numpy() for name in names} if len(names) > 1 else {}
    return Comparison(
        names=(a.name, b.name),
        metrics=[answer_metrics(table) for table in both],
        by_source={
            name: [round(float(is_right[rows].mean()), 6) for is_right in right]
            for name, rows in groups.items()
        },
        difference=paired_difference(*right),
        changed=_changed(*both, *right),
        texts=len(sources),
        different=int((both[0]["predicted"] != both[1]["predicted"]).sum()),
    )


def _in_order(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers in the order of their texts, which does not depend on that of the files."""
    return answers.sort_values(["text", "actual"], kind="stable", ignore_index=True)


def _require_the_same(
    a: Evaluated, b: Evaluated, first: pd.DataFrame, second: pd.DataFrame
) -> None:
    if first["text"].tolist() != second["text"].tolist():
        shared = len(set(first["text"]) & set(second["text"]))
        raise UserError(
            f"{a.name} and {b.name} have other test texts ({len(first):,} and {len(second):,}, "
            f"{shared:,} of them in both), so they cannot be compared; evaluate both on the same "
            "data"
        )
    if others := int((first["actual"] != second["actual"]).sum()):
        raise UserError(
            f"{a.name} and {b.name} have other labels for {others:,} of the test texts, so they "
            "cannot be compared; evaluate both on the same data"
        )


def answer_metrics(answers: pd.DataFrame) -> dict[str, Any]:
    """All metrics, or the accuracy alone if the probabilities are not known."""
    columns = [column for column in answers if column.startswith(PREFIX)]
    is_right = (answers["predicted"] == answers["actual"]).to_numpy()
    if not columns:
        accuracy = round(float(is_right.mean()), 6)
        return {"accuracy": accuracy, **accuracy_interval(is_right), "texts": len(answers)}
    numbers = {column.removeprefix(PREFIX): number for number, column in enumerate(columns)}
    actual = answers["actual"].map(numbers).to_numpy()
    return compute_metrics(answers[columns].to_numpy(), actual)


def _changed(
    a: pd.DataFrame, b: pd.DataFrame, a_right: np.ndarray, b_right: np.ndarray
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "text": a["text"],
            "source": a["source"],
            "actual": a["actual"],
            "right": np.where(a_right, "A", "B"),
            "a_predicted": a["predicted"],
            "a_probability": a["confidence"].round(6),
            "b_predicted": b["predicted"],
            "b_probability": b["confidence"].round(6),
        }
    )
    mistake = np.where(a_right, b["confidence"], a["confidence"])
    rows = np.flatnonzero(a_right != b_right)
    return table.iloc[rows[np.argsort(-mistake[rows], kind="stable")]]


def _line(row: dict[str, Any]) -> str:
    """A text that changed sides; the labels are those of a user's file."""
    a, b = (f"{s.upper()} {row[f'{s}_predicted']} {row[f'{s}_probability']:.1%}" for s in "ab")
    text = excerpt(" ".join(row["text"].split()), SHOWN_CHARACTERS)
    return plain(f"{row['right']} is right ({row['actual']}): {a}, {b}: {text}")
