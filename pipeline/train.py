"""A Transformer fitted to data/tokens, written to data/model and tracked in MLflow."""

from pathlib import Path

from sentiformer import tracking
from sentiformer.config import load_params, load_runtime, project_root
from sentiformer.console import say, stage
from sentiformer.distributed import by_torchrun
from sentiformer.files import whole_folder
from sentiformer.job import TrainingJob
from sentiformer.timings import keep_seconds

DATA = Path("data")
OUTPUT = DATA / "model"


@stage
@by_torchrun
def main() -> None:
    """Train, or go on where a stopped training stood, and write the best epoch's model."""
    job = TrainingJob(
        load_params(),
        load_runtime(),
        tokens=DATA / "tokens",
        vocab=DATA / "vocab",
        checkpoints=project_root() / ".checkpoints",
    )
    job.follow()  # a process that does not lead ends here
    with whole_folder(OUTPUT) as folder:
        with tracking.live_run(job.about) as track:
            for event in job.run():
                track(event)
        job.write(folder)
    keep_seconds("train", OUTPUT / "model.safetensors", {"transformer": job.seconds})
    say(f"model → {OUTPUT}")
    tracking.sync(DATA)
    job.forget()


if __name__ == "__main__":
    main()
