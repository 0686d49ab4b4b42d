"""Training texts of which some have pseudo-labels.

A teacher that was fitted to the labelled texts predicts the class probabilities of the unlabelled
ones. The classifier is trained on both (Scudder 1965; Xie et al. 2020, section 2).
"""

import numpy as np

from sentiformer.text.corpus import Corpus


class PseudoLabeledTexts:
    """Labelled texts, followed by unlabelled ones with the teacher's probabilities.

    Args:
        labeled: the labelled texts.
        unlabeled: the unlabelled texts.
        probabilities: class probabilities of the unlabelled texts, (M, C) float32.

    Attributes:
        lengths: number of tokens of each text, (N,).
        labels: class probabilities, (N, C) float32; one-hot for the labelled texts.
    """

    def __init__(self, labeled: Corpus, unlabeled: Corpus, probabilities: np.ndarray) -> None:
        self._labeled, self._unlabeled = labeled, unlabeled
        self.lengths = np.concatenate([labeled.lengths, unlabeled.lengths])
        one_hot = np.eye(probabilities.shape[1], dtype=np.float32)[labeled.labels]
        self.labels = np.concatenate([one_hot, probabilities])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the type ids of a text."""
        rest = index - len(self._labeled)
        return self._unlabeled[rest] if rest >= 0 else self._labeled[index]
