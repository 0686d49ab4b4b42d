"""What made a model: its lineage, from its files, the history of Git and the runs of MLflow."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from sentiformer.console.tree import tree
from sentiformer.core.errors import UserError, one_line
from sentiformer.core.files import JsonObject, read_json
from sentiformer.core.names import ENCODER_FACTS
from sentiformer.core.params import parse
from sentiformer.core.seal import SEAL, require_sealed
from sentiformer.evaluation.defaults import parameters
from sentiformer.verification.history import (
    Record,
    find_record,
    folders_with,
    project_of,
    stages_before,
)
from sentiformer.verification.lock import file_hashes, hash_of

CONFIG, WEIGHTS = "config.json", "model.safetensors"
VERSION = re.compile(r"\d+\.\d")  # begins the version of a package
DIGITS = 12  # of an MD5 in a terminal
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
FindRun = Callable[[str, str | None], Mapping[str, Any] | None]  # by weights and training key


class Split(BaseModel):
    """A split of the data."""

    rows: int
    fingerprint: str


class Data(BaseModel):
    """The data that a model was trained and tested on."""

    origin: dict[str, Any]
    splits: dict[str, Split]


class Config(BaseModel):
    """The part of a model's `config.json` that says what made it."""

    stage: str
    training_key: str | None = None
    params: dict[str, dict[str, Any]]
    data: Data
    environment: dict[str, Any]
    encoder: dict[str, Any] | None = None
    made_from: dict[str, Sha256] = {}


def lineage(folder: Path, find_run: FindRun) -> dict[str, Any]:
    """What made the model in a folder; a fact that is None is unknown, and `unknown` says why.

    Args:
        folder: its files.
        find_run: finds the run by the SHA-256 of the weights and the key of the training. It
            raises a UserError if the runs cannot be searched.

    Raises:
        UserError: the folder holds no model, or a file of it was changed.
    """
    config, files = _read(folder)
    hashes = file_hashes(folder)
    record = _record(folder, {k: v for k, v in hashes.items() if k in files or k == SEAL})
    # An exported model has no such file; it says from which weights it was made.
    weights = files.get(WEIGHTS) or config.made_from.get(WEIGHTS)
    run, reason = _run(find_run, weights, config.training_key)
    versions = {k: v for k, v in config.environment.items() if VERSION.match(str(v))}
    encoder = config.encoder and {key: config.encoder.get(key) for key in ENCODER_FACTS}
    return {
        "stage": config.stage,
        "weights_sha256": weights,
        "files_sha256": files,
        "recorded_md5": record.digest if record.lock else None,
        "commit": record.commit,
        "parameters": parameters(config.params),
        "data": config.data.model_dump(),
        **({"encoder": encoder} if encoder else {}),
        "stages": stages_before(record.lock, record.digest) if record.lock else None,
        "made_from_sha256": config.made_from,
        "versions": versions,
        "machine": {k: v for k, v in config.environment.items() if k not in versions},
        "run": run,
        "unknown": {k: v for k, v in (("commit", record.reason), ("run", reason)) if v},
    }


def _read(folder: Path) -> tuple[Config, JsonObject]:
    """The `config.json` of a model, and the SHA-256 of each of its files, which are checked."""
    path = folder / CONFIG
    about = read_json(path, made_by="train")
    if not isinstance(stage := about.get("stage"), str):
        raise UserError(f"{path} is not of this project; give a folder such as data/model")
    if "data" not in about:
        params = json.dumps(about.get("params"))
        raise UserError(f"{folder} holds no model: stage {stage} makes none with {params}")
    require_sealed(folder, made_by=stage)
    files = read_json(folder / SEAL, made_by=stage)
    return parse(Config, about, where=str(path)), files


def _record(folder: Path, hashes: dict[str, str]) -> Record:
    """The record of a model, or else that of a folder with the same weights.

    A published model, for example, has not all files that its stage wrote.
    """
    digest = hash_of(hashes) or ""
    if (project := project_of(folder)) is None:
        reason = "neither the model nor the working directory is in a project"
        return Record(digest, {}, None, reason)
    record = find_record(project, digest)
    if record.lock or WEIGHTS not in hashes:
        return record
    others = folders_with(project, WEIGHTS, hashes[WEIGHTS])
    for other in (find_record(project, other) for other in others):
        if other.commit:
            names = "a folder with the same weights and other files"
            return other._replace(commit={**other.commit, "names": names})
    return record


def _run(
    find_run: FindRun, weights: str | None, key: str | None
) -> tuple[Mapping[str, Any] | None, str]:
    """The MLflow run of a model, or why it is unknown."""
    if weights is None:
        return None, f"{CONFIG} does not say from which weights the model was exported"
    try:
        run = find_run(weights, key)
    except UserError as error:
        return None, str(error)
    return run, "" if run else "MLflow has no run with these weights"


def as_tree(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that show the lineage of a model in a terminal, with shortened MD5 hashes."""
    files, params, data = (facts[name] for name in ("files_sha256", "parameters", "data"))
    splits = {
        name: f"{split['rows']:,} texts, fingerprint {split['fingerprint']}"
        for name, split in data["splits"].items()
    }
    branches = {
        "stages": facts["stages"] and dict(map(_branch, facts["stages"])),
        **({} if facts["stages"] else {"made from, SHA-256": facts["made_from_sha256"]}),
        f"weights{'' if WEIGHTS in files else ' before the export'}": facts["weights_sha256"],
        "seal": f"holds, the SHA-256 of {len(files)} files",
        "commit": facts["commit"],
        "parameters that differ from the default": {
            name: json.dumps(value, ensure_ascii=False) for name, value in params["changed"].items()
        },
        "data": data["origin"] | splits,
        **({"encoder": facts["encoder"]} if "encoder" in facts else {}),
        "versions": facts["versions"],
        "machine": facts["machine"],
        "run": facts["run"],
    }
    unknown = {name: f"unknown: {reason}" for name, reason in facts["unknown"].items()}
    yield one_line(f"{name}, of stage {facts['stage']}")
    yield from tree(branches | unknown)


def _branch(stage: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """A stage in the tree: its name and outputs, and below them its inputs."""
    outs = ", ".join(f"{name} {str(digest)[:DIGITS]}" for name, digest in stage["outs"].items())
    unmatched = dict.fromkeys(stage.get("unmatched", ()), ", unlike the output in this dvc.lock")
    deps = {k: str(v)[:DIGITS] + unmatched.get(k, "") for k, v in stage["deps"].items()}
    return f"{stage['stage']} → {outs}", deps
