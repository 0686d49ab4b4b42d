"""The model card: the description of a model in MLflow, as Markdown.

After Mitchell et al. 2019, Model Cards for Model Reporting.
"""

from typing import Any

from sentiformer.core.errors import listed
from sentiformer.core.names import ENCODER_FACTS
from sentiformer.tracking.names import MODEL_TAG, data_name, percent, size_name

HEADING = "### sentiformer"  # a description that begins otherwise was written by a person
CARD_CHARACTERS = 5000  # MLflow's limit for a description
LABEL_CHARACTERS = 60


def model_card(about: dict[str, Any], sources: list[dict[str, str]], use: str) -> str:
    """Describe a model: its size, data, classes, metrics on test, limits and use.

    Args:
        about: the `config.json` of the model.
        sources: the metrics of each source of test texts; empty if the model is not evaluated.
        use: how to get or call the model, as Markdown.
    """
    labels = [label[:LABEL_CHARACTERS] for label in about["labels"]]
    params, origin = about["params"], about["data"]["origin"]
    counts = [f"{name} {facts['rows']:,}" for name, facts in about["data"]["splits"].items()]
    lines = [
        f"{HEADING}: {data_name(about)}",
        _what_it_is(about),
        f"**Data:** {origin['name']}; texts: {', '.join(counts)}. Licence: {origin['licence']}. "
        f"Citation: {origin['citation']}.",
        f"**Classes ({len(labels)}):** {listed(labels)}",
        _metrics(about, sources),
        f"**Limits:** the language is {params['tokenize']['language']}. Of a longer text "
        "the model reads the beginning and the end, "
        f"{params['finetune' if 'encoder' in about else 'model']['max_len']} tokens. A "
        "text that the model cannot judge, such as one without a known word, has the label "
        '"?" and a reason. Texts of another kind '
        "than the data may be classified wrongly with a high probability.",
        use,
    ]
    return "\n\n".join(lines)[:CARD_CHARACTERS]


def _what_it_is(about: dict[str, Any]) -> str:
    """The kind of the model, and what is known about its pretrained encoder, if it has one."""
    size, params = size_name(about), about["params"]
    if about["stage"] == "train":
        teacher = params["teach"].get("by")
        taught = f", also with pseudo-labels by {teacher}" if teacher else ""
        return f"A Transformer ({size}) that classifies texts, trained from scratch{taught}."
    is_mean, encoder = params["finetune"]["ensemble"], about["encoder"]
    mean = ", in the mean with the n-gram model nb_trigrams" if is_mean else ""
    facts = [f"{key.replace('_', ' ')} {encoder[key]}" for key in ENCODER_FACTS if encoder.get(key)]
    return (
        f"The pretrained encoder {size}, fine-tuned to classify texts{mean}.\n\n**Encoder:** "
        f"{'; '.join(facts)}. It has learned from text from outside the data set."
    )


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


def _metrics(about: dict[str, Any], sources: list[dict[str, str]]) -> str:
    """The accuracies on validation and test as a list, beside those of the other models."""
    validation, is_encoder = percent(about["best"]["valid_accuracy"]), about["stage"] == "finetune"
    alone = " of the encoder alone" if is_encoder else ""
    lines = [f"**Metrics{alone}:** accuracy on validation (all sources) {validation}; on test:"]
    for row in sources:
        shares = {key: percent(float(row[key])) for key in row if "accuracy" in key}
        names = [key.removesuffix("_accuracy") for key in shares if key.endswith("_accuracy")]
        others = ", ".join(f"{name} {shares[f'{name}_accuracy']}" for name in names)
        details = (
            f" (95 % interval {shares['accuracy_low']} to {shares['accuracy_high']}), log loss "
            f"{float(row['log_loss']):.3f}, calibration error {float(row['calibration_error']):.3f}"
        )
        lines.append(
            f"- {row['source']} ({int(row['texts']):,}): accuracy {shares['accuracy']}"
            f"{'' if is_encoder else details}; accuracy of {others}"
        )
    return "\n".join(lines) if sources else f"{lines[0]} not evaluated yet"
