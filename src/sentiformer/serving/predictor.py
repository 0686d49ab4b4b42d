"""Using a trained model: raw texts to labels and probabilities, from the files of `data/model`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice, tee
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.files import Found, corrupt, read_json, reading
from sentiformer.core.params import parse
from sentiformer.core.process import ordered_map
from sentiformer.core.runtime import Precision, Runtime
from sentiformer.model.attention_kernels import LENGTH_MULTIPLE
from sentiformer.model.classifier import TransformerClassifier
from sentiformer.model.embedding import InputSizes
from sentiformer.model.params import ModelParams
from sentiformer.text.corpus import read_lines
from sentiformer.text.params import TokenizeParams
from sentiformer.text.tokenizer import Tokenizer
from sentiformer.text.vocab import UNKNOWN, Vocab
from sentiformer.training.batching import Batch, TextBatches, pad, truncate

BATCH_TEXTS = 32  # of a corpus that is judged
BATCH_TOKENS = 2048  # with padding; on a CPU a larger batch leaves the caches
BF16_LENGTH_MULTIPLE = 64  # a CPU makes kernels for each shape, which takes longer than to use them
Model = TypeVar("Model", bound=torch.nn.Module)


class Prediction(BaseModel):
    """What the model makes of a text.

    Attributes:
        label: the likeliest class.
        probability: of that class.
        probabilities: of every class.
    """

    label: str
    probability: float
    probabilities: dict[str, float]


class AboutParams(BaseModel):
    """Those parameters of a training that using its model needs."""

    model: ModelParams
    tokenize: TokenizeParams


class About(InputSizes):
    """That part of `config.json` that using the model needs."""

    labels: list[str]
    params: AboutParams
    data: Any  # what `read_json` found, which says what it lacks


def read_about(folder: Path, *, made_by: str) -> Found:
    """What `config.json` says of the model in a folder.

    Raises:
        UserError: it is missing or corrupt, or another stage than `made_by` wrote it.
    """
    about = read_json(folder / "config.json", made_by=made_by)
    if about["stage"] != made_by:
        raise UserError(f"{folder} is of stage {about['stage']}; give what stage {made_by} wrote")
    return about


class Trained(Generic[Model]):
    """A trained model, in fp32 unless told otherwise, with its vocabulary.

    Args:
        folder: what a stage that trains wrote.
        runtime: this machine.
        made_by: that stage.
        make: makes the model, whose weights are then those of the folder.
        precision: `auto` is bf16 where that is fast; probabilities then differ by some 0.003.

    Raises:
        UserError: a file is missing or corrupt, or the files do not belong together.
    """

    def __init__(
        self,
        folder: Path,
        runtime: Runtime,
        *,
        made_by: str,
        make: Callable[[About], Model],
        precision: Precision = "fp32",
    ) -> None:
        self._prepared = prepare_device(runtime.model_copy(update={"compile": False}), precision)
        self.device = self._prepared.device
        bf16 = self._prepared.precision == "bf16"
        self.length_multiple = BF16_LENGTH_MULTIPLE if bf16 else LENGTH_MULTIPLE
        config = folder / "config.json"
        self.about = parse(About, read_about(folder, made_by=made_by), where=str(config))
        self.params = self.about.params.model
        self.vocab = _read_vocab(folder / "vocab.txt", self.about.vocab_size, made_by)
        model, path = make(self.about), folder / "model.safetensors"
        with reading(path, made_by, SafetensorError, RuntimeError):
            model.load_state_dict(load_file(path))
        self.model = model.to(self.device).eval()


class Classifier(Trained[TransformerClassifier]):
    """What stage train wrote to a folder; see `Trained`."""

    def __init__(self, folder: Path, runtime: Runtime, precision: Precision = "fp32") -> None:
        super().__init__(
            folder,
            runtime,
            made_by="train",
            precision=precision,
            make=lambda about: TransformerClassifier(
                about.params.model, about, num_classes=len(about.labels)
            ),
        )
        self.labels = self.about.labels
        counts = self.about.data["splits"]["train"]["label_counts"]
        self._shares = np.array([counts[label] for label in self.labels]) / sum(counts.values())

    @torch.inference_mode()
    def probabilities(self, batch: Batch) -> np.ndarray:
        """The (B, C) float64 probabilities of a batch.

        A text without a known word has the shares of the classes in train: no training has seen
        such a text, of which the model would yet be sure.
        """
        on_device = batch.to(self.device)
        with self._prepared.autocast():
            logits = self.model(on_device.token_ids, on_device.padding_mask)
        probabilities = logits.double().softmax(dim=1).cpu().numpy()
        says_something = (batch.token_ids > UNKNOWN).any(dim=1).numpy()
        return np.where(says_something[:, None], probabilities, self._shares)

    def judge(self, batches: TextBatches) -> np.ndarray:
        """The (N, C) probabilities of a whole corpus, in its own order."""
        result = np.empty((len(batches.texts), len(self.labels)))
        for batch in batches.in_order_of_length():
            result[batch.rows] = self.probabilities(batch)
        return result


def _read_vocab(path: Path, size: int, made_by: str) -> Vocab:
    vocab = Vocab(read_lines(path, made_by=made_by), path, made_by=made_by)
    if len(vocab) != size:
        raise corrupt(path, made_by, f"it holds {len(vocab)} words, the model knows {size}")
    return vocab


class Predictor:
    """A trained model with its tokenizer; a text's company changes no more than its rounding."""

    def __init__(self, classifier: Classifier, tokenizer: Tokenizer) -> None:
        self.classifier = classifier
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, runtime: Runtime) -> Self:
        """Load what stage train wrote to `folder`, to predict in the precision of `runtime`.

        Raises:
            UserError: a file is missing or corrupt.
        """
        classifier = Classifier(folder, runtime, runtime.precision)
        return cls(classifier, Tokenizer(classifier.about.params.tokenize.language))

    def in_chunks(
        self, chunks: Iterable[list[str]], *, workers: int
    ) -> Iterator[tuple[list[str], list[Prediction]]]:
        """Classify chunks of texts, some at a time, by a process with one thread each.

        On a GPU, and where there is but one chunk, this process does it.

        Yields:
            Each chunk, in order, with its predictions.
        """
        chunks = iter(chunks)
        ahead = list(islice(chunks, 2)) if workers > 1 else []
        chunks = chain(ahead, chunks)
        if len(ahead) < 2 or self.classifier.device.type != "cpu":
            yield from ((chunk, self(chunk)) for chunk in chunks)
            return

        def predict(chunk: list[str]) -> list[Prediction]:
            torch.set_num_threads(1)
            return self(chunk)

        texts, chunks = tee(chunks)
        yield from zip(texts, ordered_map(predict, chunks, workers=workers), strict=True)

    def __call__(self, texts: Sequence[str]) -> list[Prediction]:
        """Classify raw texts; one without a known word gets the classes' shares of train."""
        params, vocab = self.classifier.params, self.classifier.vocab
        encoded = [
            truncate(vocab.encode(tokens), params.max_len)
            for tokens in self._tokenizer(map(replace_half_characters, texts))
        ]
        labels = self.classifier.labels
        result = np.empty((len(texts), len(labels)))
        for rows in batches_of_tokens([len(ids) for ids in encoded]):
            token_ids, padding_mask = pad(
                [encoded[row] for row in rows.tolist()],
                params.max_len,
                self.classifier.length_multiple,
            )
            no_labels = torch.zeros(len(rows), dtype=torch.int64)
            batch = Batch(token_ids, padding_mask, no_labels, rows)
            result[rows] = self.classifier.probabilities(batch)
        return [_prediction(labels, row) for row in result.tolist()]


def batches_of_tokens(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Yield the numbers of some texts, shortest first, as many as hold at most BATCH_TOKENS."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * lengths[row] > BATCH_TOKENS:
            yield np.array(rows)
            rows = []
        rows.append(row)
    if rows:
        yield np.array(rows)


def replace_half_characters(text: str) -> str:
    """The text with `?` for halves of characters, which JSON can escape and spaCy refuses."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _prediction(labels: list[str], probabilities: list[float]) -> Prediction:
    by_label = dict(zip(labels, probabilities, strict=True))
    label = max(labels, key=by_label.__getitem__)
    return Prediction(label=label, probability=by_label[label], probabilities=by_label)
