"""A trained model, loaded from the files of its folder."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, corrupt, read_json, reading
from sentiformer.core.params import parse
from sentiformer.core.runtime import Precision, Runtime
from sentiformer.model.attention_kernels import LENGTH_MULTIPLE
from sentiformer.model.classifier import TransformerClassifier
from sentiformer.model.embedding import InputSizes
from sentiformer.model.params import ModelParams
from sentiformer.text.params import TokenizeParams
from sentiformer.text.vocab import UNKNOWN, Vocab
from sentiformer.training.batching import Batch, TextBatches
from sentiformer.training.calibration import Calibration

BATCH_TEXTS = 32  # in a batch of a corpus
# A CPU compiles bf16 kernels for each length, which takes longer than some padding.
BF16_LENGTH_MULTIPLE = 64
Model = TypeVar("Model", bound=torch.nn.Module)


class ConfigParams(BaseModel):
    """The parameters in `config.json` that define the model and its tokenizer."""

    model: ModelParams
    tokenize: TokenizeParams


class Config(InputSizes):
    """The part of `config.json` that defines the model."""

    labels: list[str]
    params: ConfigParams
    calibration: Calibration = Calibration()
    data: Any  # a JsonObject, which names a key that it lacks


def read_config(folder: Path, *, made_by: str) -> JsonObject:
    """Read `config.json` of the model in a folder.

    Raises:
        UserError: it is missing or corrupt, or another stage than `made_by` wrote it.
    """
    config = read_json(folder / "config.json", made_by=made_by)
    if config["stage"] != made_by:
        raise UserError(
            f"{folder} is from stage {config['stage']}; give the folder of stage {made_by}"
        )
    return config


class _WithoutDraws(TorchFunctionMode):
    """New embeddings are not drawn, which takes a third of a second: a file has their weights."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "normal_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class TrainedModel(ABC, Generic[Model]):
    """The model and the vocabulary that the stage `made_by` wrote to a folder.

    Raises:
        UserError: a file is missing or corrupt, or the files do not belong together.
    """

    made_by: ClassVar[str]

    def __init__(self, folder: Path, runtime: Runtime, precision: Precision = "fp32") -> None:
        self._prepared = prepare_device(runtime, precision)
        self.device = self._prepared.device
        bf16 = self._prepared.precision == "bf16"
        self.length_multiple = BF16_LENGTH_MULTIPLE if bf16 else LENGTH_MULTIPLE
        made_by = self.made_by
        config = read_config(folder, made_by=made_by)
        self.config = parse(Config, config, where=str(folder / "config.json"))
        self.params = self.config.params.model
        path, expected = folder / "vocab.txt", self.config.vocab_size
        self.vocab = Vocab.load(path, made_by=made_by)
        if (found := len(self.vocab)) != expected:
            raise corrupt(path, made_by, f"it holds {found} words, the model has {expected}")
        with _WithoutDraws():
            model = self._build(self.config)
        path = folder / "model.safetensors"
        with reading(path, made_by, SafetensorError, RuntimeError):
            model.load_state_dict(load_file(path))
        self.model = model.to(self.device).eval()

    @abstractmethod
    def _build(self, config: Config) -> Model:
        """Make a model; its weights are then replaced by those in the folder."""


class Classifier(TrainedModel[TransformerClassifier]):
    """The classifier that stage train wrote to a folder; see `TrainedModel`."""

    made_by = "train"

    def __init__(self, folder: Path, runtime: Runtime, precision: Precision = "fp32") -> None:
        super().__init__(folder, runtime, precision)
        self.labels = self.config.labels
        counts = self.config.data["splits"]["train"]["label_counts"]
        self.priors = np.array([counts[label] for label in self.labels]) / sum(counts.values())

    def _build(self, config: Config) -> TransformerClassifier:
        classes = len(config.labels)
        return TransformerClassifier(config.params.model, config, num_classes=classes)

    @torch.inference_mode()
    def predict_batch(self, batch: Batch, lengths: np.ndarray) -> np.ndarray:
        """The (B, C) float64 probabilities of the classes of a batch.

        `lengths`, (B,), are the numbers of tokens of the texts before they were truncated.
        A text without a known word gets the frequencies of the classes in the training texts,
        because the model would be confident about a kind of text that it has never seen.
        """
        on_device = batch.to(self.device)
        with self._prepared.autocast():
            logits = self.model(on_device.token_ids, on_device.padding_mask)
        scaled = self.config.calibration.scale(logits.double().cpu().numpy(), lengths)
        probabilities = torch.from_numpy(scaled).softmax(dim=1).numpy()
        has_known_word = (batch.token_ids > UNKNOWN).any(dim=1).numpy()
        return np.where(has_known_word[:, None], probabilities, self.priors)

    def predict_corpus(self, batches: TextBatches) -> np.ndarray:
        """The (N, C) probabilities of all texts of a corpus, in the order of the corpus."""
        result = np.empty((len(batches.texts), len(self.labels)))
        for batch in batches.in_order_of_length():
            result[batch.rows] = self.predict_batch(batch, batches.texts.lengths[batch.rows])
        return result
