"""The section `word_vectors` of `params.yaml`."""

from pydantic import Field

from sentiformer.core.params import Section


class WordVectorsParams(Section):
    """The window of co-occurrence, 0 for random vectors, and the numbers of bigrams and trigrams.

    Bigrams are called pairs here, and trigrams triples.
    """

    window: int = Field(ge=0, le=1000)
    pairs: int = Field(ge=0, lt=2**31)
    triples: int = Field(ge=0, lt=2**31)
