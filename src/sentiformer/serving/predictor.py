"""Raw texts to predictions."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import BaseModel

from sentiformer.core.process import ordered_map
from sentiformer.core.runtime import Runtime
from sentiformer.serving.doubt import Doubts
from sentiformer.serving.trained_model import AnyClassifier, load_classifier
from sentiformer.text.tokenizer import Tokenizer
from sentiformer.training.batching import truncate

UNJUDGED = "?"  # the label of a text that the model cannot judge


class Prediction(BaseModel):
    """The most probable class of a text.

    Attributes:
        label: the class; "?" for a text that the model cannot judge.
        probability: of this class.
        probabilities: of all classes, by name; for "?", their shares in the training texts.
        reason: why the label is "?"; else empty.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    reason: str = ""


class Predictor:
    """A trained classifier with its tokenizer.

    The other texts of a call change a prediction by no more than rounding.
    """

    def __init__(self, classifier: AnyClassifier[Any], tokenizer: Tokenizer) -> None:
        self.classifier = classifier
        self._tokenizer = tokenizer
        languages = classifier.config.data["splits"]["train"].get("languages") or {}
        self._doubts = Doubts(classifier.vocab, languages)

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> Self:
        """Load the output of stage train or finetune, to predict in the precision of `runtime`.

        Raises:
            UserError: a file is missing or corrupt.
        """
        classifier = load_classifier(folder, runtime, runtime.precision)
        return cls(classifier, Tokenizer(classifier.config.params.tokenize.language))

    def predict_chunks(
        self, chunks: Iterable[list[str | None]], *, workers: int
    ) -> Iterator[tuple[list[str | None], list[Prediction]]]:
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

        def classify(chunk: list[str | None]) -> tuple[list[str | None], list[Prediction]]:
            torch.set_num_threads(1)
            return chunk, self(chunk)

        yield from ordered_map(classify, chunks, workers=workers)

    def __call__(self, texts: Sequence[str | None]) -> list[Prediction]:
        """Classify raw texts; None is a missing text. Texts that cannot be judged get "?"."""
        whole = [replace_surrogates(text or "") for text in texts]
        tokens = self._tokenizer(whole)
        vocab, max_len = self.classifier.vocab, self.classifier.max_len
        token_ids = [truncate(vocab.encode(words), max_len) for words in tokens]
        reasons = self._doubts.reasons(whole, tokens, token_ids)
        judged = [row for row, reason in enumerate(reasons) if not reason]
        result = np.tile(self.classifier.priors, (len(texts), 1))
        result[judged] = self._probabilities(
            [whole[row] for row in judged], [tokens[row] for row in judged]
        )
        rows = zip(result.tolist(), reasons, strict=True)
        return [_prediction(self.classifier.labels, *row) for row in rows]

    def _probabilities(self, texts: list[str], tokens: list[list[str]]) -> np.ndarray:
        """The (N, C) probabilities of N texts: those of the network, or the mean of an ensemble."""
        found, ngrams = self.classifier.probabilities(texts, tokens), self.classifier.ngrams
        return found if ngrams is None else (found + ngrams.probabilities(tokens)) / 2


def replace_surrogates(text: str) -> str:
    """The text with `?` for lone surrogates, which JSON can contain and spaCy cannot read."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _prediction(labels: list[str], probabilities: list[float], reason: str) -> Prediction:
    by_label = dict(zip(labels, probabilities, strict=True))
    best = max(labels, key=by_label.__getitem__)
    return Prediction(
        label=UNJUDGED if reason else best,
        probability=by_label[best],
        probabilities=by_label,
        reason=reason,
    )
