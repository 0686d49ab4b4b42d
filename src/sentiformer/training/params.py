"""The sections `pretrain` and `train` of `params.yaml`."""

from typing import Literal

from pydantic import Field

from sentiformer.core.params import Fraction, Section, Size
from sentiformer.core.runtime import Precision


class FitParams(Section):
    """How weights are fitted, whatever to."""

    seed: int = Field(ge=0, lt=2**31)
    epochs: int = Size
    batch_size: int = Size
    optimizer: Literal["adam", "adamw", "lazy_adamw", "muon"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0, le=100)
    schedule: Literal["constant", "linear", "cosine"]
    warmup_fraction: float = Field(ge=0, lt=1)
    clip_norm: float = Field(gt=0)
    precision: Precision


class PretrainParams(FitParams):
    """How the encoder learns the language; in no epoch, it learns nothing."""

    epochs: int = Field(ge=0, lt=2**31)
    window: int = Size
    dropout: float = Field(ge=0, lt=1)
    masked_fraction: float = Fraction


class TrainParams(FitParams):
    """How the classifier is fitted; patience is for one training, those of a soup do all epochs."""

    word_dropout: float = Field(ge=0, lt=1)
    class_weights: Literal["balanced"] | None
    patience: int = Size
    soup: int = Field(gt=0, le=100)
