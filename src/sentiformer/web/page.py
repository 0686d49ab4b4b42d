"""The page of `sentiformer demo`: a text box, what the model is, and texts to try."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from sentiformer.console.output import say
from sentiformer.core.files import read_csv, read_json, reading, sha256

if TYPE_CHECKING:
    from sentiformer.serving.trained_model import Config

SHOWN_CLASSES = 8  # of more classes, the others are folded or counted
ALL = "all"  # the name of the row of all sources together
EXAMPLES = 4  # at most; one for each class
EXAMPLE_TOKENS = 20  # examples are as near to this length as possible


class Example(NamedTuple):
    """A test text, and its class in the data."""

    text: str
    label: str


def render_page(model: str, config: "Config") -> str:
    """The page as HTML; it needs no other file and no network.

    If `data/evaluation` lies beside the model and is of this model, the page shows its accuracy
    on each source and some test texts.

    Args:
        model: the folder or the MLflow address of the model, as `sentiformer predict` takes it.
        config: the model's configuration.

    Raises:
        UserError: a file of the evaluation is corrupt.
    """
    loader = PackageLoader("sentiformer.web", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    accuracies, examples = _read_evaluation(Path(model))
    return environment.get_template("page.html.j2").render(
        command=f"sentiformer predict --model {quote(model)} 'Write a text here.'",
        data=config.data["origin"]["name"],
        texts=config.data["splits"]["train"]["rows"],
        labels=config.labels,
        shown=SHOWN_CLASSES,
        accuracies=accuracies,
        examples=examples,
    )


def _read_evaluation(model: Path) -> tuple[dict[str, float], list[Example]]:
    """Accuracy by source, and examples, of the evaluation that lies beside a model's folder."""
    folder, weights = model.parent / "evaluation", model / "model.safetensors"
    if not (folder / "lineage.json").exists() or not weights.exists():
        return {}, []
    lineage = read_json(folder / "lineage.json", made_by="evaluate")
    if lineage["model_sha256"] != sha256(weights):
        say(f"{folder} is of another model; the page shows no accuracy and no examples")
        return {}, []
    with reading(folder / "by_source.csv", "evaluate", KeyError):
        rows = read_csv(folder / "by_source.csv", made_by="evaluate")
        accuracies = {row["source"]: float(row["accuracy"]) for row in rows}
    accuracies.pop(ALL, None)
    return accuracies, _choose_examples(folder / "predictions.parquet")


def _choose_examples(path: Path) -> list[Example]:
    """A test text of about EXAMPLE_TOKENS tokens for each of the first classes."""
    import pyarrow.parquet as pq

    with reading(path, "evaluate", KeyError):
        columns = pq.read_table(path, columns=["text", "actual", "tokens"]).to_pydict()
        rows = list(zip(columns["text"], columns["actual"], columns["tokens"], strict=True))
    chosen: dict[str, str] = {}
    for text, label, _ in sorted(rows, key=lambda row: abs(row[2] - EXAMPLE_TOKENS)):
        chosen.setdefault(label, text)
    return [Example(text, label) for label, text in chosen.items()][:EXAMPLES]
