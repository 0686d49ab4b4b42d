"""The section `download` of `params.yaml`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sentiformer.core.params import Name, Section

Labels = Annotated[list[Name], Field(min_length=2)]


class DownloadParams(Section):
    """The source of the texts and the share that is held out.

    Paths are relative to the project's root. A source ignores the keys that it does not use. A
    split that a source does not have is held out of its train.
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
    held_out: float = Field(gt=0, lt=0.5)

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
        if self.labels and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {self.labels} name a label twice; name each once")
        return self
