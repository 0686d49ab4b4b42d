"""The pretrained encoder, trained to classify, written to data/finetuned and logged to MLflow."""

from pathlib import Path

from sentiformer.core.runtime import Runtime
from sentiformer.encoder.finetune import finetune
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.tracking import tracker
from sentiformer.training.launcher import by_torchrun

OUTPUT = Path("data/finetuned")


@stage
@by_torchrun
def main(params: Params, runtime: Runtime) -> None:
    """Fine-tune, or resume a stopped training; without encoder.name there is no model."""
    finetune(params.finetune, params.train, runtime, output=OUTPUT, tracker=tracker)


if __name__ == "__main__":
    main()
