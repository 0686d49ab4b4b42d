"""A training as MLflow sees it while it runs; `tracking.sync` completes the run afterwards."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.tracking.sync import KEY_TAG, Store, event_metrics, never_fails, system_metrics

FLUSH_SECONDS = 2.0


class LiveRun:
    """Logs a training while it runs, in a thread of its own, beside the steps."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._events: queue.SimpleQueue[StepEvent | EpochEvent | str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __call__(self, event: StepEvent | EpochEvent) -> None:
        """Take an event to log soon."""
        self._events.put(event)

    def end(self, status: str) -> None:
        """Log what is left, and let the run end so."""
        self._events.put(status)
        self._thread.join(timeout=30)

    def _work(self) -> None:
        with never_fails("training goes on"):
            store = Store.connect()
            run = store.find(KEY_TAG, self._about["training_key"])
            if run is not None and run.info.status == "FINISHED":
                return  # the same parameters, data, code and machine: the same curves
            run_id = store.complete(run, self._about)
            store.client.update_run(run_id, status="RUNNING")
            with system_metrics(run_id, resume=run is not None):
                losses = f"{self._about['stage']}/loss"
                known = {p.step for p in store.client.get_metric_history(run_id, losses)}
                status = self._log_until_end(store, run_id, known)
            if status != "FINISHED":  # a finished run is closed by `sync`, complete
                store.client.set_terminated(run_id, status)

    def _log_until_end(self, store: Store, run_id: str, known: set[int]) -> str:
        """Log events in bundles until the training ends; returns how it ended."""
        while True:
            time.sleep(FLUSH_SECONDS if self._events.empty() else 0.1)
            new: list[StepEvent | EpochEvent] = []
            status = None
            while not self._events.empty() and status is None:
                event = self._events.get()
                if isinstance(event, str):
                    status = event
                elif event.step not in known:
                    new.append(event)
            stage = self._about["stage"]
            store.log([point for event in new for point in event_metrics(event, stage)], run_id)
            if status is not None:
                return status


@contextmanager
def live_run(about: dict[str, Any]) -> Iterator[LiveRun]:
    """Log a training while it runs: call the result with its events."""
    live = LiveRun(about)
    try:
        yield live
    except KeyboardInterrupt:
        live.end("KILLED")
        raise
    except BaseException:
        live.end("FAILED")
        raise
    live.end("FINISHED")
