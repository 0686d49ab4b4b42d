"""Stage report: one HTML page that needs no network, and its figures as SVG files.

The bytes of the page depend on the files of earlier stages alone: it has no date, no path and no
commit. The MLflow run of the model names the commit.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.baselines.linear import KINDS
from sentiformer.core.errors import UserError, plain
from sentiformer.core.files import read_json, reading, sha256
from sentiformer.evaluation.comparison import p_value_text, points, verdict
from sentiformer.evaluation.figures import draw_all, is_large

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

TEMPLATE = "report.html.j2"
STAGES = {"model": "train", "pretrained": "pretrain", "evaluation": "evaluate"}  # by folder
TABLES = {  # by name: the folder, and the columns that are drawn
    "steps": ("model", ["step", "loss"]),
    "history": ("model", ["epoch", "step", "valid_loss", "valid_accuracy"]),
    "confusion": ("evaluation", ["actual", "predicted"]),
    "roc": ("evaluation", ["class", "fpr", "tpr"]),
    "precision_recall": ("evaluation", ["class", "recall", "precision"]),
    "calibration": ("evaluation", ["texts", "confidence", "accuracy"]),
    "by_class": ("evaluation", ["class", "precision", "recall", "f1", "texts"]),
    "by_length": ("evaluation", ["tokens", "accuracy"]),
}
CURVES = ("steps", "history")  # the tables that a language model has, too
NAMES = ("actual", "predicted", "class", "tokens")  # columns of text; a class may be named 1 or NA
MISTAKES = 10  # most confident mistakes that are shown
EXCERPT = 700  # characters of a text that are shown
LONG_WORD = 50  # characters; Chinese and Japanese texts have no spaces


def write_report(data: Path, folder: Path) -> None:
    """Write `report.html` and `figures/*.svg` to `folder`.

    Args:
        data: the folder with the outputs of the earlier stages.
        folder: an empty folder.

    Raises:
        UserError: an input is missing or corrupt, or the evaluation is of another model.
    """
    model, evaluation = data / "model", data / "evaluation"
    about = read_json(model / "config.json", made_by="train")
    lineage = read_json(evaluation / "lineage.json", made_by="evaluate")
    if lineage["model_sha256"] != sha256(model / "model.safetensors", made_by="train"):
        raise UserError(f"{evaluation} is not of the model in {model}; run `dvc repro`")
    language_model = None
    if about["params"]["pretrain"]["epochs"]:
        language_model = read_json(data / "pretrained" / "metrics.json", made_by="pretrain")
    tables = read_tables(data, with_language_model=language_model is not None)
    figures = draw_all(tables, about["labels"], about["best"]["epoch"])
    html = template().render(
        about=about,
        language_model=language_model,
        **_results(evaluation, about["best"]),
        is_large=is_large(about["labels"]),
        classes=tables["by_class"].to_dict("records"),
        figures={name: svg[svg.index("<svg") :] for name, svg in figures.items()},
        lineage=lineage,
    )
    (folder / "figures").mkdir()
    for name, svg in figures.items():
        (folder / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    (folder / "report.html").write_text(html, encoding="utf-8")


def _results(evaluation: Path, best: dict[str, Any]) -> dict[str, Any]:
    """The values of the template that the evaluation decides."""
    metrics = read_json(evaluation / "metrics.json", made_by="evaluate")
    baselines = {
        kind.title: read_json(evaluation / "baselines" / f"{name}.json", made_by="evaluate")
        for name, kind in KINDS.items()
    }
    return {
        "metrics": metrics,
        "verdicts": [
            verdict(found, "the Transformer", f"the {title}") for title, found in baselines.items()
        ],
        "titles": list(baselines),
        "comparison": comparison_rows(metrics, best, list(baselines.values())),
        "mistakes": confident_mistakes(evaluation / "predictions.parquet", MISTAKES),
    }


def template() -> "Template":
    """The template of the page; a name without a value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sentiformer.evaluation", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(TEMPLATE)


def read_tables(data: Path, *, with_language_model: bool) -> "dict[str, pd.DataFrame]":
    """Read the tables that are drawn, by name.

    Raises:
        UserError: one is missing or corrupt.
    """
    places = {name: (place, name, columns) for name, (place, columns) in TABLES.items()}
    if with_language_model:
        places |= {f"pretrain_{name}": ("pretrained", name, TABLES[name][1]) for name in CURVES}
    return {
        name: read_table(data / place / f"{file}.csv", columns, made_by=STAGES[place])
        for name, (place, file, columns) in places.items()
    }


def read_table(path: Path, columns: list[str], *, made_by: str) -> "pd.DataFrame":
    """Read columns of a CSV that an earlier stage wrote.

    Raises:
        UserError: the file is missing or corrupt.
    """
    import pandas as pd

    types = {column: str if column in NAMES else float for column in columns}
    with reading(path, made_by):
        return pd.read_csv(path, usecols=columns, dtype=types, keep_default_na=False)


def comparison_rows(
    metrics: dict[str, Any], best: dict[str, Any], baselines: list[dict[str, Any]]
) -> list[tuple[str, list[str]]]:
    """The table of all models: the title of each row, and its cell for each model.

    Args:
        metrics: those of the Transformer on test.
        best: its best epoch.
        baselines: the metrics of each baseline.
    """
    transformer = ChainMap({"validation_accuracy": best["valid_accuracy"]}, metrics)

    def every(form: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [form(transformer), *map(form, baselines)]

    def of_baselines(form: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return ["", *map(form, baselines)]

    return [
        ("accuracy, %", every(lambda m: f"{100 * m['accuracy']:.2f}")),
        ("95 % interval", every(_interval)),
        ("difference of the Transformer, points", of_baselines(lambda m: points(m["difference"]))),
        ("95 % interval", of_baselines(_difference_interval)),
        ("only the Transformer is right", of_baselines(lambda m: f"{m['transformer_alone']:,}")),
        ("only the baseline is right", of_baselines(lambda m: f"{m['baseline_alone']:,}")),
        ("McNemar's exact test", of_baselines(lambda m: p_value_text(m["p_value"]))),
        ("ROC AUC", every(lambda m: f"{m['roc_auc']:.4f}")),
        ("log loss, nats", every(lambda m: f"{m['log_loss']:.4f}")),
        ("validation accuracy, %", every(lambda m: f"{100 * m['validation_accuracy']:.2f}")),
        ("C of the logistic regression", of_baselines(lambda m: f"{m['c']:g}")),
        ("n-grams", of_baselines(lambda m: f"{m['ngrams']:,}")),
    ]


def _interval(metrics: Mapping[str, Any]) -> str:
    return f"{100 * metrics['accuracy_low']:.2f} to {100 * metrics['accuracy_high']:.2f}"


def _difference_interval(metrics: Mapping[str, Any]) -> str:
    return f"{points(metrics['difference_low'])} to {points(metrics['difference_high'])}"


def confident_mistakes(path: Path, count: int) -> list[dict[str, Any]]:
    """The mistakes with the highest confidence: text, actual, predicted, probability."""
    import pandas as pd

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
