"""The section `word_vectors` of `params.yaml`."""

from pydantic import Field

from sentiformer.core.params import Section


class WordVectorsParams(Section):
    """How far the company of a word reaches that its first vector is made from; 0 for none."""

    window: int = Field(ge=0, le=1000)
    pairs: int = Field(ge=0, lt=2**31)
    triples: int = Field(ge=0, lt=2**31)
    regions: int = Field(ge=0, le=10_000)
