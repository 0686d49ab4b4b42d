"""The section `export` of `params.yaml`."""

from typing import Literal

from sentiformer.core.params import Section


class ExportParams(Section):
    """Which model is exported, and in which format; None: no model."""

    format: Literal["fp32", "int8"] | None
    model: Literal["model", "finetuned"]
