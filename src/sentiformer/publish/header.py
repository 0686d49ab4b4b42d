"""The header of a model card on the Hub: YAML by the Hub's schema.

See https://huggingface.co/docs/hub/model-cards.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sentiformer.core.hub import PINNED
from sentiformer.core.languages import main_languages
from sentiformer.publish.names import data_name, percent, slug

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LIBRARY, TASK = "sentiformer", "text-classification"
METRICS = {"accuracy": "accuracy", "f1": "F1", "log_loss": "log loss, nats"}
METRICS |= {"calibration_error": "expected calibration error"}
MANY_LANGUAGES = "xx"  # spaCy's code


def card_header(
    about: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], license_id: str | None
) -> str:
    """The header, with the lines that begin and end it.

    Args:
        about: the `config.json` of the model.
        sources: see `card_sections`.
        license_id: the Hub's name of the licence of the model, such as `apache-2.0`.
    """
    from huggingface_hub import ModelCardData

    exported = about["params"].get("export", {}).get("format")
    values = ModelCardData(
        language=_languages(about),
        license=license_id,
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=[LIBRARY, TASK, *(["onnx", exported] if exported else ["safetensors"])],
        datasets=_dataset(about),
        metrics=["accuracy"],
        model_name=f"{LIBRARY} {data_name(about)}",
        eval_results=[result for row in sources for result in _results(about, row)],
        **_base_model(about),
    )
    return f"---\n{values.to_yaml()}\n---\n"


def _languages(about: Mapping[str, Any]) -> list[str]:
    """The codes of the main languages of the training texts, or else of the tokenizer."""
    code = about["params"]["tokenize"]["language"]
    found = list(main_languages(about["data"]["splits"]["train"].get("languages") or {}))
    return found or ["multilingual" if code == MANY_LANGUAGES else code]


def _dataset(about: Mapping[str, Any]) -> list[str] | None:
    """The data set of the Hub, if the texts are from there."""
    if about["params"]["download"]["source"] != "hub":
        return None
    return ["/".join(about["data"]["origin"]["name"].split("/")[:2])]


def _base_model(about: Mapping[str, Any]) -> dict[str, str]:
    """The encoder that was fine-tuned, if it is from the Hub."""
    name = (about.get("encoder") or {}).get("name", "")
    if not PINNED.fullmatch(name):
        return {}
    return {"base_model": name.partition("@")[0], "base_model_relation": "finetune"}


def _results(about: Mapping[str, Any], row: Mapping[str, Any]) -> "list[EvalResult]":
    """The metrics of a source of test texts; the Hub's schema has no field for an interval."""
    from huggingface_hub import EvalResult

    low, high = (percent(row[f"accuracy_{end}"]) for end in ("low", "high"))
    names = METRICS | {"accuracy": f"accuracy (95 % interval {low} to {high})"}
    name, source = data_name(about), row["source"]
    place = {
        "task_type": TASK,
        "dataset_type": (_dataset(about) or [slug(name) or "texts"])[0],
        "dataset_name": name if len(about["data"]["sources"]) == 1 else f"{name}: {source}",
        "dataset_config": source,
        "dataset_split": "test",
        "dataset_revision": about["data"]["origin"].get("revision"),
    }
    return [
        EvalResult(**place, metric_type=key, metric_name=names[key], metric_value=row[key])
        for key in names
        if row.get(key) is not None
    ]
