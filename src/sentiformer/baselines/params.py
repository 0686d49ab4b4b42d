"""The sections `baseline` and `teach` of `params.yaml`."""

from typing import Annotated, Literal

from pydantic import Field

from sentiformer.core.params import Section, Size

CValues = Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1)]


class BaselineParams(Section):
    """Which n-grams the baselines know, and how freely their weights may grow."""

    min_count: int = Size
    c_values: CValues


class TeachParams(Section):
    """Who labels the texts that have no label, for the classifier to learn from."""

    by: Literal["nobody", "nb_trigrams", "text_vectors", "both"]
