"""MLflow as the tracker of a training; see `sentiformer.training.runs.Tracker`."""

from sentiformer.tracking.live import live_run
from sentiformer.tracking.sync import sync, sync_pretraining

__all__ = ["live_run", "sync", "sync_pretraining"]
