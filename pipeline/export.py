"""A trained model in files from which a program without torch predicts; writes data/exported."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.files import atomic_folder
from sentiformer.core.runtime import Runtime
from sentiformer.export.export import export
from sentiformer.params import Params
from sentiformer.stage import stage

DATA = Path("data")
OUTPUT = DATA / "exported"


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Export the model; without export.format only a record that there is none."""
    with atomic_folder(OUTPUT) as folder:
        line = export(params.export, DATA, folder)
    say(f"{line} → {OUTPUT}")


if __name__ == "__main__":
    main()
