"""The section `teach` of `params.yaml`."""

from typing import Literal

from sentiformer.core.params import Section

Teacher = Literal["nb_trigrams", "encoder", "ensemble"]


class TeachParams(Section):
    """The teacher that gives pseudo-labels: a baseline, the fine-tuned encoder, both, or None."""

    by: Teacher | None
