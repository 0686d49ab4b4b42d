"""How long a result took, kept beside the results and never in them: no clock decides their bytes.

A file in `.timings/` is named by the content that was made, so a result that DVC restores from
its cache is found together with the time that it once took on this machine.
"""

import os
from pathlib import Path

from sentiformer.core.files import read_json, sha256, write_json
from sentiformer.core.runtime import project_root

FOLDER = ".timings"


def keep_seconds(stage: str, result: Path, seconds: dict[str, float]) -> None:
    """Remember what each model took that a stage fitted, whose output holds the file `result`.

    A stage that fitted none may have written no such file; then nothing is kept.
    """
    if not seconds:
        return
    path = _path(stage, sha256(result))
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(f".partial-{os.getpid()}")
    write_json(partial, {name: round(value, 2) for name, value in seconds.items()})
    partial.replace(path)


def kept_seconds(stage: str, result_sha256: str) -> dict[str, float]:
    """The seconds by model, of the result of this hash; empty where another machine made it.

    Raises:
        UserError: what was kept is no JSON.
    """
    path = _path(stage, result_sha256)
    return read_json(path, made_by=stage) if path.exists() else {}


def _path(stage: str, result_sha256: str) -> Path:
    return project_root() / FOLDER / f"{stage}-{result_sha256[:16]}.json"
