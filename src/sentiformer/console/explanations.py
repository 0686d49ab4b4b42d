"""Explanations as a person reads them: a text whose tokens are colored, or have numbers."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from sentiformer.console.output import colored, has_colors
from sentiformer.console.predictions import UNJUDGED_COLOR, as_row
from sentiformer.core.errors import plain

FOR, AGAINST, BOLD = 34, 33, 1  # ANSI: blue, yellow
VISIBLE, STRONG = 0.1, 0.4  # of the largest number in a text: colored, and in bold
SHOWN_TOKENS = 6  # in each of the two lists


class Explanation(Protocol):
    """What is shown of a `sentiformer.serving.explain.Explanation`."""

    label: str
    tokens: list[str]
    spaces: list[bool]
    contributions: list[float]
    baseline: float
    prediction: Any  # a `Prediction`


class Attention(Protocol):
    """What is shown of a `sentiformer.serving.attention.Attention`."""

    tokens: list[str]
    spaces: list[bool]
    shares: list[float]
    prediction: Any  # a `Prediction`


def explanation_lines(explanation: Explanation) -> Iterable[str]:
    """The class, the text, and the tokens that contribute most for and against the class."""
    prediction = explanation.prediction
    label = plain(explanation.label)
    if prediction.reason:
        yield colored(f"{label} ({plain(prediction.reason)})", UNJUDGED_COLOR)
        return
    values = explanation.contributions
    total = explanation.baseline + sum(values)
    yield (
        f"{colored(label, BOLD)} {prediction.probabilities[explanation.label]:.2%}: log-odds "
        f"{total:+.2f} = {explanation.baseline:+.2f} without known words "
        f"{sum(values):+.2f} from the tokens"
    )
    yield marked_text(explanation.tokens, explanation.spaces, values, "{:+.2f}")
    by_size = sorted(zip(values, explanation.tokens, strict=True), key=lambda pair: -abs(pair[0]))
    for word, sign, color in (("for", 1, FOR), ("against", -1, AGAINST)):
        found = [f"{plain(t)} {v:+.2f}" for v, t in by_size if sign * v > 0][:SHOWN_TOKENS]
        if found:
            yield f"{colored(f'{word} {label}', color)}: {', '.join(found)}"


def attention_lines(attention: Attention) -> Iterable[str]:
    """The class, the text, and the tokens that receive most attention."""
    yield as_row(None, attention.prediction).rstrip()
    shares = attention.shares
    yield marked_text(attention.tokens, attention.spaces, shares, "{:.1%}")
    by_share = sorted(zip(shares, attention.tokens, strict=True), key=lambda pair: -pair[0])
    found = ", ".join(f"{plain(t)} {v:.1%}" for v, t in by_share[:SHOWN_TOKENS])
    yield f"{colored('attention', FOR)}, which is not an explanation: {found or 'no token'}"


def marked_text(
    tokens: Sequence[str], spaces: Sequence[bool], values: Sequence[float], form: str
) -> str:
    """The text with its tokens colored by their numbers, or followed by them without colors.

    Only numbers that are large in comparison with the largest are shown; `form` formats them.
    """
    most = max(map(abs, values), default=0.0) or 1.0
    parts = []
    for token, space, value in zip(tokens, spaces, values, strict=True):
        shown, size = plain(token), abs(value) / most
        if size >= VISIBLE:
            if has_colors():
                shown = colored(shown, FOR if value > 0 else AGAINST)
                shown = colored(shown, BOLD) if size >= STRONG else shown
            else:
                shown += f"[{form.format(value)}]"
        parts.append(shown + " " * space)
    return "".join(parts)
