"""Probabilities of the unlabelled texts' classes, by whom `teach.by` names, to data/teacher."""

from pathlib import Path

from sentiformer import runs
from sentiformer.config import load_params, load_runtime, project_root
from sentiformer.console import stage
from sentiformer.distributed import by_torchrun


@stage
@by_torchrun
def main() -> None:
    """Label them, for which a Transformer may have to be trained; it goes on where it stopped."""
    runs.teach(
        load_params(),
        load_runtime(),
        data=Path("data"),
        checkpoints=project_root() / ".checkpoints",
    )


if __name__ == "__main__":
    main()
