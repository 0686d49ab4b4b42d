"""The state of a training that was stopped, in one safetensors file that appears whole.

A checkpoint's name is a hash of all that decides the training's bits, so one that belongs to other
parameters, data, code or hardware is never picked up.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sentiformer.console import say
from sentiformer.core.files import sha256

Saved: TypeAlias = tuple[dict[str, Tensor], dict[str, Any]]  # a state: tensors by name, and JSON


def training_key(inputs: list[Path], about: dict[str, Any]) -> str:
    """Name a training by the contents of its input files and by what is said about it."""
    contents = [sha256(path) for path in inputs]
    return hashlib.sha256(json.dumps([contents, about]).encode()).hexdigest()[:16]


class Checkpoint:
    """The one checkpoint of one training.

    Args:
        folder: where checkpoints are kept.
        key: the training's `training_key`.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{key}.safetensors"

    def save(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Replace the checkpoint; a kill at any moment leaves the old or the new one, whole."""
        partial = self.path.with_suffix(f".partial-{os.getpid()}")
        partial.mkdir(parents=True, exist_ok=True)  # safetensors writes to a file of its own first
        try:
            written = partial / self.path.name
            save_file(tensors, written, metadata={"state": json.dumps(state)})
            with written.open("rb") as file:
                os.fsync(file.fileno())
            written.replace(self.path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def load(self) -> Saved | None:
        """Read the checkpoint; None where there is none, or where it cannot be read."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return tensors, json.loads(file.metadata()["state"])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            say(f"{self.path} cannot be read ({error}); training starts from the beginning")
            return None

    def delete(self) -> None:
        """Forget the training, which has ended, and what kills left half-written."""
        self.path.unlink(missing_ok=True)
        for partial in self.path.parent.glob(f"{self.path.stem}.partial-*"):
            shutil.rmtree(partial, ignore_errors=True)
