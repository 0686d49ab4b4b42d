"""Pseudo-labels of the unlabelled texts and of spans, written to data/teacher."""

from pathlib import Path

from sentiformer.console.output import say
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import sealed_folder
from sentiformer.params import Params
from sentiformer.serving.teach import teach
from sentiformer.stage import stage

DATA = Path("data")


@stage
def main(params: Params, runtime: Runtime) -> None:
    """Write what the teacher predicts; without teach.by only a record that there is none."""
    with sealed_folder(DATA / "teacher") as folder:
        teach(params.teach, DATA, folder, runtime)
    say(f"pseudo-labels by {params.teach.by or 'no teacher'} → {DATA / 'teacher'}")


if __name__ == "__main__":
    main()
