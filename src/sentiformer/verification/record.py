"""`record.json`, a file in Git: what the stages wrote, and in which environment.

`dvc.lock` names a folder by one hash. The record has the hash of each file, so that a rebuilt
result that differs can be compared file by file, without the files themselves.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sentiformer.core.environment import FILE
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, write_json
from sentiformer.verification.lock import file_hashes

RECORD = "record.json"
OUTPUTS = {  # of each stage, in the order in which they run; as in dvc.yaml
    "download": ["data/raw"],
    "tokenize": ["data/tokens"],
    "baseline": ["data/baseline"],
    "build_vocab": ["data/vocab"],
    "word_vectors": ["data/word_vectors"],
    "pretrain": ["data/pretrained"],
    "encoder": ["data/encoder"],
    "finetune": ["data/finetuned"],
    "teach": ["data/teacher"],
    "train": ["data/curves", "data/model"],
    "evaluate": ["data/evaluation", "metrics.json"],
    "export": ["data/exported"],
    "report": ["data/report"],
}


class Record(BaseModel):
    """The record of a rebuild.

    Attributes:
        texts: the fingerprint of the texts and labels of each split.
        environments: that of each stage whose results it decides, by the name of the stage.
        files: the MD5 of each file in each output of a stage; see `file_hashes`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    texts: dict[str, str]
    environments: dict[str, dict[str, str | int]]
    files: dict[str, dict[str, str]]


def output_files(project: Path) -> dict[str, dict[str, str]]:
    """The MD5 of each file in each output that is there; see `file_hashes`."""
    paths = (path for outputs in OUTPUTS.values() for path in outputs)
    return {path: found for path in paths if (found := file_hashes(project / path))}


def make_record(project: Path, files: dict[str, dict[str, str]]) -> Record:
    """Describe what the stages have written, with these `output_files`.

    Raises:
        UserError: a file that names texts or an environment is corrupt.
    """
    folders = {stage: project / outputs[-1] for stage, outputs in OUTPUTS.items()}
    folders["evaluate"] = project / "data/evaluation"
    environments = {stage: _environment(folder, stage) for stage, folder in folders.items()}
    has_texts = "data/raw" in files
    path = project / "data/raw/dataset.json"
    splits = read_json(path, made_by="download")["splits"] if has_texts else {}
    return Record(
        texts={name: split["fingerprint"] for name, split in splits.items()},
        environments={stage: values for stage, values in environments.items() if values},
        files=files,
    )


def write_record(project: Path) -> Record:
    """Write `record.json` on what the stages have written.

    Raises:
        UserError: an output is missing.
    """
    files = output_files(project)
    for stage, outputs in OUTPUTS.items():
        if missing := [path for path in outputs if path not in files]:
            raise UserError(f"{missing[0]} is missing; `dvc repro {stage}` makes it")
    record = make_record(project, files)
    partial = project / f"data/.{RECORD}.partial"  # the earlier record stays if the disk is full
    try:
        write_json(partial, record.model_dump())
        partial.replace(project / RECORD)
    finally:
        partial.unlink(missing_ok=True)
    return record


def read_record(project: Path) -> Record:
    """Read `record.json`.

    Raises:
        UserError: it is missing or damaged.
    """
    path = project / RECORD
    if not path.exists():
        raise UserError(f"{RECORD} is missing; `dvc repro record` writes it, then commit it")
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UserError(
            f"{RECORD} is no record; `git checkout -- {RECORD}` restores the committed one"
        ) from None


def _environment(folder: Path, stage: str) -> dict[str, Any]:
    """What the stage says of its environment; empty if nothing that it wrote depends on it."""
    if (folder / FILE).exists():
        return dict(read_json(folder / FILE, made_by=stage))
    if (folder / "config.json").exists():
        return dict(read_json(folder / "config.json", made_by=stage).get("environment") or {})
    return {}
