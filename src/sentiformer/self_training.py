"""Self-training: texts without a label are learnt from as a teacher would label them.

A teacher that was fitted to the labelled texts gives the probability of each class for every
unlabelled one, and the classifier is fitted to both (Scudder 1965; Xie et al. 2020, section 2).
"""

from pathlib import Path

import numpy as np

from sentiformer.config import UNLABELED
from sentiformer.corpus import Corpus
from sentiformer.files import corrupt, missing, read_json, write_json

STAGE = "baseline"


def write_teacher(folder: Path, probabilities: np.ndarray | None) -> None:
    """Write the (N, C) probabilities that a teacher gives; None where nobody teaches."""
    write_json(folder / "config.json", {"teach": probabilities is not None})
    if probabilities is not None:
        np.save(folder / f"{UNLABELED}.npy", probabilities.astype(np.float32), allow_pickle=False)


def read_teacher(folder: Path, shape: tuple[int, int]) -> tuple[np.ndarray, Path]:
    """The (N, C) float32 probabilities that a teacher gives, and their file.

    Raises:
        UserError: the file is missing or corrupt, or of another number of texts or classes.
    """
    path = folder / f"{UNLABELED}.npy"
    try:
        probabilities: np.ndarray = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise missing(path, STAGE) from None
    except (OSError, ValueError, EOFError) as error:
        raise corrupt(path, STAGE, error) from None
    if probabilities.shape != shape:
        raise corrupt(path, STAGE, f"it holds {probabilities.shape} values, not {shape}")
    return probabilities, path


def is_taught(folder: Path) -> bool:
    """Whether somebody teaches, by a folder that `write_teacher` wrote."""
    return bool(read_json(folder / "config.json", made_by=STAGE)["teach"])


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
