"""Writes a page on the model and its evaluation to data/report, and logs it in MLflow."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.evaluation.report import write_report
from sentiformer.params import Params
from sentiformer.stage import stage
from sentiformer.tracking.tracker import sync_all

DATA = Path("data")
OUTPUT = DATA / "report"
NEXT = "open it, or type `make demo` or `make ui`"


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write the page and its figures, and complete the model's MLflow run."""
    with sealed_folder(OUTPUT) as folder:
        write_report(DATA, folder)
    sync_all(DATA)
    say(f"report → {OUTPUT / 'report.html'}; next: {NEXT}")


if __name__ == "__main__":
    main()
