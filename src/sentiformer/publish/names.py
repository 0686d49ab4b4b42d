"""Names that a person reads: of the data and of the size of a model."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUNDLED = "film reviews"
NAME_CHARACTERS = 60  # of the data's name
ENDINGS = re.compile(r"(\.(csv|tsv|jsonl?|ndjson|parquet|txt|gz|bz2|xz|zst|zip))+$", re.IGNORECASE)
UNINFORMATIVE = {"", "train", "training", "data"}  # names of files that do not name their data


def data_name(about: Mapping[str, Any]) -> str:
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


def size_name(about: Mapping[str, Any]) -> str:
    """The size of the model, such as `d128 l1`: its width and the number of its layers.

    For a fine-tuned encoder it is the short name of the encoder, such as `all-MiniLM-L6-v2`.
    """
    if "encoder" in about:
        return Path(about["encoder"]["name"]).name.partition("@")[0] or "encoder"
    size = about["params"]["model"]
    return f"d{size['d_model']} l{size['num_layers']}"


def percent(share: float) -> str:
    """A share as percent with one decimal."""
    return f"{share * 100:.1f} %"


def slug(text: str) -> str:
    """Lower-case letters and digits of any script, with single hyphens between them."""
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", text).lower()).strip("-")
