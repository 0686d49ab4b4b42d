"""Self-training: texts without a label are learnt from as a teacher would label them.

A teacher that was fitted to the labelled texts gives the probability of each class for every
unlabelled one, and the classifier is fitted to both (Scudder 1965; Xie et al. 2020, section 2).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json, reading, write_json
from sentiformer.core.names import UNLABELED
from sentiformer.text.corpus import Corpus

LABELS_FILE = f"{UNLABELED}.npy"


def require_unlabeled(by: str, about: dict[str, Any]) -> None:
    """Refuse a teacher where `corpus.json` knows of no text without a label.

    Raises:
        UserError: there is none.
    """
    if by != "nobody" and not about["splits"].get(UNLABELED, {"rows": 0})["rows"]:
        raise UserError(
            f"params.yaml: teach.by is {by}, but there is no text without a label; give "
            "download.unlabeled some that stand in no other split, or set teach.by to nobody"
        )


def write_probabilities(folder: Path, probabilities: np.ndarray) -> None:
    """Write the (N, C) probabilities of the unlabelled texts' classes."""
    np.save(folder / LABELS_FILE, probabilities.astype(np.float32), allow_pickle=False)


def read_probabilities(folder: Path, shape: tuple[int, int], *, made_by: str) -> np.ndarray:
    """The (N, C) float32 probabilities that the stage `made_by` wrote.

    Raises:
        UserError: the file is missing or corrupt, or of another number of texts or classes.
    """
    path = folder / LABELS_FILE
    with reading(path, made_by, EOFError):
        probabilities: np.ndarray = np.load(path, allow_pickle=False)
    if probabilities.shape != shape:
        raise corrupt(path, made_by, f"it holds {probabilities.shape} values, not {shape}")
    return probabilities


def write_teacher(folder: Path, about: dict[str, Any], given: Sequence[np.ndarray]) -> None:
    """Write who teaches to `config.json`, and the mean of the (N, C) probabilities that they give.

    `about` says it as `by`; nobody gives none.
    """
    write_json(folder / "config.json", about)
    if given:
        write_probabilities(folder, np.mean(given, axis=0))


def teacher_of(folder: Path) -> str:
    """Who teaches, by what `write_teacher` wrote."""
    return str(read_json(folder / "config.json", made_by="teach")["by"])


class TaughtTexts:
    """Labelled texts, and after them unlabelled ones with a teacher's probabilities.

    Attributes:
        lengths: (N,) tokens of each text.
        labels: (N, C) float32: 1 for the class of a labelled text.
    """

    def __init__(self, labeled: Corpus, unlabeled: Corpus, probabilities: np.ndarray) -> None:
        self._labeled, self._unlabeled = labeled, unlabeled
        self.lengths = np.concatenate([labeled.lengths, unlabeled.lengths])
        certain = np.eye(probabilities.shape[1], dtype=np.float32)[labeled.labels]
        self.labels = np.concatenate([certain, probabilities])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:
        """The type ids of a text."""
        beyond = index - len(self._labeled)
        return self._unlabeled[beyond] if beyond >= 0 else self._labeled[index]
