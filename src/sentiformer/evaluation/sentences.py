"""Numbers of an evaluation in words, for the terminal and the report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from sentiformer.baselines.logistic_regression import KINDS

Models: TypeAlias = Mapping[str, Mapping[str, Any]]  # by name, what the evaluation says of each

SIGNIFICANT = 0.05  # a difference with a smaller p-value is statistically significant
FEW_TRAIN_TEXTS = 2000  # with fewer, a baseline that is as accurate is the better choice
TITLES = {"transformer": "Transformer", "finetuned": "fine-tuned encoder"}
TITLES |= {name: kind.title for name, kind in KINDS.items()}


def title(name: str, found: Mapping[str, Any]) -> str:
    """What a model is called in a sentence; `found` is what the evaluation says of it."""
    if name == "ensemble":
        return f"mean of the {' and the '.join(TITLES[part] for part in found['parts'])}"
    return TITLES[name]


def advice(compared: Models, train_texts: int) -> str:
    """Recommend the most accurate other model that is the better choice, if any; otherwise "".

    It is if it is significantly better, or if train is small and it is a baseline that is at least
    as accurate.
    """
    by_accuracy = sorted(compared, key=lambda name: -float(compared[name]["accuracy"]))
    for name in by_accuracy:
        gain, p_value = -100 * compared[name]["difference"], compared[name]["p_value"]
        if gain > 0 and p_value < SIGNIFICANT:
            words = f"its accuracy is {gain:.1f} points higher ({p_value_text(p_value)})"
            if name in KINDS:
                return f"prefer the baseline {name}: {words}"
            model = title(name, compared[name])
            return f"prefer the {model}: {words}; docs/encoder.md says how to use it"
    name = next(filter(KINDS.__contains__, by_accuracy))
    if compared[name]["difference"] <= 0 and train_texts < FEW_TRAIN_TEXTS:
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


def verdict(found: Mapping[str, Any], other: str, *, name: str = "the Transformer") -> str:
    """A `paired_difference` in a sentence, with these names of the two models."""
    better, worse, sign = name, other, 1
    if found["difference"] < 0:
        better, worse, sign = worse, better, -1
    low, high = sorted(sign * found[name] for name in ("difference_low", "difference_high"))
    size = f"{100 * abs(found['difference']):.2f} points"
    interval = f"95 % interval {points(low)} to {points(high)}"
    if not found["difference"]:
        words = f"{name} and {other} are equally accurate"
    elif found["p_value"] < SIGNIFICANT:
        words = f"{better} is better than {worse} by {size} ({interval})"
    else:
        words = f"{better} is not significantly better than {worse}: {size} ({interval})"
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
    ("only the other model is right", "{:,}".format, ["other_alone"]),
    ("McNemar's exact test", p_value_text, ["p_value"]),
    ("ROC AUC", number, ["roc_auc"]),
    ("log loss, nats", number, ["log_loss"]),
    ("calibration error", number, ["calibration_error"]),
    ("validation accuracy, all sources, %", percent, ["validation_accuracy"]),
    ("C of the logistic regression", "{:g}".format, ["c"]),
    ("n-grams", "{:,}".format, ["ngrams"]),
]


def comparison_rows(models: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The title of each row, and its cell for each model; one is empty if the model lacks a key."""
    return [
        (title, [" to ".join(form(model.get(k)) for k in keys if k in model) for model in models])
        for title, form, keys in ROWS
    ]
