"""The state of a stopped training, in one safetensors file that is written atomically.

A checkpoint is named by its stage and by a hash of all that decides the training's bits, so one of
other parameters, data, code or hardware is never used.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sentiformer.console.output import say

OTHERS_KEPT = 2  # checkpoints of other trainings of the same stage, the newest
Saved: TypeAlias = tuple[dict[str, Tensor], dict[str, Any]]  # a state: tensors by name, and JSON


class Checkpoint:
    """The checkpoint, in a folder, of the training that the stage and the key name."""

    def __init__(self, folder: Path, stage: str, key: str) -> None:
        self._stage = stage
        self.path = folder / f"{stage}-{key}.safetensors"

    def save(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Replace the checkpoint; a kill at any moment leaves the old or the new one, whole."""
        partial = self.path.with_suffix(f".partial-{os.getpid()}")
        partial.mkdir(parents=True, exist_ok=True)  # safetensors writes to a temporary file first
        try:
            written = partial / self.path.name
            content = {"state": state, "sha256": _digest(tensors)}
            save_file(tensors, written, metadata={"content": json.dumps(content)})
            with written.open("rb") as file:
                os.fsync(file.fileno())
            written.replace(self.path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def load(self) -> Saved | None:
        """Read the checkpoint; None if it does not exist or cannot be read."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                content = json.loads(file.metadata()["content"])
            if content["sha256"] != _digest(tensors):
                raise ValueError("its tensors have another SHA-256")
            return tensors, content["state"]
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            say(f"{self.path} cannot be read ({error}); training starts from the beginning")
            return None

    def prune(self) -> None:
        """Delete old checkpoints of the stage's other trainings; a running one saves again."""
        others = [p for p in self.path.parent.glob(f"{self._stage}-*") if p.stem != self.path.stem]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[OTHERS_KEPT:]:
            _delete(path)

    def delete(self) -> None:
        """Delete the checkpoint of a finished training, and files that a kill left unfinished."""
        for path in self.path.parent.glob(f"{self.path.stem}.*"):
            _delete(path)


def _digest(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of the names and the bytes of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
