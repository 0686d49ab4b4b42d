"""Numbers of an evaluation in words, for the terminal and the report."""

from collections.abc import Callable, Mapping
from typing import Any

from sentiformer.evaluation.groups import ALL

SIGNIFICANT = 0.05  # a difference with a smaller p-value is statistically significant
FEW_TRAIN_TEXTS = 2000  # with fewer, a baseline that is as accurate is the better choice


def accuracies_text(by_source: list[dict[str, Any]], baselines: dict[str, dict[str, Any]]) -> str:
    """The accuracy of each source, with the baselines beside the first; see `Evaluation`."""
    sources = [row for row in by_source if row["source"] != ALL]
    ours = ", ".join(f"{rounded(row['accuracy'])} ({row['source']})" for row in sources)
    others = ", ".join(f"{name} {rounded(found['accuracy'])}" for name, found in baselines.items())
    return f"accuracy {ours}; {others}"


def advice(baselines: Mapping[str, dict[str, Any]], train_texts: int) -> str:
    """Recommend the most accurate baseline, if it is the better choice; otherwise "".

    It is if it is significantly better, or if train is small and it is at least as accurate.
    """
    name = max(baselines, key=lambda name: float(baselines[name]["accuracy"]))
    found = baselines[name]
    if found["difference"] < 0 and found["p_value"] < SIGNIFICANT:
        gain, p_value = -100 * found["difference"], p_value_text(found["p_value"])
        return f"prefer the baseline {name}: its accuracy is {gain:.1f} points higher ({p_value})"
    if found["difference"] <= 0 and train_texts < FEW_TRAIN_TEXTS:
        return (
            f"prefer the baseline {name}: it is simpler and at least as accurate here, and train "
            f"has only {train_texts:,} texts"
        )
    return ""


def meaning(metrics: Mapping[str, Any], classes: list[dict[str, Any]]) -> str:
    """What the accuracy means; `classes` are the rows of by_class.csv.

    It is compared with the share of the most frequent class, the accuracy of a constant answer.
    """
    accuracy, low, high = (metrics[name] for name in ("accuracy", "accuracy_low", "accuracy_high"))
    common = max(classes, key=lambda row: float(row["texts"]))
    share = common["texts"] / sum(row["texts"] for row in classes)
    constant = f"always answering “{common['class']}” would be right for {rounded(share)}"
    if low <= share <= high:
        return f"The model is not clearly better than a constant answer: {constant}."
    if high < share:
        return f"The model is worse than a constant answer: {constant}."
    if accuracy == 1:
        return f"The model made no mistake on these texts; {constant}."
    every = round(1 / (1 - accuracy))
    wrong = f"One in {every:,} texts of this kind gets"
    if every < 4:  # one in 3 may be 29 or 40 %
        wrong = f"{rounded(1 - accuracy)} of the texts of this kind get"
    return f"{wrong} a wrong label; {constant}."


def verdict(found: dict[str, Any], baseline: str) -> str:
    """A `paired_difference` in a sentence, with this name of the baseline."""
    better, worse, sign = "the Transformer", baseline, 1
    if found["difference"] < 0:
        better, worse, sign = worse, better, -1
    low, high = sorted(sign * found[name] for name in ("difference_low", "difference_high"))
    significance = "" if found["p_value"] < SIGNIFICANT else "not "
    words = (
        f"{better} is better than {worse} by {100 * abs(found['difference']):.2f} points (95 % "
        f"interval {points(low)} to {points(high)}), which is {significance}statistically "
        "significant"
        if found["difference"]
        else f"{better} and {worse} are equally accurate"
    )
    test = f"McNemar's exact test: {p_value_text(found['p_value'])}"
    return f"{words[0].upper()}{words[1:]} ({test})."


def rounded(fraction: float) -> str:
    """A fraction in percent with one decimal, with the sign."""
    return f"{100 * fraction:.1f} %"


def percent(fraction: float) -> str:
    """A fraction in percent, without the sign."""
    return f"{100 * fraction:.2f}"


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{100 * difference:+.2f}".replace("-", "\N{MINUS SIGN}")


def p_value_text(p_value: float) -> str:
    """A p-value for readers."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


def number(value: float | None) -> str:
    """A metric with four decimals; "undefined" if it is None."""
    return "undefined" if value is None else f"{value:.4f}"


ROWS: list[tuple[str, Callable[[Any], str], list[str]]] = [  # of the comparison: title, form, keys
    ("accuracy, %", percent, ["accuracy"]),
    ("95 % interval", percent, ["accuracy_low", "accuracy_high"]),
    ("difference of the Transformer, points", points, ["difference"]),
    ("95 % interval", points, ["difference_low", "difference_high"]),
    ("only the Transformer is right", "{:,}".format, ["transformer_alone"]),
    ("only the baseline is right", "{:,}".format, ["baseline_alone"]),
    ("McNemar's exact test", p_value_text, ["p_value"]),
    ("ROC AUC", number, ["roc_auc"]),
    ("log loss, nats", number, ["log_loss"]),
    ("validation accuracy, all sources, %", percent, ["validation_accuracy"]),
    ("C of the logistic regression", "{:g}".format, ["c"]),
    ("n-grams", "{:,}".format, ["ngrams"]),
]


def comparison_rows(models: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The title of each row, and its cell for each model; one is empty if the model lacks a key."""
    return [
        (title, [" to ".join(form(model.get(k)) for k in keys if k in model) for model in models])
        for title, form, keys in ROWS
    ]
