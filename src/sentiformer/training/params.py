"""The sections `pretrain` and `train` of `params.yaml`."""

from typing import Literal

from pydantic import Field

from sentiformer.core.params import Rate, Section
from sentiformer.core.runtime import Precision

Optimizer = Literal["adam", "lazy_adam", "muon", "layered_adamw"]
Epochs = Field(gt=0, le=10_000)
BatchSize = Field(gt=0, le=65_536)


class PretrainParams(Section):
    """How the encoder is trained as a masked language model; with 0 epochs it is not."""

    epochs: int = Field(ge=0, le=10_000)


class TrainParams(Section):
    """How the classifier is trained."""

    seed: int = Field(ge=0, lt=2**31)
    epochs: int = Epochs
    patience: int = Epochs
    batch_size: int = BatchSize
    optimizer: Literal["adam", "lazy_adam"]
    learning_rate: float = Rate
    word_dropout: float = Field(ge=0, lt=1)
    class_weights: Literal["balanced"] | None
    precision: Precision
