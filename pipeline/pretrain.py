"""A masked language model of train and unlabelled texts, written to data/pretrained."""

from pathlib import Path

from sentiformer.core.runtime import Runtime, project_root
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.tracking import tracker
from sentiformer.training import runs
from sentiformer.training.launcher import by_torchrun


@stage
@by_torchrun
def main(params: Params, runtime: Runtime) -> None:
    """Pretrain, or go on where a stopped pretraining stood; with 0 epochs there is no model."""
    runs.pretrain(
        params.model,
        params.pretrain,
        runtime,
        data=Path("data"),
        checkpoints=project_root() / ".checkpoints",
        tracker=tracker,
    )


if __name__ == "__main__":
    main()
