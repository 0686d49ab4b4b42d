"""The section `download` of `params.yaml`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sentiformer.core.params import Fraction, Name, Section

Labels = Annotated[list[Name], Field(min_length=2)]


class DownloadParams(Section):
    """Where the texts come from and how many are held out.

    Paths are relative to the project's root. What a source does not use, it ignores; a split that
    a source does not have is held out of its train.
    """

    source: Literal["bundled", "hub", "files"]
    hub_dataset: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    hub_revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    train: Name | None
    validation: Name | None
    test: Name | None
    unlabeled: Name | None
    text_column: Name
    label_column: Name
    labels: Labels | None
    validation_fraction: float = Fraction
    test_fraction: float = Fraction

    @model_validator(mode="after")
    def _say_where_the_texts_are(self) -> Self:
        if self.source == "files" and self.train is None:
            raise ValueError(
                "source is 'files' and train is null; give train a path, a glob or a folder"
            )
        if self.text_column == self.label_column:
            raise ValueError(
                f"text_column and label_column are both {self.text_column!r}; name two columns"
            )
        if self.labels and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {self.labels} name a label twice; name each once")
        return self

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} + test_fraction "
                f"{self.test_fraction} leave nothing to train on; their sum must be below 1"
            )
        return self
