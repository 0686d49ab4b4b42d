"""How to rebuild a model: the commit, the parameters and the command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentiformer.core.errors import one_line
from sentiformer.core.git import last_commit
from sentiformer.evaluation.defaults import parameters
from sentiformer.evaluation.revision import read_revision

CONFIG = "config.json"


def how_to_rebuild(model: Path, about: Mapping[str, Any], weights: str) -> str:
    """How to rebuild the model in a folder, as Markdown.

    Args:
        model: its folder.
        about: its `config.json`, as it is published.
        weights: the SHA-256 of its weights, or of those that were exported.
    """
    environment, commit = about["environment"], commit_of(model)
    known = f"at commit `{commit}`" if commit else "(the commit of this model is not known)"
    changed = parameters(about["params"])["changed"]
    lines = [f"- `{one_line(f'{name}: {value}')}`" for name, value in changed.items()]
    others = "\n\nThese parameters differ from the default:\n\n" + "\n".join(lines)
    return (
        f"In the project `sentiformer` {known}, `dvc repro {about['stage']}` trains the model on "
        "the same data. The same processor and number of threads give the same bits: "
        f"{environment['processor']}, {environment['threads']} threads, "
        f"torch {environment['torch']}. The SHA-256 of the weights"
        f"{' before the export' if about['stage'] == 'export' else ''} is `{weights}`."
        f"{others if changed else ' All parameters have their defaults.'}"
    )


def commit_of(model: Path) -> str | None:
    """The last commit of the project in the working directory, if it records this very model.

    DVC's cache is read, and no network is used.
    """
    try:
        place = model.resolve().relative_to(Path.cwd().resolve()) / CONFIG
        recorded = read_revision("HEAD", place.as_posix())
    except Exception:  # DVC and its parts raise errors of many classes
        return None
    if recorded != (model / CONFIG).read_bytes():
        return None
    return last_commit() or None
