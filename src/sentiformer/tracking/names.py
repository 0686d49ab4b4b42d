"""Names that a person reads in MLflow: of data, runs and registered models."""

import re
import unicodedata
from pathlib import Path
from typing import Any

NAME = "sentiformer"  # of the experiment, and of the model of the bundled data
MODEL_TAG = f"{NAME}.model_sha256"  # of the weights of a run
BUNDLED = "film reviews"
NAME_CHARACTERS = 60  # of the data's name
ENDINGS = re.compile(r"(\.(csv|tsv|jsonl?|ndjson|parquet|txt|gz|bz2|xz|zst|zip))+$", re.IGNORECASE)
UNINFORMATIVE = {"", "train", "training", "data"}  # names of files that do not name their data


def data_name(about: dict[str, Any]) -> str:
    """A short name of the data: of the Hub's data set, or of the file or folder of train."""
    download = about["params"]["download"]
    if download["source"] == "bundled":
        return BUNDLED
    if download["source"] == "hub":
        return str(download["hub_dataset"])[:NAME_CHARACTERS]
    parts = reversed(Path(download["train"]).parts)
    names = (ENDINGS.sub("", part).strip("*?[]/ ") for part in parts)
    found = next((name for name in names if slug(name) not in UNINFORMATIVE), "texts")
    return found[:NAME_CHARACTERS]


def model_name(about: dict[str, Any]) -> str:
    """The registered model: `sentiformer`, or `sentiformer-<data>` if the data is not bundled.

    The name of a fine-tuned encoder ends with `-finetuned`. MLflow allows no `/`, `:`, `.`, `%` or
    quotes in the name of a model.
    """
    is_bundled = about["params"]["download"]["source"] == "bundled"
    data = "" if is_bundled else f"-{slug(data_name(about)) or 'texts'}"
    return f"{NAME}{data}{'-finetuned' if about['stage'] == 'finetune' else ''}"


def size_name(about: dict[str, Any]) -> str:
    """The size of the model, such as `d128 l1`: its width and the number of its layers.

    For a fine-tuned encoder it is the short name of the encoder, such as `all-MiniLM-L6-v2`.
    """
    if about["stage"] == "finetune":
        return Path(about["encoder"]["name"]).name.partition("@")[0] or "encoder"
    size = about["params"]["model"]
    return f"d{size['d_model']} l{size['num_layers']}"


def run_name(about: dict[str, Any], result: str = "") -> str:
    """The name of a run, such as `film reviews · 91.5 % · d128 l1`, at first without a result.

    The result comes early, because MLflow's table of runs shows the beginning of a name.
    """
    parts = [data_name(about), result, size_name(about)]
    if about["stage"] == "pretrain":
        parts.append("language model")
    return " · ".join(filter(None, parts))


def percent(share: float) -> str:
    """A share as percent with one decimal."""
    return f"{share * 100:.1f} %"


def slug(text: str) -> str:
    """Lower-case letters and digits of any script, with single hyphens between them."""
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", text).lower()).strip("-")
