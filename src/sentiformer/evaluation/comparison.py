"""Statistics of accuracy: intervals, and whether two models differ on the same texts."""

from typing import Any

import numpy as np

Z = 1.959963984540054  # standard deviations that hold 95 % of a normal distribution
SIGNIFICANT = 0.05  # a difference with a smaller p-value is statistically significant


def accuracy_interval(is_right: np.ndarray) -> dict[str, float]:
    """The 95 % interval of an accuracy (Wilson 1927), from whether each text is right, (N,)."""
    from scipy.stats import binomtest

    interval = binomtest(int(is_right.sum()), len(is_right)).proportion_ci(method="wilson")
    return {"accuracy_low": _rounded(interval.low), "accuracy_high": _rounded(interval.high)}


def paired_difference(transformer: np.ndarray, baseline: np.ndarray) -> dict[str, Any]:
    """The difference of two accuracies, its 95 % interval, and McNemar's exact test.

    Only texts on which one of the two models is right count. The interval is that of Agresti & Min
    (2005): Wald's interval with 0.5 added to each of the four counts. The p-value is the
    probability of counts that differ at least as much, if both models are equally good
    (McNemar 1947).

    Args:
        transformer: whether the Transformer is right on each text, (N,).
        baseline: whether the baseline is right on each text, (N,).
    """
    from scipy.stats import binomtest

    texts = len(transformer)
    transformer_alone = int((transformer & ~baseline).sum())
    baseline_alone = int((baseline & ~transformer).sum())
    discordant = transformer_alone + baseline_alone
    middle = (transformer_alone - baseline_alone) / (texts + 2)
    variance = (discordant + 1) / (texts + 2) - middle**2
    half = Z * float(np.sqrt(variance / (texts + 2)))
    p_value = binomtest(transformer_alone, discordant).pvalue if discordant else 1
    return {
        "difference": _rounded((transformer_alone - baseline_alone) / texts),
        "difference_low": _rounded(max(-1, middle - half)),
        "difference_high": _rounded(min(1, middle + half)),
        "transformer_alone": transformer_alone,
        "baseline_alone": baseline_alone,
        "p_value": float(f"{p_value:.3g}"),
    }


def verdict(found: dict[str, Any], transformer: str, baseline: str) -> str:
    """A `paired_difference` in a sentence, with these names of the two models."""
    difference, low, high = (
        found[name] for name in ("difference", "difference_low", "difference_high")
    )
    better, worse = transformer, baseline
    if difference < 0:
        better, worse, difference, low, high = baseline, transformer, -difference, -high, -low
    significance = "" if found["p_value"] < SIGNIFICANT else "not "
    words = (
        f"{better} is better than {worse} by {100 * difference:.2f} points (95 % interval "
        f"{points(low)} to {points(high)}), which is {significance}statistically significant"
        if difference
        else f"{better} and {worse} are equally accurate"
    )
    test = f"McNemar's exact test: {p_value_text(found['p_value'])}"
    return f"{words[0].upper()}{words[1:]} ({test})."


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{100 * difference:+.2f}".replace("-", "\N{MINUS SIGN}")


def p_value_text(p_value: float) -> str:
    """A p-value for readers."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def _rounded(value: float) -> float:
    return round(float(value), 6)
