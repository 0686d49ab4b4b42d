"""Two models on the same texts: whether one is better, and whether that could be chance."""

from typing import Any

import numpy as np

Z = 1.959963984540054  # standard deviations that hold 95 % of a normal distribution
CHANCE = 0.05  # the p-value below which a difference counts as more than chance


def accuracy_interval(right: np.ndarray) -> dict[str, float]:
    """The 95 % interval of an accuracy (Wilson 1927), from whether each text is right, (N,)."""
    from scipy.stats import binomtest

    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return {"accuracy_low": _rounded(interval.low), "accuracy_high": _rounded(interval.high)}


def paired_difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    """How much more accurate we are, with a 95 % interval and McNemar's exact test.

    Only the texts on which one model alone is right tell the two apart. The interval is that of
    Agresti & Min (2005): Wald's, with a half added to each of the four counts. The p-value is the
    chance of counts at least as uneven if either model were as likely to be the one that is right
    (McNemar 1947).

    Args:
        ours: whether our model is right on each text, (N,).
        theirs: the same of the other model.
    """
    from scipy.stats import binomtest

    texts = len(ours)
    we_alone, they_alone = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    middle = (we_alone - they_alone) / (texts + 2)
    spread = (we_alone + they_alone + 1) / (texts + 2) - middle**2
    half = Z * float(np.sqrt(spread / (texts + 2)))
    discordant = we_alone + they_alone
    return {
        "difference": _rounded((we_alone - they_alone) / texts),
        "difference_low": _rounded(max(-1, middle - half)),
        "difference_high": _rounded(min(1, middle + half)),
        "transformer_alone": we_alone,
        "baseline_alone": they_alone,
        "p_value": float(f"{binomtest(we_alone, discordant).pvalue if discordant else 1:.3g}"),
    }


def verdict(found: dict[str, Any], ours: str, theirs: str) -> str:
    """What a `paired_difference` says, in a sentence."""
    difference, low, high = (
        found[name] for name in ("difference", "difference_low", "difference_high")
    )
    better, worse = ours, theirs
    if difference < 0:
        better, worse, difference, low, high = theirs, ours, -difference, -high, -low
    chance = "too much for chance" if found["p_value"] < CHANCE else "which could be chance"
    words = (
        f"{better} is better than {worse} by {100 * difference:.2f} points (95 % interval "
        f"{points(low)} to {points(high)}), {chance}"
        if difference
        else f"{better} and {worse} are equally accurate"
    )
    test = f"McNemar's exact test: {p_value_text(found['p_value'])}"
    return f"{words[0].upper()}{words[1:]} ({test})."


def points(difference: float) -> str:
    """A difference of accuracies in points, with its sign."""
    return f"{100 * difference:+.2f}".replace("-", "\N{MINUS SIGN}")


def p_value_text(p_value: float) -> str:
    """A p-value for readers."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def _rounded(value: float) -> float:
    return round(float(value), 6)
