"""A Transformer fitted to data/tokens, written to data/model and tracked in MLflow."""

from pathlib import Path

from sentiformer import runs
from sentiformer.config import load_params, load_runtime, project_root
from sentiformer.console import stage
from sentiformer.launcher import by_torchrun


@stage
@by_torchrun
def main() -> None:
    """Train, or go on where a stopped training stood, and write the model."""
    runs.train(
        load_params(),
        load_runtime(),
        data=Path("data"),
        checkpoints=project_root() / ".checkpoints",
    )


if __name__ == "__main__":
    main()
