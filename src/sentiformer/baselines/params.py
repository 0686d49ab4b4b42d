"""The section `teach` of `params.yaml`."""

from typing import Literal

from sentiformer.core.params import Section


class TeachParams(Section):
    """The teacher: the baseline that gives pseudo-labels to the unlabelled texts, or None."""

    by: Literal["nb_trigrams"] | None
