"""The sections `evaluate` and `report` of `params.yaml`."""

from pydantic import Field

from sentiformer.core.params import Section

Bins = Field(gt=0, le=1000)


class EvaluateParams(Section):
    """How finely the predictions are judged."""

    calibration_bins: int = Bins
    length_bins: int = Bins


class ReportParams(Section):
    """What the report page shows."""

    mistakes: int = Field(ge=0)
