"""Raw texts to predictions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from pydantic import BaseModel

from sentiformer.core.errors import UserError
from sentiformer.core.process import ordered_map
from sentiformer.core.runtime import Runtime
from sentiformer.serving.doubt import Doubts
from sentiformer.serving.exported import ExportedClassifier, is_exported
from sentiformer.serving.threshold import UNSURE
from sentiformer.text.chunks import ChunkTokenizer
from sentiformer.text.truncation import truncate
from sentiformer.text.vocab import UNKNOWN

if TYPE_CHECKING:
    from sentiformer.serving.trained_model import AnyClassifier

Result = TypeVar("Result")
UNJUDGED = "?"  # the label of a text that the model cannot judge


class Prediction(BaseModel):
    """The most probable class of a text.

    Attributes:
        label: the class; "?" for a text that the model cannot judge; "unsure" if the most probable
            class is less probable than was asked for.
        probability: of the most probable class.
        probabilities: of all classes, by name; for "?", their shares in the training texts.
        reason: why the label is "?" or "unsure"; empty if it is a class.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    reason: str = ""


class Predictor:
    """A trained classifier with its tokenizer.

    The other texts of a call change a prediction by no more than rounding.
    """

    def __init__(
        self, classifier: "AnyClassifier[Any] | ExportedClassifier", tokenizer: ChunkTokenizer
    ) -> None:
        self.classifier = classifier
        self._tokenizer = tokenizer
        languages = classifier.config.facts.splits.train.languages or {}
        self._doubts = Doubts(classifier.vocab, languages)

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> Self:
        """Load the output of stage train, finetune or export.

        A model that is not exported predicts in the precision of `runtime`.

        Raises:
            UserError: a file is missing or corrupt.
        """
        if is_exported(folder):
            exported = ExportedClassifier(folder, runtime)
            return cls(exported, exported.tokenizer)
        from sentiformer.serving.trained_model import load_classifier  # imports torch

        classifier = load_classifier(folder, runtime, runtime.precision)
        return cls(classifier, classifier.tokenizer)

    def lowest_confidence(
        self, min_confidence: float | None = None, max_errors: float | None = None
    ) -> float:
        """The lowest confidence of an answer; see `Thresholds.lowest`."""
        return self.classifier.thresholds.lowest(min_confidence, max_errors)

    def predict_chunks(
        self, chunks: Iterable[list[str | None]], *, workers: int, min_confidence: float = 0.0
    ) -> Iterator[tuple[list[str | None], list[Prediction]]]:
        """Classify chunks of texts in several processes, which use one thread each.

        On a GPU, and if there is only one chunk, this process classifies them.

        Yields:
            Each chunk with its predictions, in order.
        """
        yield from self.map_chunks(
            lambda chunk: (chunk, self(chunk, min_confidence)), chunks, workers=workers
        )

    def map_chunks(
        self,
        function: Callable[[list[str | None]], Result],
        chunks: Iterable[list[str | None]],
        *,
        workers: int,
    ) -> Iterator[Result]:
        """Yield what a function that uses this model gives for each chunk; see `predict_chunks`."""
        chunks = iter(chunks)
        first = list(islice(chunks, 2)) if workers > 1 else []
        chunks = chain(first, chunks)
        if len(first) < 2 or not self.classifier.can_fork:
            yield from map(function, chunks)
            return

        def with_one_thread(chunk: list[str | None]) -> Result:
            self.classifier.use_one_thread()
            return function(chunk)

        yield from ordered_map(with_one_thread, chunks, workers=workers)

    def __call__(
        self, texts: Sequence[str | None], min_confidence: float = 0.0
    ) -> list[Prediction]:
        """Classify raw texts; None is a missing text.

        Texts that cannot be judged get "?", and those below `min_confidence` get "unsure".
        """
        whole, tokens, reasons = self._read(texts)
        judged = [row for row, reason in enumerate(reasons) if not reason]
        result = np.tile(self.classifier.priors, (len(texts), 1))
        result[judged] = self._probabilities(
            [whole[row] for row in judged], [tokens[row] for row in judged]
        )
        rows = zip(result.tolist(), reasons, strict=True)
        return [_prediction(self.classifier.labels, *row, min_confidence) for row in rows]

    def represent(self, texts: Sequence[str | None]) -> tuple[np.ndarray, list[np.ndarray]]:
        """The vectors of N texts, (N, D) float32, see `Model.embed`; and the ids of their words.

        The ids are those of the vocabulary, in the order of each whole text, without unknown words.
        A text that cannot be judged has the vector 0 and no ids.
        """
        whole, tokens, reasons = self._read(texts)
        vocab, judged = self.classifier.vocab, [row for row, why in enumerate(reasons) if not why]
        words = [np.zeros(0, dtype=np.int64)] * len(texts)
        for row in judged:
            ids = vocab.encode(tokens[row])
            words[row] = ids[ids > UNKNOWN]
        network = self.network()
        found = network.vectors([whole[row] for row in judged], [tokens[row] for row in judged])
        vectors = np.zeros((len(texts), found.shape[1]), np.float32)
        vectors[judged] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return vectors, words

    def network(self) -> "AnyClassifier[Any]":
        """The classifier, whose network can be looked into.

        Raises:
            UserError: it is an exported model.
        """
        if isinstance(self.classifier, ExportedClassifier):
            raise UserError(
                "an exported model only predicts; to explain or compare texts, load the model that "
                "was exported, such as data/model"
            )
        return self.classifier

    def _read(self, texts: Sequence[str | None]) -> tuple[list[str], list[list[str]], list[str]]:
        """The texts without lone surrogates, their tokens, and why they cannot be judged if so."""
        whole = [replace_surrogates(text or "") for text in texts]
        tokens = self.tokens(whole)
        vocab, max_len = self.classifier.vocab, self.classifier.max_len
        token_ids = [truncate(vocab.encode(words), max_len) for words in tokens]
        return whole, tokens, self._doubts.reasons(whole, tokens, token_ids)

    def tokens(self, texts: Sequence[str | None]) -> list[list[str]]:
        """The tokens of each text; none of a missing text."""
        return self._tokenizer(replace_surrogates(text or "") for text in texts)

    def _probabilities(self, texts: list[str], tokens: list[list[str]]) -> np.ndarray:
        """The (N, C) probabilities of N texts: those of the network, or the mean of an ensemble."""
        found, ngrams = self.classifier.probabilities(texts, tokens), self.classifier.ngrams
        return found if ngrams is None else (found + ngrams.probabilities(tokens)) / 2


def replace_surrogates(text: str) -> str:
    """The text with `?` for lone surrogates, which JSON can contain and spaCy cannot read."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _prediction(
    labels: list[str], probabilities: list[float], reason: str, min_confidence: float
) -> Prediction:
    by_label = dict(zip(labels, probabilities, strict=True))
    best = max(labels, key=by_label.__getitem__)
    label = UNJUDGED if reason else best
    if not reason and by_label[best] < min_confidence:
        label = UNSURE
        reason = f"confidence below {min_confidence:.4g}; {best} has {by_label[best]:.4g}"
    return Prediction(
        label=label, probability=by_label[best], probabilities=by_label, reason=reason
    )
