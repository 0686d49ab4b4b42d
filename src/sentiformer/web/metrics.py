"""What the server counts, in the text format of Prometheus."""

import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable

import prometheus_client as prometheus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # bounds of the histogram


class Metrics:
    """Counts requests, their seconds and the predicted labels, and memory and CPU of the process.

    Args:
        waiting: gives the number of texts without an answer.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self.requests = prometheus.Counter(
            "sentiformer_requests", "Answered requests.", ["path", "status"], registry=registry
        )
        self.seconds = prometheus.Histogram(
            "sentiformer_request_seconds",
            "Seconds from a request to its answer.",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self._labels = prometheus.Counter(
            "sentiformer_predictions", "Classified texts.", ["label"], registry=registry
        )
        gauge = prometheus.Gauge(
            "sentiformer_waiting_texts", "Texts without an answer.", registry=registry
        )
        gauge.set_function(waiting)

    def count(self, labels: Iterable[str]) -> None:
        """Count the labels of predictions."""
        for label, count in Counts(labels).items():
            self._labels.labels(label).inc(count)

    def text(self) -> bytes:
        """All values."""
        return prometheus.generate_latest(self._registry)


class MeasureRequests:
    """Middleware that counts each request by its route and its status, and measures its time."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and measure it."""
        start, status = time.perf_counter(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            # The path of an unknown address is of no route: anyone can make up any number of them.
            path = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - start)
