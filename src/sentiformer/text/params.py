"""The sections `tokenize` and `build_vocab` of `params.yaml`."""

from pydantic import Field

from sentiformer.core.names import SPECIAL_TOKENS
from sentiformer.core.params import Section


class TokenizeParams(Section):
    """How a text is split into tokens."""

    language: str = Field(min_length=2)


class BuildVocabParams(Section):
    """The size of the vocabulary, special tokens included."""

    max_size: int = Field(gt=len(SPECIAL_TOKENS), lt=2**31)
