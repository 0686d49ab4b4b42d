"""The report: one HTML page that needs no network, with its figures beside it as SVG."""

from collections import ChainMap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.baselines.linear import KINDS
from sentiformer.core.errors import UserError, plain
from sentiformer.core.files import read_json, reading, sha256
from sentiformer.core.process import output_of
from sentiformer.evaluation.comparison import p_value_text, points, verdict
from sentiformer.evaluation.figures import crowded, draw_all
from sentiformer.evaluation.params import ReportParams

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

TEMPLATE = "report.html.j2"
CODE = ("src", "pipeline", "dvc.yaml", "params.yaml", "requirements.lock")
STAGES = {"model": "train", "pretrained": "pretrain", "evaluation": "evaluate"}
TABLES = {  # folder, and the columns that are drawn
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
EXCERPT = 700  # characters shown of a text
LONG_WORD = 50  # characters; Chinese and Japanese have no spaces at all


def write_report(report: ReportParams, params: dict[str, Any], *, data: Path, folder: Path) -> None:
    """Write `report.html` and `figures/*.svg` to `folder`.

    `params` are all parameters, which the page shows; `data` is the folder with what earlier
    stages wrote.

    Raises:
        UserError: an input is missing or corrupt, or the evaluation is of another model.
    """
    model, evaluation = data / "model", data / "evaluation"
    about = read_json(model / "config.json", made_by="train")
    lineage = read_json(evaluation / "lineage.json", made_by="evaluate")
    if lineage["model_sha256"] != sha256(model / "model.safetensors", made_by="train"):
        raise UserError(f"{evaluation} judges another model than {model} holds; run `dvc repro`")
    language_model = None
    if about["params"]["pretrain"]["epochs"]:
        language_model = read_json(data / "pretrained" / "metrics.json", made_by="pretrain")
    tables = read_tables(data, with_language_model=language_model is not None)
    metrics = read_json(evaluation / "metrics.json", made_by="evaluate")
    baselines = {
        kind.title: read_json(evaluation / "baselines" / f"{name}.json", made_by="evaluate")
        for name, kind in KINDS.items()
    }
    mistakes = worst_mistakes(evaluation / "predictions.parquet", report.mistakes)
    figures = draw_all(tables, about["labels"], about["best"]["epoch"])
    (folder / "figures").mkdir()
    for name, svg in figures.items():
        (folder / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    html = page().render(
        about=about,
        language_model=language_model,
        metrics=metrics,
        verdicts=[
            verdict(of, "the Transformer", f"the {title}") for title, of in baselines.items()
        ],
        titles=list(baselines),
        comparison=comparison_rows(metrics, about["best"], list(baselines.values())),
        crowded=crowded(about["labels"]),
        classes=tables["by_class"].to_dict("records"),
        length_bins=len(tables["by_length"]),
        figures={name: svg[svg.index("<svg") :] for name, svg in figures.items()},
        mistakes=mistakes,
        params=params,
        lineage=lineage,
        code=code_version(),
    )
    (folder / "report.html").write_text(html, encoding="utf-8")


def page() -> "Template":
    """The page's template; a name that it uses and is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sentiformer.evaluation", ".")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(
        TEMPLATE
    )


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


def comparison_rows(
    metrics: dict[str, Any], best: dict[str, Any], baselines: list[dict[str, Any]]
) -> list[tuple[str, list[str]]]:
    """The table of the models: the title of each row, a cell for the Transformer and each baseline.

    Args:
        metrics: of the Transformer on test.
        best: its best epoch.
        baselines: what the evaluation says of each.
    """
    ours = ChainMap({"validation_accuracy": best["valid_accuracy"]}, metrics)

    def of_all(form: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [form(of) for of in (ours, *baselines)]

    def of_baselines(form: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return ["", *map(form, baselines)]

    def interval(of: Mapping[str, Any]) -> str:
        return f"{100 * of['accuracy_low']:.2f} to {100 * of['accuracy_high']:.2f}"

    def paired_interval(of: Mapping[str, Any]) -> str:
        return f"{points(of['difference_low'])} to {points(of['difference_high'])}"

    return [
        ("accuracy, %", of_all(lambda of: f"{100 * of['accuracy']:.2f}")),
        ("its 95 % interval", of_all(interval)),
        ("Transformer better by, points", of_baselines(lambda of: points(of["difference"]))),
        ("its 95 % interval", of_baselines(paired_interval)),
        (
            "texts right by the Transformer alone",
            of_baselines(lambda of: f"{of['transformer_alone']:,}"),
        ),
        ("texts right by the baseline alone", of_baselines(lambda of: f"{of['baseline_alone']:,}")),
        ("McNemar's exact test", of_baselines(lambda of: p_value_text(of["p_value"]))),
        ("ROC AUC", of_all(lambda of: f"{of['roc_auc']:.4f}")),
        ("log loss, nats", of_all(lambda of: f"{of['log_loss']:.4f}")),
        ("accuracy on validation, %", of_all(lambda of: f"{100 * of['validation_accuracy']:.2f}")),
        ("C, chosen there", of_baselines(lambda of: f"{of['c']:g}")),
        ("n-grams", of_baselines(lambda of: f"{of['ngrams']:,}")),
    ]


def worst_mistakes(path: Path, count: int) -> list[dict[str, Any]]:
    """The mistakes of which the model was surest: text, actual, predicted, probability."""
    import pandas as pd

    with reading(path, "evaluate"):
        table = pd.read_parquet(path)
    probabilities = table.filter(regex="^probability_")
    wrong = table.assign(probability=probabilities.max(axis=1))[table.actual != table.predicted]
    wrong = wrong.sort_values("probability", ascending=False, kind="stable").head(count)
    wrong["text"] = wrong["text"].str.replace("<br />", " ", regex=False).map(plain).map(_excerpt)
    return wrong[["text", "actual", "predicted", "probability"]].to_dict("records")


def _excerpt(text: str) -> str:
    """The beginning of a text, up to the end of a word where one ends near."""
    if len(text) <= EXCERPT:
        return text
    start = text[:EXCERPT].rpartition(" ")[0]
    return (start if len(start) > EXCERPT - LONG_WORD else text[:EXCERPT]) + " …"


def code_version() -> str:
    """The last commit that changed code or parameters, and whether they have changed since."""
    commit = output_of("git", "log", "-1", "--format=%H", "--", *CODE)
    if not commit:
        return "not in git"
    changed = output_of("git", "status", "--porcelain", "--", *CODE)
    return f"{commit}, with uncommitted changes" if changed else commit


def read_table(path: Path, columns: list[str], *, made_by: str) -> "pd.DataFrame":
    """Read columns of a CSV that an earlier stage wrote.

    Raises:
        UserError: it is missing or corrupt.
    """
    import pandas as pd

    types = {column: str if column in NAMES else float for column in columns}
    with reading(path, made_by):
        return pd.read_csv(path, usecols=columns, dtype=types, keep_default_na=False)
