"""A masked language model of train and unlabelled texts, written to data/pretrained."""

from pathlib import Path

from sentiformer import runs
from sentiformer.config import load_params, load_runtime, project_root
from sentiformer.console import stage
from sentiformer.launcher import by_torchrun


@stage
@by_torchrun
def main() -> None:
    """Pretrain, or go on where a stopped pretraining stood; with 0 epochs there is no model."""
    runs.pretrain(
        load_params(),
        load_runtime(),
        data=Path("data"),
        checkpoints=project_root() / ".checkpoints",
    )


if __name__ == "__main__":
    main()
