"""Predictions as a person or a program reads them: rows, JSON, and a line that counts them."""

import codecs
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Protocol

from sentiformer.console.output import colored
from sentiformer.core.errors import CONTROL_CHARACTERS, plain

SHOWN_CHARACTERS = 60
SHOWN_COUNTS = 6  # classes and reasons in the summary
LABEL_WIDTH = 40  # at most; a longer label shifts only its own row
DIGITS = 4  # of probabilities in JSON
UNJUDGED_COLOR, *CLASS_COLORS = 33, 31, 32, 36, 35, 34  # ANSI: yellow; red, green, cyan, ...


class Prediction(Protocol):
    """What is shown of a `sentiformer.serving.predictor.Prediction`."""

    label: str
    probability: float
    probabilities: dict[str, float]
    reason: str

    def model_dump(self) -> dict[str, Any]:
        """All fields."""


class Summary:
    """Counts texts by their class, or by the reason why they have none."""

    def __init__(self) -> None:
        self._labels: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = defaultdict(Counter)  # by "?" and "unsure"

    @property
    def texts(self) -> int:
        """The number of texts."""
        unanswered = sum(reasons.total() for reasons in self._reasons.values())
        return self._labels.total() + unanswered

    def count(self, predictions: Iterable[Prediction]) -> None:
        """Add predictions."""
        for prediction in predictions:
            if prediction.reason:
                reason = prediction.reason.partition(";")[0]  # the rest explains it
                self._reasons[prediction.label][reason] += 1
            else:
                self._labels[prediction.label] += 1

    def __str__(self) -> str:
        line = f"{self.texts:,} text{'s' * (self.texts != 1)}"
        counts = _counts(self._labels)
        for label, reasons in self._reasons.items():
            why = ", ".join(_counts(reasons, " × ") if len(reasons) > 1 else reasons)
            counts.append(f'{reasons.total():,} "{label}" ({why})')
        return plain(f"{line}: {', '.join(counts)}")


def _counts(counter: Counter[str], sign: str = " ") -> list[str]:
    """The most frequent names and how often each occurs, and the number of the others."""
    shown = [f"{count:,}{sign}{name}" for name, count in counter.most_common(SHOWN_COUNTS)]
    others = sum(count for _, count in counter.most_common()[SHOWN_COUNTS:])
    return [*shown, f"{others:,}{sign}others"] if others else shown


def as_json(text: str | None, prediction: Prediction) -> str:
    """A text and its prediction as a JSON object on one line."""
    return json_line({"text": text, **prediction.model_dump()})


def json_line(value: object) -> str:
    """JSON on one line, without control characters and what standard output cannot write."""
    is_utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    line = json.dumps(rounded(value), ensure_ascii=not is_utf8)
    return CONTROL_CHARACTERS.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def rounded(value: Any) -> Any:
    """The value with DIGITS digits after the point in each number."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def shortened(text: str) -> str:
    """The beginning of a text on one line, without control characters."""
    shown = plain(" ".join(text.split()))
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 1] + "…"


def as_row(text: str | None, prediction: Prediction) -> str:
    """Label, probability and the beginning of the text, in columns; or "?", text and reason.

    A text below the lowest confidence has "unsure" instead of "?".
    """
    shown = shortened(text or "")
    width = min(LABEL_WIDTH, max(map(len, prediction.probabilities)))
    label = f"{plain(prediction.label):<{width}}"
    if prediction.reason:
        why = colored(f"({plain(prediction.reason)})", UNJUDGED_COLOR)
        return f"{colored(label, UNJUDGED_COLOR)} {'':7}  {shown} {why}"
    number = list(prediction.probabilities).index(prediction.label)
    color = CLASS_COLORS[number % len(CLASS_COLORS)]
    return f"{colored(label, color)} {prediction.probability:7.2%}  {shown}"
