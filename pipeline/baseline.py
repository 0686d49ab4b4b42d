"""Linear models of n-grams fitted to data/tokens, written to data/baseline."""

from pathlib import Path

from sentiformer.baselines.logistic_regression import fit_baselines
from sentiformer.console.output import say
from sentiformer.core.environment import write_environment
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.params import Params
from sentiformer.stage import stage

INPUT, OUTPUT = Path("data/tokens"), Path("data/baseline")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the baselines' metrics and test probabilities, and one of them as a model."""
    with sealed_folder(OUTPUT) as folder:
        fit_baselines(INPUT, folder, workers=runtime.threads)
        write_environment(folder)
    say(f"baselines → {OUTPUT}")


if __name__ == "__main__":
    main()
