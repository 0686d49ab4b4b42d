"""The files of pseudo-labels that stage baseline writes, and stage train reads."""

from pathlib import Path

import numpy as np

from sentiformer.core.files import corrupt, read_json, reading, write_json
from sentiformer.core.names import UNLABELED

FILE = f"{UNLABELED}.npy"
STAGE = "baseline"


def write_pseudo_labels(folder: Path, by: str | None, probabilities: np.ndarray | None) -> None:
    """Write the teacher's name to `config.json`, and what it predicts to `unlabeled.npy`.

    Without a teacher both are None; else `probabilities` of the unlabelled texts are (N, C).
    """
    write_json(folder / "config.json", {"by": by})
    if probabilities is not None:
        np.save(folder / FILE, probabilities.astype(np.float32), allow_pickle=False)


def read_teacher(folder: Path) -> str | None:
    """Read the teacher's name; None without one. A missing or corrupt file raises UserError."""
    config = read_json(folder / "config.json", made_by=STAGE)
    if "by" not in config:
        raise corrupt(folder / "config.json", STAGE, "it lacks 'by'")
    return config.get("by")


def read_pseudo_labels(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read the teacher's float32 probabilities, (N, C); `shape` is the expected N and C.

    Raises:
        UserError: the file is missing or corrupt, or has another shape.
    """
    path = folder / FILE
    with reading(path, STAGE, EOFError):
        probabilities: np.ndarray = np.load(path, allow_pickle=False)
    if probabilities.shape != shape:
        raise corrupt(path, STAGE, f"it holds {probabilities.shape} values, not {shape}")
    return probabilities
