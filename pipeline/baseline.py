"""Linear models of n-grams fitted to data/tokens; they may give pseudo-labels."""

from pathlib import Path

from sentiformer.baselines.logistic_regression import fit_baselines
from sentiformer.console.output import say
from sentiformer.core.files import atomic_folder
from sentiformer.core.runtime import Runtime
from sentiformer.params import Params
from sentiformer.stage import stage

INPUT, OUTPUT, TEACHER = Path("data/tokens"), Path("data/baseline"), Path("data/teacher")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the baselines' metrics and test probabilities, and the pseudo-labels, if any."""
    with atomic_folder(OUTPUT) as folder, atomic_folder(TEACHER) as teacher:
        fit_baselines(params.teach, INPUT, folder, teacher, workers=runtime.threads)
    say(f"baselines → {OUTPUT}, pseudo-labels by {params.teach.by or 'no teacher'} → {TEACHER}")


if __name__ == "__main__":
    main()
