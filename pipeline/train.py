"""The classifier trained on data/tokens, written to data/model and logged to MLflow."""

from pathlib import Path

from sentiformer.core.runtime import Runtime
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.tracking import tracker
from sentiformer.training.launcher import by_torchrun

DATA = Path("data")


@stage
@by_torchrun
def main(params: Params, runtime: Runtime) -> None:
    """Train, or resume a stopped training, and write the model."""
    # These import torch.
    from sentiformer.training.classification import set_up_classifier
    from sentiformer.training.run import run_training

    setup = set_up_classifier(params.model, params.train, runtime, data=DATA)
    run_training(setup, DATA / "model", runtime, tracker=tracker)


if __name__ == "__main__":
    main()
