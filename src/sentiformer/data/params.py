"""The section `download` of `params.yaml`."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from sentiformer.core.params import Name, Section, Size
from sentiformer.data.label_spelling import clean

PART = r"\w[\w.-]*"
HUB_NAMES = (  # a page of the Hub, owner/name with or without /configuration, and a bare name
    rf"(?:(?:https?://[^/]+/|hf://|huggingface\.co/|hf\.co/)?datasets/)(?P<name>{PART}(?:/{PART})?)"
    r"(?:/viewer(?:/(?P<configuration>[^/?#]+).*)?)?/?(?:[?#].*)?",
    rf"(?P<name>{PART}/{PART})(?:/(?P<configuration>[^/].*?))?/?",
    rf"(?P<name>{PART})(?P<configuration>)/?",
)


def split_hub_name(value: str) -> tuple[str, str | None]:
    """Split the value of `hub_dataset` into the name of a data set and its configuration.

    The value is owner/name or owner/name/configuration, or the address of the page on the Hub. The
    owner may be missing, as in old names.

    Raises:
        ValueError: the value is something else.
    """
    for pattern in HUB_NAMES:
        if found := re.fullmatch(pattern, value):
            return found["name"], found["configuration"] or None
    raise ValueError("it is not the name of a data set")


def _check_hub_name(value: str) -> str:
    try:
        split_hub_name(value)
    except ValueError:
        raise PydanticCustomError(
            "hub_name",
            "input should be owner/name or owner/name/configuration, as in stanfordnlp/imdb; the "
            "top of the data set's page on https://huggingface.co/datasets shows owner/name",
        ) from None
    return value


def _check_labels(names: list[str]) -> list[str]:
    if len(names) < 2 or not all(map(clean, names)):
        raise PydanticCustomError(
            "labels", "input should be a list of two or more names, such as [negative, positive]"
        )
    return names


Labels = Annotated[list[Name], AfterValidator(_check_labels)]


def number_of_folds(share: float) -> int:
    """How many folds there are if `share` is held out for each of validation and test."""
    return max(round(1 / max(share, 2**-64)), 3)  # one for each split


class DownloadParams(Section):
    """The source of the texts and the share that is held out.

    Paths are relative to the project's root. A source ignores the keys that it does not use. A
    split that a source does not have is held out of its train; `fold` says which of its texts.
    """

    source: Literal["bundled", "hub", "files"]
    hub_dataset: Annotated[Name, AfterValidator(_check_hub_name)]
    hub_revision: Name
    train: Name | None
    validation: Name | None
    test: Name | None
    unlabeled: Name | None
    text_column: Name
    label_column: Name
    labels: Labels | None
    min_texts: int = Size
    held_out: float = Field(gt=0, lt=0.5)
    fold: int = Field(ge=0)

    @model_validator(mode="after")
    def _check_keys_together(self) -> Self:
        if self.source == "files" and self.train is None:
            raise ValueError(
                "source is 'files' and train is null; give train a path, a glob or a folder"
            )
        if self.text_column == self.label_column:
            raise ValueError(
                f"text_column and label_column are both {self.text_column!r}; name two columns"
            )
        if self.labels and len(set(map(clean, self.labels))) < len(self.labels):
            raise ValueError(f"labels {self.labels} name a label twice; name each once")
        if self.fold >= (folds := number_of_folds(self.held_out)):
            raise ValueError(
                f"fold is {self.fold}, but held_out {self.held_out:g} makes {folds} folds; give "
                f"fold a number from 0 to {folds - 1}"
            )
        return self
