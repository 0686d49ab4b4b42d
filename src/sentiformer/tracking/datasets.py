"""The splits of the data as MLflow data sets."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.publish.names import data_name

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

DIGEST_CHARACTERS = 32  # of a fingerprint; MLflow allows 36
COLUMNS = [{"type": "string", "name": "text"}, {"type": "string", "name": "label"}]


def data_inputs(about: dict[str, Any]) -> "list[DatasetInput]":
    """The splits that a training read, or that its model is tested on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for split, facts in about["data"]["splits"].items():
        if split == "test" and about["stage"] == "pretrain":
            continue  # pretraining never reads it
        source_type, source = _source(about, split)
        dataset = Dataset(
            **dataset_key(about, split),
            source_type=source_type,
            source=json.dumps(source),
            schema=json.dumps({"mlflow_colspec": COLUMNS}),
            profile=json.dumps(facts),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", split)]))
    return inputs


def dataset_key(about: dict[str, Any], split: str) -> dict[str, str]:
    """What identifies a split in MLflow: its name, and the beginning of its fingerprint."""
    fingerprint = about["data"]["splits"][split]["fingerprint"]
    return {"name": f"{data_name(about)}, {split}", "digest": fingerprint[:DIGEST_CHARACTERS]}


def _source(about: dict[str, Any], split: str) -> tuple[str, dict[str, Any]]:
    """The type and the content of a source that `mlflow.data.get_source` can read."""
    download, origin = about["params"]["download"], about["data"]["origin"]
    match download["source"]:
        case "bundled":
            return "local", {"uri": f"data/raw/{split}.parquet"}  # the package has no address
        case "hub":
            owner, *rest = download["hub_dataset"].split("/")
            path, configuration = "/".join([owner, *rest[:1]]), "/".join(rest[1:])
            revision = origin.get("revision") or download["hub_revision"]
            named = {"config_name": configuration} if configuration else {}
            return "hugging_face", {"path": path, "revision": revision, **named}
    return "local", {"uri": _without_glob(download.get(split) or download["train"])}


def _without_glob(pattern: str) -> str:
    """The path, or the folder in which a glob searches, since MLflow reads no globs."""
    before, *glob = re.split(r"[*?\[]", pattern, maxsplit=1)
    return str(Path(f"{before}x").parent) if glob else pattern
