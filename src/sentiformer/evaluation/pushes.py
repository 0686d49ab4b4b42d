"""What the model has learned: the words and n-grams that push texts to each class most.

The predictions for some test texts are explained (see `serving/explain.py`), and what each word,
bigram and trigram contributes to the predicted class is summed over the texts.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from sentiformer.core.process import ordered_map
from sentiformer.serving.explain import integrated_gradients
from sentiformer.serving.input_path import InputPath
from sentiformer.serving.trained_model import Classifier
from sentiformer.text.truncation import truncate

SAMPLE = 160  # texts that are explained; it takes some seconds
SEED = 0
LEAST_TEXTS = 3  # in which an n-gram occurs that is shown


def sample(predicted: np.ndarray) -> list[int]:
    """The rows of SAMPLE texts: in turn one of each predicted class, at random."""
    order = np.random.default_rng(SEED).permutation(len(predicted))
    turns = pd.Series(order).groupby(predicted[order]).cumcount()
    chosen: list[int] = order[np.argsort(turns, kind="stable")][:SAMPLE].tolist()
    return chosen


def pushes(
    classifier: Classifier, tokens: Sequence[list[str]], predicted: np.ndarray, *, workers: int
) -> pd.DataFrame:
    """The n-grams that contribute to the class that the model predicts for N texts.

    Args:
        classifier: the model.
        tokens: of each text.
        predicted: the class of each text, (N,).
        workers: processes; the result does not depend on them.

    Returns:
        class, words (the n-gram), n, texts (in which it occurs), mean (its contribution in them),
        total (the sum of its contributions).
    """
    items = list(zip(tokens, predicted.tolist(), strict=True))
    found = ordered_map(partial(text_pushes, classifier), items, workers=workers)
    values: dict[tuple[int, str, int], list[float]] = defaultdict(list)
    for (_, label), text in zip(items, found, strict=True):
        for (words, n), value in text.items():
            values[label, words, n].append(value)
    rows = [
        (classifier.labels[label], words, n, len(found), np.mean(found), sum(found))
        for (label, words, n), found in values.items()
        if len(found) >= LEAST_TEXTS
    ]
    columns = ["class", "words", "n", "texts", "mean", "total"]
    table = pd.DataFrame(rows, columns=columns).round(4)
    return table.sort_values(["class", "total", "words"], ascending=[True, False, True])


def text_pushes(
    classifier: Classifier, text: tuple[list[str], int]
) -> dict[tuple[str, int], float]:
    """What each n-gram of a text contributes to a class: by its words, joined, and its length."""
    torch.set_num_threads(1)
    tokens, label = text
    kept = truncate(np.arange(len(tokens)), classifier.max_len)
    words = [tokens[place] for place in kept.tolist()]
    path = InputPath(classifier, "", tokens, label=label, fixed=np.zeros(len(words), dtype=bool))
    of_ids, _, _ = integrated_gradients(path)
    found: dict[tuple[str, int], float] = defaultdict(float)
    for n, values in enumerate(of_ids, start=1):
        for end in np.flatnonzero(values).tolist():
            found[" ".join(words[end - n + 1 : end + 1]), n] += float(values[end])
    return found
