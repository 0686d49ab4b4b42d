"""Linear models of n-grams fitted to data/tokens, written to data/baseline."""

from pathlib import Path

from sentiformer.baselines.linear import fit_baselines
from sentiformer.console import say
from sentiformer.core.files import whole_folder
from sentiformer.core.runtime import Runtime
from sentiformer.params import Params
from sentiformer.stage import stage

INPUT, OUTPUT = Path("data/tokens"), Path("data/baseline")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write each baseline's metrics on validation, and its probabilities on test."""
    with whole_folder(OUTPUT) as folder:
        fit_baselines(params.baseline, params.teach, INPUT, folder, workers=runtime.threads)
    say(f"baselines → {OUTPUT}")


if __name__ == "__main__":
    main()
