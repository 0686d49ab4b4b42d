"""The section `model` of `params.yaml`, and the sizes of the network's input."""

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from sentiformer.core.params import Section


class ModelParams(Section):
    """The size of the Transformer, and its dropout."""

    d_model: int = Field(gt=0, le=16_384)
    num_heads: int = Field(gt=0, le=16_384)
    num_layers: int = Field(gt=0, le=1000)
    d_ff: int = Field(gt=0, le=65_536)
    norm: Literal["post", "pre"]
    dropout: float = Field(ge=0, lt=1)
    token_dropout: float = Field(ge=0, lt=1)
    max_len: int = Field(ge=8, le=65_536)

    @model_validator(mode="after")
    def _require_sizes_that_divide(self) -> Self:
        if self.d_model % self.num_heads:
            raise ValueError(
                f"d_model {self.d_model} is not divisible by num_heads {self.num_heads}; "
                "change one of the two"
            )
        if self.d_model % 2:
            raise ValueError(
                f"d_model {self.d_model} is odd; the positional encoding has a cosine for each "
                "sine, so choose an even number"
            )
        return self


class InputSizes(BaseModel):
    """How many words (V, with the special tokens), bigrams and trigrams have a vector.

    Trigrams need bigrams.
    """

    vocab_size: int
    pairs: int = 0
    triples: int = 0
