"""The baseline `nb_trigrams` in files that predict without scikit-learn and SciPy.

Its score of a class is linear in which n-grams occur in a text: the weight of an n-gram is its
log-count ratio times its coefficient in the logistic regression.
"""

from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Self

import numpy as np

from sentiformer.baselines.ngram_counts import find_ngrams
from sentiformer.core.files import reading, write_tensors
from sentiformer.core.seal import SEAL, require_sealed, seal
from sentiformer.text.corpus import read_lines, write_lines
from sentiformer.text.ngrams import ngram_keys, ngram_numbers

WORDS, WEIGHTS = "words.txt", "model.safetensors"
FILES = WORDS, WEIGHTS, SEAL
BLOCK_TEXTS = 1000  # texts that are predicted together; it bounds the memory


class NgramModel:
    """A linear model of the n-grams that occur in a text, with F n-grams and C classes.

    Args:
        words: the known words; the number of a word is 1 + its position.
        arrays: `bigrams` and `trigrams`, sorted keys (see `text/ngrams.py`); `weights`, (C, F)
            float32, of words, bigrams and trigrams; and `intercepts`, (C,). Of two classes only
            the second has weights.
    """

    def __init__(self, words: list[str], arrays: Mapping[str, np.ndarray]) -> None:
        self._words, self._arrays, self._weights = words, arrays, arrays["weights"]
        self._numbers = {word: number for number, word in enumerate(words, start=1)}
        self._known = [np.arange(1, len(words) + 1), arrays["bigrams"], arrays["trigrams"]]

    @classmethod
    def load(cls, folder: Path, *, made_by: str = "baseline") -> Self:
        """Read what `save` wrote in the stage `made_by`.

        Raises:
            UserError: a file is missing or has other bytes than were written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        require_sealed(folder, made_by=made_by)
        words = read_lines(folder / WORDS, made_by=made_by)
        with reading(folder / WEIGHTS, made_by, SafetensorError, KeyError):
            return cls(words, load_file(folder / WEIGHTS))

    def save(self, folder: Path) -> None:
        """Write the words as text, the rest as safetensors, and a seal."""
        write_lines(folder / WORDS, self._words)
        write_tensors(folder / WEIGHTS, self._arrays)
        seal(folder)

    def probabilities(self, tokens: Sequence[Sequence[str]]) -> np.ndarray:
        """The (N, C) float64 probabilities of texts, each given as its tokens."""
        starts = range(0, len(tokens), BLOCK_TEXTS)
        blocks = [self._scores(tokens[start : start + BLOCK_TEXTS]) for start in starts]
        scores = np.concatenate([np.zeros((0, len(self._weights))), *blocks])
        if scores.shape[1] == 1:
            scores = np.hstack([-scores, scores])
        # The sigmoids of the scores, divided by their sum; logarithms avoid 0 / 0.
        logs = -np.logaddexp(0, -scores)
        sigmoids = np.exp(logs - logs.max(axis=1, keepdims=True))
        return sigmoids / sigmoids.sum(axis=1, keepdims=True)

    @property
    def intercepts(self) -> np.ndarray:
        """The scores of a text without a known n-gram, (1,) of two classes, (C,) of more."""
        return self._arrays["intercepts"]

    def contributions(self, tokens: Sequence[str]) -> np.ndarray:
        """The part that each token of a text has in its scores, (T, 1) of two classes, or (T, C).

        The sum over the tokens and the intercepts are the scores. The weight of an n-gram counts
        once for a text, in equal parts for all places where it occurs and for its words.
        """
        words = np.array([self._numbers.get(token, 0) for token in tokens], dtype=np.int64)
        result = np.zeros((len(words), len(self._weights)))
        numbers, width = words, 0
        for n, known in enumerate(self._known, start=1):
            if n > 1:
                keys = ngram_keys(numbers, words, 1 + len(self._words))
                numbers = ngram_numbers(keys, known)
            ends = np.flatnonzero(numbers)
            _, place, counts = np.unique(numbers[ends], return_inverse=True, return_counts=True)
            columns = numbers[ends] - 1 + width
            weights = self._weights[:, columns] / (n * counts[place])
            for distance in range(n):
                result[ends - distance] += weights.T
            width += len(known)
        return result

    def _scores(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        lengths = np.array([len(text) for text in texts])
        numbers = map(self._numbers.get, chain.from_iterable(texts), repeat(0))
        words = np.fromiter(numbers, dtype=np.int64, count=lengths.sum())
        _, rows, columns = find_ngrams(words, lengths, self._known)
        width = self._weights.shape[1]
        rows, columns = np.divmod(np.unique(rows * np.int64(width) + columns), width)
        sums = [np.bincount(rows, row[columns], minlength=len(texts)) for row in self._weights]
        return np.stack(sums, axis=1) + self._arrays["intercepts"]
