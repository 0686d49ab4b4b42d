"""MLflow as the tracker of trainings; see `sentiformer.training.run.Tracker`."""

from pathlib import Path

from sentiformer.tracking.live import live_run
from sentiformer.tracking.sync import sync as sync_model
from sentiformer.tracking.sync import sync_pretraining

__all__ = ["live_run", "sync"]


def sync(stage: str, data: Path) -> None:
    """Log what stage train or pretrain has written to `data`."""
    if stage == "train":
        sync_model(data)
    else:
        sync_pretraining(data)
