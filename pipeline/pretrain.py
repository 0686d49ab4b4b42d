"""A masked language model of train and the unlabelled texts, written to data/pretrained."""

from pathlib import Path

from sentiformer.core.runtime import Runtime
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.tracking import tracker
from sentiformer.training.launcher import by_torchrun
from sentiformer.training.pretrain import pretrain

OUTPUT = Path("data/pretrained")


@stage
@by_torchrun
def main(params: Params, runtime: Runtime) -> None:
    """Pretrain, or resume a stopped pretraining; with 0 epochs there is no model."""
    precision = params.train.precision
    pretrain(params.model, params.pretrain, precision, runtime, output=OUTPUT, tracker=tracker)


if __name__ == "__main__":
    main()
