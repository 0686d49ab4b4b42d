"""Names that a person reads in MLflow: of runs and registered models."""

from typing import Any

from sentiformer.publish.names import data_name, size_name, slug

NAME = "sentiformer"  # of the experiment, and of the model of the bundled data
MODEL_TAG = f"{NAME}.model_sha256"  # of the weights of a run


def model_name(about: dict[str, Any]) -> str:
    """The registered model: `sentiformer`, or `sentiformer-<data>` if the data is not bundled.

    The name of a fine-tuned encoder ends with `-finetuned`. MLflow allows no `/`, `:`, `.`, `%` or
    quotes in the name of a model.
    """
    is_bundled = about["params"]["download"]["source"] == "bundled"
    data = "" if is_bundled else f"-{slug(data_name(about)) or 'texts'}"
    return f"{NAME}{data}{'-finetuned' if about['stage'] == 'finetune' else ''}"


def run_name(about: dict[str, Any], result: str = "") -> str:
    """The name of a run, such as `film reviews · 91.5 % · d128 l1`, at first without a result.

    The result comes early, because MLflow's table of runs shows the beginning of a name.
    """
    parts = [data_name(about), result, size_name(about)]
    if about["stage"] == "pretrain":
        parts.append("language model")
    return " · ".join(filter(None, parts))
