"""Probabilities of the unlabelled texts' classes, by whom `teach.by` names, to data/teacher."""

from pathlib import Path

from sentiformer.config import load_params, load_runtime
from sentiformer.console import stage
from sentiformer.teaching import teach


@stage
def main() -> None:
    """Label them, for which vectors of texts may have to be fitted."""
    teach(load_params(), load_runtime(), data=Path("data"))


if __name__ == "__main__":
    main()
