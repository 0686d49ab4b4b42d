"""The run of a training while it is trained; `sync` completes the run from the files afterwards.

The store is used by a thread of ours. MLflow's asynchronous logging would not replace it: there
only metrics are asynchronous, so the training itself would connect and make the run, and the
process would wait without limit at its end for a server that does not answer.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.tracking.metrics import event_metrics
from sentiformer.tracking.store import WAIT_SECONDS, Store, failures_reported, open_store

BATCH_SECONDS = 2.0  # events of this time are logged together


class LiveRun:
    """Logs the events of a training in a thread, so that the training never waits for the store."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about
        self._events: queue.SimpleQueue[StepEvent | EpochEvent] = queue.SimpleQueue()
        self._status = "FINISHED"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def __call__(self, event: StepEvent | EpochEvent) -> None:
        """Log an event soon."""
        self._events.put(event)

    def end(self, status: str) -> None:
        """Log what is left, and give the run this status; waits for `WAIT_SECONDS` at most."""
        self._status = status
        self._ended.set()
        self._thread.join(timeout=WAIT_SECONDS)

    def _work(self) -> None:
        with failures_reported("training continues"), open_store() as store:
            run = store.run_of(self._about)
            if run.info.status == "FINISHED":
                return  # the same training was tracked before
            run_id = run.info.run_id
            store.client.update_run(run_id, status="RUNNING")
            with _system_metrics(run_id):
                self._log_until_end(store, run_id)
            if self._status != "FINISHED":  # `sync` closes a finished run when it is complete
                store.client.set_terminated(run_id, self._status)

    def _log_until_end(self, store: Store, run_id: str) -> None:
        """Log events in batches until the training ends; skip those logged before a stop."""
        stage = self._about["stage"]
        known = {point.step for point in store.client.get_metric_history(run_id, f"{stage}/loss")}
        ended = False
        while not ended:
            ended = self._ended.wait(BATCH_SECONDS)
            events = [self._events.get() for _ in range(self._events.qsize())]
            new = [event for event in events if event.step not in known]
            store.log(run_id, [metric for event in new for metric in event_metrics(event, stage)])


@contextmanager
def live_run(about: dict[str, Any]) -> Iterator[LiveRun]:
    """Show a training in MLflow while the block trains; call the result with its events."""
    live = LiveRun(about)
    try:
        yield live
    except BaseException as error:
        live.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    live.end("FINISHED")


@contextmanager
def _system_metrics(run_id: str) -> Iterator[None]:
    """Log the load and the memory of the machine beside the curves."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=True)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
