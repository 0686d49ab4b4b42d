"""The sections `pretrain` and `train` of `params.yaml`."""

from typing import Literal

from pydantic import Field

from sentiformer.core.params import Fraction, Section, Size
from sentiformer.core.runtime import Precision

Optimizer = Literal["adam", "lazy_adam", "muon"]


class PretrainParams(Section):
    """How the encoder is trained as a masked language model; with 0 epochs it is not."""

    epochs: int = Field(ge=0, lt=2**31)
    window: int = Size
    masked_fraction: float = Fraction
    batch_size: int = Size
    learning_rate: float = Field(gt=0)
    precision: Precision


class TrainParams(Section):
    """How the classifier is trained."""

    seed: int = Field(ge=0, lt=2**31)
    epochs: int = Size
    patience: int = Size
    batch_size: int = Size
    optimizer: Literal["adam", "lazy_adam"]
    learning_rate: float = Field(gt=0)
    word_dropout: float = Field(ge=0, lt=1)
    class_weights: Literal["balanced"] | None
    precision: Precision
