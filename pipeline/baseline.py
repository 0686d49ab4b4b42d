"""Linear models of n-grams fitted to data/tokens, written to data/baseline."""

from pathlib import Path

from sentiformer.baselines import fit_baselines
from sentiformer.config import load_params, load_runtime
from sentiformer.console import say, stage
from sentiformer.files import whole_folder
from sentiformer.timings import keep_seconds

INPUT, OUTPUT = Path("data/tokens"), Path("data/baseline")


@stage
def main() -> None:
    """Write each baseline's metrics on validation, and its probabilities on test."""
    params, runtime = load_params(), load_runtime()
    with whole_folder(OUTPUT) as folder:
        seconds = fit_baselines(
            params.baseline, params.teach, INPUT, folder, workers=runtime.threads
        )
    keep_seconds("baseline", OUTPUT / "metrics.json", seconds)
    say(f"baselines → {OUTPUT}")


if __name__ == "__main__":
    main()
