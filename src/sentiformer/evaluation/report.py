"""Stage report: one HTML page that needs no network, and its figures as SVG files.

The bytes of the page depend on the files of earlier stages alone: it has no date, no path and no
commit. The MLflow run of the model names the commit.
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from sentiformer.baselines.logistic_regression import KINDS
from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, read_json, reading, sha256
from sentiformer.core.languages import language_name
from sentiformer.core.names import ENCODER_FACTS
from sentiformer.evaluation import sentences
from sentiformer.evaluation.defaults import parameters
from sentiformer.evaluation.examples import EXAMPLES, examples, label_issues
from sentiformer.evaluation.figures import draw_all, in_page, is_large
from sentiformer.evaluation.limits import FEW_TEXTS, limits
from sentiformer.evaluation.sentences import Models

STAGES = {"curves": "train", "model": "train", "pretrained": "pretrain", "evaluation": "evaluate"}
STEPS, HISTORY = ["step", "loss"], ["epoch", "step", "valid_loss", "valid_accuracy"]
SCORES = ["accuracy", "calibration_error"]
WHERE = ["model", "split", "source"]
TABLES = {  # by name: the file, and the columns that are shown
    "steps": ("curves/steps.csv", STEPS),
    "history": ("curves/history.csv", HISTORY),
    "confusion": ("evaluation/confusion.csv", ["actual", "predicted"]),
    "roc": ("evaluation/roc.csv", ["class", "fpr", "tpr"]),
    "precision_recall": ("evaluation/precision_recall.csv", ["class", "recall", "precision"]),
    "calibration": ("evaluation/calibration.csv", ["texts", "confidence", "accuracy"]),
    "by_class": ("evaluation/by_class.csv", ["class", "precision", "recall", "f1", "texts"]),
    "by_length": (
        "evaluation/by_length.csv",
        ["tokens", "texts", *SCORES, "confidence", "unknown_words"],
    ),
    "pushes": ("evaluation/pushes.csv", ["class", "words", "n", "texts", "mean", "total"]),
    "shortcuts": (
        "evaluation/shortcuts.csv",
        ["class", "words", "texts", "mean", "baseline_weight", "reason"],
    ),
    "by_source": (
        "evaluation/by_source.csv",
        ["source", "texts", *SCORES, "accuracy_low", "accuracy_high", "log_loss"],
    ),
    "coverage": ("evaluation/coverage.csv", [*WHERE, "coverage", "errors"]),
    "thresholds": (
        "evaluation/thresholds.csv",
        [*WHERE, "max_errors", "min_confidence", "coverage", "errors"],
    ),
    "label_issues": (
        "evaluation/label_issues.csv",
        ["split", "text", "label", "suggested", "label_probability"],
    ),
}
PRETRAIN_TABLES = {
    "pretrain_steps": ("pretrained/steps.csv", STEPS),
    "pretrain_history": ("pretrained/history.csv", HISTORY),
}
NAMES = (  # columns of text; a class may be named 1 or NA
    *("actual", "predicted", "class", "tokens", "source", "words", "reason"),
    *("model", "split", "text", "label", "suggested"),
)
SENTENCES = ("meaning", "verdict", "advice", "title", "percent", "number", "rounded")


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
    compared = read_compared(evaluation)
    language_model, places = None, dict(TABLES)
    if about["params"]["pretrain"]["epochs"]:
        language_model = read_json(data / "pretrained" / "metrics.json", made_by="pretrain")
        places |= PRETRAIN_TABLES
    path, columns = TABLES["by_source"]
    places["by_source"] = path, columns + [f"{name}_accuracy" for name in compared]
    tables = {name: read_table(data, *place) for name, place in places.items()}
    figures = draw_all(tables, about["labels"], about["best"]["epoch"])
    html = template().render(
        about=about,
        lineage=lineage,
        language_model=language_model,
        weights=count_weights(model / "model.safetensors"),
        is_large=is_large(about["labels"]),
        figures={name: in_page(svg) for name, svg in figures.items()},
        few=FEW_TEXTS,
        **parameters(about["params"]),
        **_results(evaluation, about, tables, compared),
    )
    (folder / "figures").mkdir()
    for name, svg in figures.items():
        (folder / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    (folder / "report.html").write_text(html, encoding="utf-8")


def _results(
    evaluation: Path, about: JsonObject, tables: dict[str, pd.DataFrame], compared: Models
) -> dict[str, Any]:
    """What the template shows of the folder of stage evaluate."""
    metrics = read_json(evaluation / "metrics.json", made_by="evaluate")
    models = {"transformer": metrics, **compared}
    outside = [name for name, found in models.items() if found.get("outside_text")]
    models = {name: models[name] for name in sorted(models, key=outside.__contains__)}
    by_class = tables["by_class"].to_dict("records")
    explained = read_json(evaluation / "explained.json", made_by="evaluate")
    path = evaluation / "predictions.parquet"
    with reading(path, "evaluate"):
        predictions = pd.read_parquet(path)
    return {
        "metrics": metrics,
        "compared": compared,
        "models": models,
        "outside": outside,
        "comparison": sentences.comparison_rows(list(models.values())),
        "classes": by_class,
        "sources": tables["by_source"].to_dict("records"),
        "lengths": tables["by_length"].to_dict("records"),
        "mistakes": examples(predictions, explained, EXAMPLES, right=False),
        "unsure": examples(predictions, explained, EXAMPLES, right=True),
        "shortcuts": tables["shortcuts"].to_dict("records"),
        "limits": limits(about, predictions, by_class),
        "thresholds": tables["thresholds"].to_dict("records"),
        "label_issues": label_issues(tables["label_issues"], EXAMPLES),
        "doubtful_labels": len(tables["label_issues"]),
    }


def template() -> Template:
    """The template of the page, for which a missing value is an error."""
    loader = PackageLoader("sentiformer.evaluation", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.globals |= {name: getattr(sentences, name) for name in SENTENCES}
    environment.globals |= {"language_name": language_name, "encoder_facts": ENCODER_FACTS}
    return environment.get_template("report.html.j2")


def count_weights(path: Path) -> dict[str, int]:
    """The number of weights of each part of a model, from the shapes in its file.

    Raises:
        UserError: the file is corrupt.
    """
    from safetensors import SafetensorError, safe_open

    parts = {"encoder.embedding.": "vectors", "encoder.": "encoder", "": "classifier"}
    counts = dict.fromkeys(parts.values(), 0)
    with reading(path, "train", SafetensorError), safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118, it is no dictionary
            tensor = file.get_slice(name)
            if tensor.get_dtype().startswith("F"):  # integers are the keys of the n-grams
                part = next(part for prefix, part in parts.items() if name.startswith(prefix))
                counts[part] += math.prod(tensor.get_shape())
    return counts


def read_compared(evaluation: Path) -> Models:
    """What the evaluation says of each model that the Transformer is compared with, by its name.

    Raises:
        UserError: a file is missing or corrupt.
    """
    encoder = ["models/finetuned"] if (evaluation / "models" / "finetuned.json").exists() else []
    names = [*(f"baselines/{name}" for name in KINDS), *encoder, "models/ensemble"]
    paths = [evaluation / f"{name}.json" for name in names]
    return {path.stem: read_json(path, made_by="evaluate") for path in paths}


def read_table(data: Path, name: str, columns: list[str]) -> pd.DataFrame:
    """Read columns of a CSV file in `data`.

    Raises:
        UserError: the file is missing or corrupt.
    """
    types = {column: str if column in NAMES else float for column in columns}
    with reading(data / name, STAGES[name.partition("/")[0]]):
        return pd.read_csv(data / name, usecols=columns, dtype=types, keep_default_na=False)
