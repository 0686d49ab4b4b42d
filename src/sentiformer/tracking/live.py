"""The run of a training while it is trained; `sync` completes the run from the files afterwards.

This module uses the store in a thread of its own. MLflow's asynchronous logging is not enough: only
its metrics are asynchronous. The training itself would connect and create the run, and the process
would wait without limit at its end for a server that does not answer.
"""

import queue
import threading
from contextlib import suppress
from typing import Any, Self

from sentiformer.core.events import Event
from sentiformer.tracking.metrics import event_metrics
from sentiformer.tracking.patience import Patience
from sentiformer.tracking.store import Store, use_store

BATCH_SECONDS = 2.0  # events of this time are logged together


class LiveRun:
    """Logs the events of a training in a thread, so that the training never waits for the store.

    During the training, the answers of the store may be late. At its end, the remaining events are
    logged, for as long as the patience lasts.
    """

    def __init__(self, about: dict[str, Any], patience: Patience) -> None:
        self._about, self._patience = about, patience
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._status = "FINISHED"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=use_store, args=(self._log,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __call__(self, event: Event) -> None:
        """Log an event soon."""
        self._events.put(event)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        self._ended.set()
        with suppress(TimeoutError), self._patience.call(0.0):
            self._thread.join(timeout=self._patience.left)

    def _log(self, store: Store) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        run = store.run_of(self._about)
        if run.info.status == "FINISHED":
            return  # the same training was tracked before
        run_id = run.info.run_id
        store.client.update_run(run_id, status="RUNNING")
        monitor = SystemMetricsMonitor(run_id, resume_logging=True)
        monitor.start()
        try:
            self._log_until_end(store, run_id)
        finally:
            monitor.finish()
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
