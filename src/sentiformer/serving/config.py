"""What `config.json` in the folder of a model says."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, Field, NonNegativeInt, model_validator

from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, read_json
from sentiformer.core.seal import require_sealed
from sentiformer.encoder.params import FinetuneParams
from sentiformer.model.params import InputSizes, ModelParams
from sentiformer.text.params import TokenizeParams
from sentiformer.training.calibration import Calibration


class TokenizedParams(BaseModel):
    """The parameters in `config.json` that define the tokenizer."""

    tokenize: TokenizeParams


class ConfigParams(TokenizedParams):
    """The parameters in `config.json` that define the model and its tokenizer."""

    model: ModelParams


class FinetunedParams(TokenizedParams):
    """The parameters in the `config.json` of a fine-tuned encoder."""

    finetune: FinetuneParams


class TrainFacts(BaseModel):
    """Numbers of the training texts, by label and by language."""

    label_counts: dict[str, NonNegativeInt]
    languages: dict[str, NonNegativeInt] | None = None


class SplitFacts(BaseModel):
    """The facts about the splits that prediction needs."""

    train: TrainFacts


class DataFacts(BaseModel):
    """The facts about the data that prediction needs."""

    splits: SplitFacts


class AnyConfig(InputSizes):
    """The part of `config.json` that all models have.

    Attributes:
        data: all facts about the data, a JsonObject, which names a key that it lacks.
        facts: some of them, whose types are checked.
    """

    labels: list[str]
    calibration: Calibration = Calibration()
    data: Any = None
    facts: DataFacts = Field(validation_alias="data")
    params: TokenizedParams

    @model_validator(mode="after")
    def _require_counts_of_labels(self) -> Self:
        counts = self.facts.splits.train.label_counts
        if counts.keys() != {*self.labels} or not any(counts.values()):
            raise ValueError(f"the label_counts of train are {counts}, the labels {self.labels}")
        return self

    @property
    def priors(self) -> np.ndarray:
        """The shares of the C classes in the training texts, (C,)."""
        counts = self.facts.splits.train.label_counts
        return np.array([counts[label] for label in self.labels]) / sum(counts.values())


class Config(AnyConfig):
    """The part of `config.json` that defines a Transformer."""

    params: ConfigParams


class FinetunedConfig(AnyConfig):
    """The part of `config.json` that defines a fine-tuned encoder; `encoder` says what it is."""

    params: FinetunedParams
    encoder: dict[str, Any]


def read_config(folder: Path, *, made_by: str) -> JsonObject:
    """Read `config.json` of the model in a folder, after a check of all files of the folder.

    Raises:
        UserError: a file is missing or corrupt, or another stage than `made_by` wrote it.
    """
    config = read_json(folder / "config.json", made_by=made_by)
    if config["stage"] != made_by:
        raise UserError(
            f"{folder} is from stage {config['stage']}; give the folder of stage {made_by}"
        )
    require_sealed(folder, made_by=made_by)
    return config
