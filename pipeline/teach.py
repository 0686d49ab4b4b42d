"""Probabilities of the unlabelled texts' classes, by whom `teach.by` names, to data/teacher."""

from pathlib import Path

from sentiformer.baselines.teaching import teach
from sentiformer.core.runtime import Runtime
from sentiformer.params import Params
from sentiformer.stage import stage


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Label them, for which vectors of texts may have to be fitted."""
    teach(params.teach, runtime, data=Path("data"))


if __name__ == "__main__":
    main()
