"""Evaluates data/model on test, compares it with data/baseline, and writes data/evaluation."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.files import atomic_folder
from sentiformer.core.runtime import Runtime
from sentiformer.evaluation.evaluate import evaluate
from sentiformer.params import Params
from sentiformer.stage import stage

DATA = Path("data")
OUTPUT = DATA / "evaluation"


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the metrics, the comparison, the predictions, and the tables of the plots."""
    with atomic_folder(OUTPUT) as folder:
        metrics = evaluate(
            runtime,
            model=DATA / "model",
            baseline=DATA / "baseline",
            tokens=DATA / "tokens",
            raw=DATA / "raw",
            folder=folder,
        )
    say(f"test: accuracy {metrics['accuracy']:.4f}, log loss {metrics['log_loss']:.4f} → {OUTPUT}")


if __name__ == "__main__":
    main()
