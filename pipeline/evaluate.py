"""The model in data/model judged on test beside data/baseline, written to data/evaluation."""

from pathlib import Path

from sentiformer.config import load_params, load_runtime
from sentiformer.console import say, stage
from sentiformer.evaluation import evaluate
from sentiformer.files import whole_folder

DATA = Path("data")
OUTPUT = DATA / "evaluation"


@stage
def main() -> None:
    """Write metrics, comparison, predictions, and the tables of the plots."""
    params, runtime = load_params(), load_runtime()
    with whole_folder(OUTPUT) as folder:
        metrics = evaluate(
            params.evaluate,
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
