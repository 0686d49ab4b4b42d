"""The model card as the description of a model in MLflow."""

from typing import Any

from sentiformer.publish.card import as_text, card_sections
from sentiformer.publish.names import data_name
from sentiformer.tracking.names import MODEL_TAG

HEADING = "### sentiformer"  # a description that begins otherwise was written by a person
CARD_CHARACTERS = 5000  # MLflow's limit for a description


def model_card(about: dict[str, Any], sources: list[dict[str, str]], use: str) -> str:
    """Describe a model: its size, data, classes, metrics on test, limits and use.

    Args:
        about: the `config.json` of the model.
        sources: see `card_sections`; the metrics are of the network alone.
        use: how to get or call the model, as Markdown.
    """
    sections = card_sections(about, sources, alone=True)
    lines = [f"{HEADING}: {as_text(data_name(about))}", sections.pop("Model")]
    lines += [f"**{title}:** {text}" for title, text in sections.items()]
    return "\n\n".join([*lines, use])[:CARD_CHARACTERS]


def how_to_call(address: str) -> str:
    """How to call the registered model at an address such as `models:/sentiformer/1`."""
    return f"""**Use:** in the shell:
```
sentiformer predict --model {address} "a text"
```
In Python:
```
import mlflow
model = mlflow.pyfunc.load_model("{address}")
print(model.predict(["a text"])[0].label)
```
Over HTTP:
```
mlflow models serve -m {address} --env-manager local -p 5001
curl -H 'Content-Type: application/json' -d '{{"inputs": ["a text"]}}' \\
    http://127.0.0.1:5001/invocations
```"""


def how_to_restore(tags: dict[str, str], weights: str) -> str:
    """How to get the weights of a run, a file in `data`, that are not in MLflow, from DVC."""
    if experiment := tags.get("dvc.experiment"):
        way = f"type `dvc exp apply {experiment}`"
    else:
        commit = tags.get("mlflow.source.git.commit", "")[:12]
        checkout = f"type `git checkout {commit}`, " if commit else ""
        way = f"{checkout}set `params.yaml` to the parameters of this run, and type `dvc repro`"
    return (
        "**Weights:** MLflow has the weights of the registered versions only. To restore these "
        f"with DVC, {way}. The SHA-256 of `data/{weights}` is then "
        f"{tags[MODEL_TAG]}."
    )
