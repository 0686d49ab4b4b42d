"""The report page on the model and its evaluation, written to data/report and tracked in MLflow."""

from pathlib import Path

from sentiformer import tracking
from sentiformer.config import load_params
from sentiformer.console import say, stage
from sentiformer.files import whole_folder
from sentiformer.reporting import write_report

DATA = Path("data")
OUTPUT = DATA / "report"


@stage
def main() -> None:
    """Write the page and its figures, and complete the model's MLflow run."""
    params = load_params()
    with whole_folder(OUTPUT) as folder:
        write_report(params, data=DATA, folder=folder)
    say(f"report → {OUTPUT / 'report.html'}")
    tracking.sync(DATA)


if __name__ == "__main__":
    main()
