"""Similar texts as a person or a program reads them."""

from collections.abc import Sequence
from typing import Any, Protocol

from sentiformer.console.predictions import LABEL_WIDTH, json_line, shortened
from sentiformer.core.errors import plain


class Neighbour(Protocol):
    """What is shown of a `sentiformer.serving.similar.Neighbour`."""

    text: str
    label: str | None
    similarity: float
    row: int

    def model_dump(self) -> dict[str, Any]:
        """All fields."""


def as_json(text: str | None, found: Sequence[Neighbour]) -> str:
    """A text and those that are similar to it as a JSON object on one line."""
    return json_line({"text": text, "similar": [neighbour.model_dump() for neighbour in found]})


def as_rows(text: str | None, found: Sequence[Neighbour]) -> list[str]:
    """A text, and below it similarity, label and beginning of each similar text, in columns."""
    labels = [plain(neighbour.label or "") for neighbour in found]
    width = min(LABEL_WIDTH, max(map(len, labels), default=0))
    gap = "  " if width else ""
    rows = [
        f"{neighbour.similarity:6.3f}  {label:<{width}}{gap}{shortened(neighbour.text)}"
        for neighbour, label in zip(found, labels, strict=True)
    ]
    shown = shortened(text or "") or "(no text)"
    return [shown, *(rows or ["        none: the model cannot judge this text"])]
