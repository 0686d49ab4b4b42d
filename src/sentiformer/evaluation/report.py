"""Stage report: one HTML page that needs no network, and its figures as SVG files.

The bytes of the page depend on the files of earlier stages alone: it has no date, no path and no
commit. The MLflow run of the model names the commit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import UserError, plain
from sentiformer.core.files import read_json, reading, sha256
from sentiformer.evaluation.figures import draw_all, is_large

STAGES = {"curves": "train", "pretrained": "pretrain", "evaluation": "evaluate"}  # by folder
STEPS, HISTORY = ["step", "loss"], ["epoch", "step", "valid_loss", "valid_accuracy"]
TABLES = {  # by name: the file, and the columns that are drawn
    "steps": ("curves/steps.csv", STEPS),
    "history": ("curves/history.csv", HISTORY),
    "confusion": ("evaluation/confusion.csv", ["actual", "predicted"]),
    "roc": ("evaluation/roc.csv", ["class", "fpr", "tpr"]),
    "precision_recall": ("evaluation/precision_recall.csv", ["class", "recall", "precision"]),
    "calibration": ("evaluation/calibration.csv", ["texts", "confidence", "accuracy"]),
    "by_class": ("evaluation/by_class.csv", ["class", "precision", "recall", "f1", "texts"]),
    "by_length": ("evaluation/by_length.csv", ["tokens", "accuracy"]),
}
PRETRAIN_TABLES = {
    "pretrain_steps": ("pretrained/steps.csv", STEPS),
    "pretrain_history": ("pretrained/history.csv", HISTORY),
}
NAMES = ("actual", "predicted", "class", "tokens")  # columns of text; a class may be named 1 or NA
MISTAKES = 10  # most confident mistakes that are shown
EXCERPT = 700  # characters of a text that are shown
LONG_WORD = 50  # characters; Chinese and Japanese texts have no spaces
SIGNIFICANT = 0.05  # a difference with a smaller p-value is statistically significant


def write_report(data: Path, folder: Path) -> None:
    """Write `report.html` and `figures/*.svg` on the files in `data` to an empty folder.

    Raises:
        UserError: an input is missing or corrupt, or the evaluation is of another model.
    """
    model, evaluation = data / "model", data / "evaluation"
    about = read_json(model / "config.json", made_by="train")
    lineage = read_json(evaluation / "lineage.json", made_by="evaluate")
    if lineage["model_sha256"] != sha256(model / "model.safetensors", made_by="train"):
        raise UserError(f"{evaluation} is not of the model in {model}; run `dvc repro`")
    language_model, places = None, TABLES
    if about["params"]["pretrain"]["epochs"]:
        language_model = read_json(data / "pretrained" / "metrics.json", made_by="pretrain")
        places = TABLES | PRETRAIN_TABLES
    tables = {name: read_table(data, *place) for name, place in places.items()}
    figures = draw_all(tables, about["labels"], about["best"]["epoch"])
    metrics = read_json(evaluation / "metrics.json", made_by="evaluate")
    baselines = read_baselines(evaluation / "baselines")
    transformer = {**metrics, "validation_accuracy": about["best"]["valid_accuracy"]}
    html = template().render(
        about=about,
        lineage=lineage,
        language_model=language_model,
        metrics=metrics,
        baselines=baselines,
        verdict=verdict,
        comparison=comparison_rows([transformer, *baselines.values()]),
        classes=tables["by_class"].to_dict("records"),
        mistakes=confident_mistakes(evaluation / "predictions.parquet", MISTAKES),
        is_large=is_large(about["labels"]),
        figures={name: svg[svg.index("<svg") :] for name, svg in figures.items()},
    )
    (folder / "figures").mkdir()
    for name, svg in figures.items():
        (folder / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    (folder / "report.html").write_text(html, encoding="utf-8")


def template() -> Template:
    """The template of the page, for which a missing value is an error."""
    loader = PackageLoader("sentiformer.evaluation", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report.html.j2")


def read_baselines(folder: Path) -> dict[str, dict[str, Any]]:
    """What the evaluation says of each baseline, by its title.

    Raises:
        UserError: a file is missing or corrupt.
    """
    return {
        kind.title: read_json(folder / f"{name}.json", made_by="evaluate")
        for name, kind in KINDS.items()
    }


def read_table(data: Path, name: str, columns: list[str]) -> pd.DataFrame:
    """Read columns of a CSV file in `data`.

    Raises:
        UserError: the file is missing or corrupt.
    """
    types = {column: str if column in NAMES else float for column in columns}
    with reading(data / name, STAGES[name.partition("/")[0]]):
        return pd.read_csv(data / name, usecols=columns, dtype=types, keep_default_na=False)


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


def percent(fraction: float) -> str:
    """A fraction in percent, without the sign."""
    return f"{100 * fraction:.2f}"


def points(difference: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{100 * difference:+.2f}".replace("-", "\N{MINUS SIGN}")


def p_value_text(p_value: float) -> str:
    """A p-value for readers."""
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"


ROWS: list[tuple[str, Callable[[Any], str], list[str]]] = [  # of the comparison: title, form, keys
    ("accuracy, %", percent, ["accuracy"]),
    ("95 % interval", percent, ["accuracy_low", "accuracy_high"]),
    ("difference of the Transformer, points", points, ["difference"]),
    ("95 % interval", points, ["difference_low", "difference_high"]),
    ("only the Transformer is right", "{:,}".format, ["transformer_alone"]),
    ("only the baseline is right", "{:,}".format, ["baseline_alone"]),
    ("McNemar's exact test", p_value_text, ["p_value"]),
    ("ROC AUC", "{:.4f}".format, ["roc_auc"]),
    ("log loss, nats", "{:.4f}".format, ["log_loss"]),
    ("validation accuracy, %", percent, ["validation_accuracy"]),
    ("C of the logistic regression", "{:g}".format, ["c"]),
    ("n-grams", "{:,}".format, ["ngrams"]),
]


def comparison_rows(models: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The title of each row, and its cell for each model; one is empty if the model lacks a key."""
    return [
        (title, [" to ".join(form(model[key]) for key in keys if key in model) for model in models])
        for title, form, keys in ROWS
    ]


def confident_mistakes(path: Path, count: int) -> list[dict[str, Any]]:
    """The mistakes with the highest confidence: text, actual, predicted, probability."""
    with reading(path, "evaluate"):
        table = pd.read_parquet(path)
    probabilities = table.filter(regex="^probability_")
    wrong = table.assign(probability=probabilities.max(axis=1))[table.actual != table.predicted]
    wrong = wrong.sort_values("probability", ascending=False, kind="stable").head(count)
    wrong["text"] = wrong["text"].str.replace("<br />", " ", regex=False).map(plain).map(_excerpt)
    return wrong[["text", "actual", "predicted", "probability"]].to_dict("records")


def _excerpt(text: str) -> str:
    """The beginning of a text; it ends with a whole word, unless the word is very long."""
    if len(text) <= EXCERPT:
        return text
    start = text[:EXCERPT].rpartition(" ")[0]
    return (start if len(start) > EXCERPT - LONG_WORD else text[:EXCERPT]) + " …"
