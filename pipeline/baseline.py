"""Linear models of n-grams fitted to data/tokens, written to data/baseline and data/teacher."""

from pathlib import Path

from sentiformer.baselines import fit_baselines
from sentiformer.config import load_params, load_runtime
from sentiformer.console import say, stage
from sentiformer.files import whole_folder
from sentiformer.timings import keep_seconds

INPUT, OUTPUT, TEACHER = Path("data/tokens"), Path("data/baseline"), Path("data/teacher")


@stage
def main() -> None:
    """Write each baseline's metrics on validation, its probabilities on test, and who teaches."""
    params, runtime = load_params(), load_runtime()
    with whole_folder(OUTPUT) as folder, whole_folder(TEACHER) as teacher:
        seconds = fit_baselines(params.baseline, INPUT, folder, teacher, workers=runtime.threads)
    keep_seconds("baseline", OUTPUT / "metrics.json", seconds)
    say(f"baselines → {OUTPUT}, who teaches → {TEACHER}")


if __name__ == "__main__":
    main()
