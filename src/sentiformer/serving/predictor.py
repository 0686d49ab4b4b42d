"""Raw texts to predictions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel

from sentiformer.core.process import ordered_map
from sentiformer.core.runtime import Runtime
from sentiformer.serving.trained_model import Classifier
from sentiformer.text.tokenizer import Tokenizer
from sentiformer.training.batching import Batch, pad, truncate

BATCH_TOKENS = 2048  # with padding; a larger batch does not fit into the caches of a CPU


class Prediction(BaseModel):
    """The most probable class of a text, its probability, and those of all classes by name."""

    label: str
    probability: float
    probabilities: dict[str, float]


class Predictor:
    """A trained classifier with its tokenizer.

    The other texts of a call change a prediction by no more than rounding.
    """

    def __init__(self, classifier: Classifier, tokenizer: Tokenizer) -> None:
        self.classifier = classifier
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> Self:
        """Load the output of stage train, to predict in the precision of `runtime`.

        Raises:
            UserError: a file is missing or corrupt.
        """
        classifier = Classifier(folder, runtime, runtime.precision)
        return cls(classifier, Tokenizer(classifier.config.params.tokenize.language))

    def predict_chunks(
        self, chunks: Iterable[list[str]], *, workers: int
    ) -> Iterator[tuple[list[str], list[Prediction]]]:
        """Classify chunks of texts in several processes, which use one thread each.

        On a GPU, and if there is only one chunk, this process classifies them.

        Yields:
            Each chunk with its predictions, in order.
        """
        chunks = iter(chunks)
        first = list(islice(chunks, 2)) if workers > 1 else []
        chunks = chain(first, chunks)
        if len(first) < 2 or self.classifier.device.type != "cpu":
            yield from ((chunk, self(chunk)) for chunk in chunks)
            return

        def predict(chunk: list[str]) -> tuple[list[str], list[Prediction]]:
            torch.set_num_threads(1)
            return chunk, self(chunk)

        yield from ordered_map(predict, chunks, workers=workers)

    def __call__(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify raw texts; for a text without a known word see `Classifier.predict_batch`."""
        classifier = self.classifier
        params, labels = classifier.params, classifier.labels
        whole = [
            classifier.vocab.encode(tokens)
            for tokens in self._tokenizer(map(replace_surrogates, texts))
        ]
        lengths = np.array([len(ids) for ids in whole])
        token_ids = [truncate(ids, params.max_len) for ids in whole]
        result = np.empty((len(texts), len(labels)))
        for rows in batches_by_length([len(ids) for ids in token_ids]):
            ids = [token_ids[row] for row in rows.tolist()]
            padded = pad(ids, params.max_len, classifier.length_multiple)
            no_labels = torch.zeros(len(rows), dtype=torch.int64)
            result[rows] = classifier.predict_batch(Batch(*padded, no_labels, rows), lengths[rows])
        return [_prediction(labels, row) for row in result.tolist()]


def batches_by_length(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the row numbers of texts, the shortest texts first, in batches of BATCH_TOKENS."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * lengths[row] > BATCH_TOKENS:
            yield np.array(rows)
            rows = []
        rows.append(row)
    if rows:
        yield np.array(rows)


def replace_surrogates(text: str) -> str:
    """The text with `?` for lone surrogates, which JSON can contain and spaCy cannot read."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _prediction(labels: list[str], probabilities: list[float]) -> Prediction:
    by_label = dict(zip(labels, probabilities, strict=True))
    label = max(labels, key=by_label.__getitem__)
    return Prediction(label=label, probability=by_label[label], probabilities=by_label)
