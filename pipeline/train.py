"""A Transformer fitted to data/tokens, written to data/model and tracked in MLflow."""

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
    """Train, or go on where a stopped training stood, and write the model."""
    runs.train(
        params.model,
        params.train,
        runtime,
        data=Path("data"),
        checkpoints=project_root() / ".checkpoints",
        tracker=tracker,
    )


if __name__ == "__main__":
    main()
