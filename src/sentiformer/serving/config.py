"""What `config.json` in the folder of a model says."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, read_json
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


class AnyConfig(InputSizes):
    """The part of `config.json` that all models have."""

    labels: list[str]
    calibration: Calibration = Calibration()
    data: Any  # a JsonObject, which names a key that it lacks
    params: TokenizedParams


class Config(AnyConfig):
    """The part of `config.json` that defines a Transformer."""

    params: ConfigParams


class FinetunedConfig(AnyConfig):
    """The part of `config.json` that defines a fine-tuned encoder; `encoder` says what it is."""

    params: FinetunedParams
    encoder: dict[str, Any]


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
