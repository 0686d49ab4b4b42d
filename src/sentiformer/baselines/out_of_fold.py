"""Probabilities of the training texts, each by a model that has not learned from the text.

They show which labels may be wrong: a model that has learned a wrong label often repeats it. The
models of the second round have not learned the labels that the first round found very doubtful
(Northcutt et al. 2021, Confident Learning, section 3.2, which prunes them once).
"""

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, clone

FOLDS = 3, 5  # of the first round, which is rough, and of the second
SEED = 0  # of the folds
DOUBTFUL = 0.75  # probability of another class than the given one
LEAST_TEXTS = 20  # of a class some of whose texts are left out


def out_of_fold(model: BaseEstimator, counts: csr_array, labels: np.ndarray) -> np.ndarray:
    """The (N, C) probabilities of N texts, those of a fold by a model of the other folds.

    `counts` are (N, F), and `labels`, (N,), are the classes, of which each occurs. The only text
    of a class gets probability 1 for it, because no model of the other texts could know it.
    """
    first, second = FOLDS
    judged = _judge(model, counts, labels, first, np.ones(len(labels), dtype=bool))
    return _judge(model, counts, labels, second, ~_left_out(judged, labels))


def _judge(
    model: BaseEstimator, counts: csr_array, labels: np.ndarray, number: int, used: np.ndarray
) -> np.ndarray:
    """The probabilities by models that have learned from the other folds' `used` texts."""
    folds, result = fold_numbers(labels, number), np.eye(labels.max() + 1)[labels]
    for fold in range(number):
        held_out = folds == fold
        if held_out.any():
            learned = used & ~held_out
            fitted = clone(model).fit(counts[learned], labels[learned])
            result[held_out] = fitted.predict_proba(counts[held_out])
    return result


def fold_numbers(labels: np.ndarray, number: int) -> np.ndarray:
    """The fold of each text, (N,): random, but each class is spread evenly over the folds.

    The only text of a class is in none: its number is -1.
    """
    folds, alone = np.empty(len(labels), dtype=np.int64), np.bincount(labels)[labels] == 1
    draws = np.random.default_rng(SEED).random(len(labels))
    folds[np.lexsort((draws, labels))] = np.arange(len(labels)) % number
    return np.where(alone, -1, folds)


def _left_out(judged: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether a label is so doubtful that no model should learn it; each class keeps its half."""
    doubtful = (judged.argmax(axis=1) != labels) & (judged.max(axis=1) > DOUBTFUL)
    texts = np.bincount(labels)
    share = np.bincount(labels, weights=doubtful) / texts
    return doubtful & ((texts >= LEAST_TEXTS) & (share <= 0.5))[labels]
