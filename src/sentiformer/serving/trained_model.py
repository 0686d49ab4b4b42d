"""A trained model, loaded from the files of its folder."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, read_json, reading
from sentiformer.core.params import parse
from sentiformer.core.runtime import Precision, Runtime
from sentiformer.encoder.finetune import NGRAMS
from sentiformer.model.attention_kernels import LENGTH_MULTIPLE
from sentiformer.model.classifier import TextClassifier, TransformerClassifier
from sentiformer.serving.config import AnyConfig, Config, FinetunedConfig, read_config
from sentiformer.serving.threshold import Thresholds
from sentiformer.text.tokenizer import Tokenizer
from sentiformer.text.truncation import truncate
from sentiformer.text.vocab import PAD, UNKNOWN, Vocab
from sentiformer.training.batching import Batch, TextBatches, pad

BATCH_TEXTS = 32  # in a batch of a corpus
BATCH_TOKENS = 2048  # of raw texts, with padding; a larger batch leaves the caches of a CPU
# A CPU compiles bf16 kernels for each length, which takes longer than some padding.
BF16_LENGTH_MULTIPLE = 64
Model = TypeVar("Model", bound=torch.nn.Module)
AnyConfigT = TypeVar("AnyConfigT", bound=AnyConfig)


class WithoutDraws(TorchFunctionMode):
    """New embeddings are not drawn, which takes a third of a second: a file has their weights."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "normal_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class TrainedModel(ABC, Generic[Model, AnyConfigT]):
    """The model and the vocabulary that the stage `made_by` wrote to a folder.

    Raises:
        UserError: a file is missing or has other bytes than the stage wrote.
    """

    made_by: ClassVar[str]
    config_type: type[AnyConfigT]

    def __init__(self, folder: Path, runtime: Runtime, precision: Precision = "fp32") -> None:
        self.prepared = prepare_device(runtime, precision)
        self.device = self.prepared.device
        bf16 = self.prepared.precision == "bf16"
        self.length_multiple = BF16_LENGTH_MULTIPLE if bf16 else LENGTH_MULTIPLE
        made_by = self.made_by
        config = read_config(folder, made_by=made_by)
        self._require_model(folder, config)
        self.config = parse(self.config_type, config, where=str(folder / "config.json"))
        self.vocab = Vocab.load(folder / "vocab.txt", made_by=made_by)
        model = self._build(folder)
        path = folder / "model.safetensors"
        with reading(path, made_by, SafetensorError, RuntimeError):
            model.load_state_dict(load_file(path))
        self.model = model.to(self.device).eval()

    def _require_model(self, folder: Path, config: JsonObject) -> None:
        """Check that the stage wrote a model; some stages may write none."""

    @abstractmethod
    def _build(self, folder: Path) -> Model:
        """Make a model; its weights are then replaced by those in the folder."""


class AnyClassifier(TrainedModel[TextClassifier, AnyConfigT]):
    """A classifier in a folder; see `TrainedModel`.

    Attributes:
        labels: the names of the C classes.
        priors: their shares in the training texts, (C,).
        max_len: the number of tokens that the network reads of a text.
        padding: the id of padding.
        ngrams: the n-gram model, with which an ensemble takes the mean; None if it is no ensemble.
        thresholds: the lowest confidences for given shares of errors.
    """

    max_len: int
    padding = PAD

    def __init__(self, folder: Path, runtime: Runtime, precision: Precision = "fp32") -> None:
        super().__init__(folder, runtime, precision)
        self.labels = self.config.labels
        self.priors = self.config.priors
        self.thresholds = Thresholds(folder, made_by=self.made_by)
        is_ensemble = self._is_ensemble(folder)
        self.ngrams = (
            NgramModel.load(folder / NGRAMS, made_by=self.made_by) if is_ensemble else None
        )

    def _is_ensemble(self, folder: Path) -> bool:
        return (folder / NGRAMS).exists()

    @property
    def tokenizer(self) -> Tokenizer:
        """A new tokenizer of spaCy's tokens."""
        return Tokenizer(self.config.params.tokenize.language)

    @property
    def can_fork(self) -> bool:
        """Whether a process that is forked from this one can use the network."""
        return self.device.type == "cpu"

    def use_one_thread(self) -> None:
        """Use one thread in this process."""
        torch.set_num_threads(1)

    @abstractmethod
    def read(
        self, texts: Sequence[str], tokens: Sequence[list[str]]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The ids that the network reads of each text, and the numbers of all its tokens, (N,)."""

    def probabilities(self, texts: Sequence[str], tokens: Sequence[list[str]]) -> np.ndarray:
        """The (N, C) probabilities of the classes of N texts, by the network alone.

        `tokens` are spaCy's tokens of the whole texts.
        """
        ids, lengths = self.read(texts, tokens)
        result = np.empty((len(ids), len(self.labels)))
        for batch in self._batches(ids):
            result[batch.rows] = self.predict_batch(batch, lengths[batch.rows])
        return result

    def _batches(self, ids: list[np.ndarray]) -> Iterator[Batch]:
        """The batches of texts, each given as the ids that the network reads."""
        for rows in batches_by_length([len(text) for text in ids]):
            texts = [ids[row] for row in rows.tolist()]
            padded = pad(texts, self.max_len, self.length_multiple, padding=self.padding)
            yield Batch(*padded, torch.zeros(len(rows), dtype=torch.int64), rows)

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str], tokens: Sequence[list[str]]) -> np.ndarray:
        """The (N, D) float32 means of the network's vectors over the tokens of N texts.

        From them, the last layer finds the classes. `tokens` are spaCy's of the whole texts.
        """
        ids, _ = self.read(texts, tokens)
        last, inputs = self.model.classifier, list[Tensor]()
        result = np.empty((len(ids), last.in_features), dtype=np.float32)
        with last.register_forward_pre_hook(lambda _, given: inputs.append(given[0])):
            for batch in self._batches(ids):
                on_device = batch.to(self.device)
                with self.prepared.autocast():
                    self.model(on_device.token_ids, on_device.padding_mask)
                result[batch.rows] = inputs.pop().float().cpu().numpy()
        return result

    @torch.inference_mode()
    def predict_batch(self, batch: Batch, lengths: np.ndarray) -> np.ndarray:
        """The (B, C) float64 probabilities of the classes of a batch.

        `lengths`, (B,), are the numbers of tokens of the texts before they were truncated.
        """
        on_device = batch.to(self.device)
        with self.prepared.autocast():
            logits = self.model(on_device.token_ids, on_device.padding_mask)
        scaled = self.config.calibration.scale(logits.double().cpu().numpy(), lengths)
        return torch.from_numpy(scaled).softmax(dim=1).numpy()


class Classifier(AnyClassifier[Config]):
    """The Transformer that stage train wrote to a folder; see `AnyClassifier`."""

    made_by = "train"
    config_type = Config

    def _build(self, folder: Path) -> TextClassifier:
        self.params = self.config.params.model
        self.max_len, classes = self.params.max_len, len(self.config.labels)
        with WithoutDraws():
            return TransformerClassifier(self.params, self.config, num_classes=classes)

    def read(
        self, texts: Sequence[str], tokens: Sequence[list[str]]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The ids of the words; see `AnyClassifier`."""
        ids = [truncate(self.vocab.encode(words), self.max_len) for words in tokens]
        return ids, np.array([len(words) for words in tokens])

    def predict_batch(self, batch: Batch, lengths: np.ndarray) -> np.ndarray:
        """The (B, C) float64 probabilities of the classes of a batch; see `AnyClassifier`.

        A text without a known word gets the frequencies of the classes in the training texts,
        because the model would be confident about a kind of text that it has never seen.
        """
        probabilities = super().predict_batch(batch, lengths)
        has_known_word = (batch.token_ids > UNKNOWN).any(dim=1).numpy()
        return np.where(has_known_word[:, None], probabilities, self.priors)

    def predict_corpus(self, batches: TextBatches) -> np.ndarray:
        """The (N, C) probabilities of all texts of a corpus, in the order of the corpus."""
        result = np.empty((len(batches.texts), len(self.labels)))
        for batch in batches.in_order_of_length():
            result[batch.rows] = self.predict_batch(batch, batches.texts.lengths[batch.rows])
        return result


class FinetunedClassifier(AnyClassifier[FinetunedConfig]):
    """The fine-tuned encoder that stage finetune wrote to a folder; see `AnyClassifier`.

    Attributes:
        mask: the id that hides a word; see `EncoderTokenizer`.

    Raises:
        UserError: the folder holds no encoder, or a file is missing or corrupt.
    """

    made_by = "finetune"
    config_type = FinetunedConfig

    def _require_model(self, folder: Path, config: JsonObject) -> None:
        if not config["params"]["encoder"].get("name"):
            raise UserError(
                f"{folder} holds no encoder: encoder.name was null; set encoder.name in "
                "params.yaml to an encoder, and run `dvc repro finetune`"
            )

    def _build(self, folder: Path) -> TextClassifier:
        from sentiformer.encoder.network import EncoderClassifier, load_encoder  # transformers
        from sentiformer.encoder.tokens import EncoderTokenizer

        params, folder = self.config.params.finetune, folder / "encoder"
        self._tokenizer = EncoderTokenizer(folder, made_by=self.made_by)
        self.max_len, self.padding = params.max_len, self._tokenizer.padding
        self.mask = self._tokenizer.mask
        with reading(folder / "config.json", self.made_by, Exception):
            encoder = load_encoder(folder, params.layers, weights=False)
        return EncoderClassifier(encoder, len(self.config.labels))

    def _is_ensemble(self, folder: Path) -> bool:
        return self.config.params.finetune.ensemble

    def read(
        self, texts: Sequence[str], tokens: Sequence[list[str]]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The ids of the encoder's own tokens; see `AnyClassifier`."""
        ids = self._tokenizer(texts)
        framed = [self._tokenizer.framed(text, self.max_len) for text in ids]
        return framed, np.array([len(text) for text in ids])

    def spans(self, text: str) -> np.ndarray:
        """Where the ids that the network reads of a text are in it; see `EncoderTokenizer`."""
        return self._tokenizer.spans(text, self.max_len)


def load_classifier(
    folder: Path, runtime: Runtime, precision: Precision = "fp32"
) -> AnyClassifier[Any]:
    """The classifier in a folder: the Transformer, or the fine-tuned encoder of stage finetune.

    Raises:
        UserError: a file is missing or corrupt, or the folder is of another stage.
    """
    stage = read_json(folder / "config.json", made_by="train").get("stage")
    kind = FinetunedClassifier if stage == FinetunedClassifier.made_by else Classifier
    return kind(folder, runtime, precision)


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
