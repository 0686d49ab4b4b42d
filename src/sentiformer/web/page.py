"""The page of `sentiformer demo`: a text box, what the model is, and texts to try."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from sentiformer.console.output import say
from sentiformer.core.files import read_csv, read_json, reading, sha256

if TYPE_CHECKING:
    from sentiformer.serving.config import AnyConfig
    from sentiformer.serving.threshold import Band, Thresholds

SHOWN_CLASSES = 8  # of more classes, the others are folded or counted
EXAMPLES = 4  # at most; one for each class
EXAMPLE_TOKENS = 20  # examples are as near to this length as possible


def render_page(model: str, config: "AnyConfig", thresholds: "Thresholds") -> str:
    """The page as HTML; it needs no other file and no network.

    If `data/evaluation` lies beside the model and is of this model, the page shows its accuracy
    on each source and some test texts.

    Args:
        model: the folder or the MLflow address of the model, as `sentiformer predict` takes it.
        config: the model's configuration.
        thresholds: how often the model was wrong on validation, by confidence.

    Raises:
        UserError: a file of the evaluation is corrupt.
    """
    loader = PackageLoader("sentiformer.web", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    accuracies, examples = _read_evaluation(Path(model))
    validated = config.data["splits"]["validation"]["rows"]
    return environment.get_template("page.html.j2").render(
        command=f"sentiformer predict --model {quote(model)} 'Write a text here.'",
        data=config.data["origin"]["name"],
        texts=config.data["splits"]["train"]["rows"],
        encoder=getattr(config, "encoder", None),
        labels=config.labels,
        shown=SHOWN_CLASSES,
        accuracies=accuracies,
        examples=examples,
        doubts=[_doubt(band) for band in thresholds.bands(validated)],
        choices=thresholds.choices(),
    )


def _doubt(band: "Band") -> dict[str, float | str]:
    """Lowest confidence, share of wrong answers, and a sentence that says it."""
    share = band.wrong / band.texts
    which = f"from {100 * band.low:.1f} to {100 * band.high:.1f} %"
    if not band.low:
        which = f"below {100 * band.high:.1f} %" if band.high < 1 else "of any size"
    counts = f"{band.wrong:,} of {band.texts:,} answers ({100 * share:.1f} %)"
    text = f"Wrong in validation: {counts} with a probability {which}."
    return {"low": band.low, "share": share, "text": text}


def _read_evaluation(model: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Accuracy by source, and a test text of each class, of the evaluation beside a model."""
    folder, weights = model.parent / "evaluation", model / "model.safetensors"
    if not (folder / "lineage.json").exists() or not weights.exists():
        return {}, {}
    column = _accuracy_column(model, folder)
    if not column:
        say(f"{folder} is of another model; the page shows no accuracy and no examples")
        return {}, {}
    with reading(folder / "by_source.csv", "evaluate", KeyError):
        rows = read_csv(folder / "by_source.csv", made_by="evaluate")
        accuracies = {row["source"]: float(row[column]) for row in rows if row["source"] != "all"}
    return accuracies, _choose_examples(folder / "predictions.parquet")


def _accuracy_column(model: Path, folder: Path) -> str:
    """The column of by_source.csv with the accuracy of a model; empty if it is not evaluated."""
    lineage = read_json(folder / "lineage.json", made_by="evaluate")
    networks = {lineage["model_sha256"]: "transformer"}
    networks[lineage.get("finetuned_sha256")] = "finetuned"
    network = networks.get(sha256(model / "model.safetensors"), "")
    if (model / "ngrams").exists():
        ensemble = read_json(folder / "models" / "ensemble.json", made_by="evaluate")
        return "ensemble_accuracy" if network in ensemble["parts"] else ""
    return {"transformer": "accuracy", "finetuned": "finetuned_accuracy"}.get(network, "")


def _choose_examples(path: Path) -> dict[str, str]:
    """A test text of about EXAMPLE_TOKENS tokens for each of the first classes."""
    import pyarrow.parquet as pq

    with reading(path, "evaluate", KeyError):
        columns = pq.read_table(path, columns=["text", "actual", "tokens"]).to_pydict()
        rows = list(zip(columns["text"], columns["actual"], columns["tokens"], strict=True))
    chosen: dict[str, str] = {}
    for text, label, _ in sorted(rows, key=lambda row: abs(row[2] - EXAMPLE_TOKENS)):
        chosen.setdefault(label, text)
    return dict(list(chosen.items())[:EXAMPLES])
