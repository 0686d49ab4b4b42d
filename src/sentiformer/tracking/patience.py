"""How long a stage waits for a store whose answers are late."""

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

WAIT_SECONDS = 5.0  # the longest wait of a stage for answers that are late, all of them together
ANSWER_SECONDS = 0.25  # after which an answer is late
UPLOAD_RATE = 10_000_000  # bytes a second; the answer to an upload is late after so much more time
UPLOADS = ("log_artifacts", "log_model_artifacts")  # calls that upload a folder


class Patience:
    """The seconds by which the answers of a store may be late, all of them together.

    A limit for each request would not be enough: a server can answer byte by byte, or answer each
    of many requests late. Work between the calls does not count.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.renew(seconds)

    def renew(self, seconds: float | None = None) -> None:
        """Begin again, by default with `MLFLOW_HTTP_REQUEST_TIMEOUT` or else `WAIT_SECONDS`."""
        self.left = _setting() if seconds is None else seconds
        self._end = math.inf  # of the call at work

    @contextmanager
    def call(self, seconds: float = ANSWER_SECONDS) -> Iterator[None]:
        """Call the store, which is late after so many seconds.

        Raises:
            TimeoutError: the answers before were too late already.
        """
        self._require_some()
        start = time.monotonic()
        self._end = start + seconds + self.left
        try:
            yield
        finally:
            self._end = math.inf
            self.left -= max(0.0, time.monotonic() - start - seconds)

    def limit(self, work: Callable[[], None]) -> None:
        """Do the work in a thread, which is left alone when the answers are too late.

        Raises:
            TimeoutError: they are; the thread ends at its next call.
            Exception: what the work raises.
        """
        errors: list[Exception] = []

        def run() -> None:
            try:
                work()
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive() and time.monotonic() < self._end:
            thread.join(0.05)
        if thread.is_alive():
            self.left = 0.0
            self._require_some()
        if errors:
            raise errors[0]

    def _require_some(self) -> None:
        if self.left <= 0:
            raise TimeoutError(
                "its answers are too late; MLFLOW_HTTP_REQUEST_TIMEOUT sets the seconds to wait"
            )


class PatientClient:
    """MLflow's client, each call of which takes from a patience."""

    def __init__(self, client: Any, patience: Patience) -> None:
        self._client, self._patience = client, patience

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        @wraps(found)
        def call(*arguments: Any, **values: Any) -> Any:
            seconds = ANSWER_SECONDS
            if name in UPLOADS:
                seconds += _size(Path(arguments[1])) / UPLOAD_RATE
            with self._patience.call(seconds):
                return found(*arguments, **values)

        return call


def _setting() -> float:
    """The seconds of `MLFLOW_HTTP_REQUEST_TIMEOUT`; MLflow itself refuses a wrong value."""
    try:
        return float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    except (KeyError, ValueError):
        return WAIT_SECONDS


def _size(folder: Path) -> int:
    """The bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
