"""A tracking server that fails in many ways, in front of MLflow's own."""

import http.client
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

START_SECONDS = 120.0
SLOW_SECONDS = 2.0


class _Handler(BaseHTTPRequestHandler):
    """Passes a request on to MLflow's server, or fails."""

    protocol_version = "HTTP/1.1"
    faulty: "FaultyServer"

    def handle_any(self) -> None:
        """Answer a request of any method."""
        if (fault := self.faulty.fault_of(self.path)) is not None:
            self.close_connection = True
            with suppress(OSError):  # the client has closed the connection
                fault(self)
            return
        self.forward()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

    def body(self) -> bytes:
        """The body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def forward(self) -> None:
        """Pass the request on, and its answer back."""
        body = self.body()
        upstream = http.client.HTTPConnection("127.0.0.1", self.faulty.upstream)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
        upstream.request(self.command, self.path, body=body, headers=headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        kind = answer.headers.get("Content-Type", "application/json")
        self.answer(answer.status, content, **{"Content-Type": kind})

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        """Send an answer; `_` in the names of headers is `-`."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def hold(self, seconds: float = 3600.0) -> bool:
        """Wait until the server is well again, or for so long; returns whether it is well."""
        return self.faulty.well.wait(seconds)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


Fault = Callable[[Any], None]


def answers(status: int, content: bytes = b"", **headers: str) -> Fault:
    """A server that gives the same answer to each request."""

    def fault(handler: _Handler) -> None:
        handler.body()
        handler.answer(status, content, **headers)

    return fault


def closes(handler: _Handler) -> None:
    """Close the connection without an answer."""
    handler.connection.close()


def hangs(handler: _Handler) -> None:
    """Never answer."""
    handler.hold()


def drips_the_body(handler: _Handler) -> None:
    """Answer one byte a second."""
    handler.body()
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.hold(1.0):
        handler.wfile.write(b" ")


def drips_the_headers(handler: _Handler) -> None:
    """Send the head of an answer one byte a second."""
    handler.body()
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.hold(1.0):
        handler.wfile.write(b"x")


def is_slow(handler: _Handler) -> None:
    """Answer as it must, but late."""
    handler.hold(SLOW_SECONDS)
    handler.close_connection = False
    handler.forward()


def speaks_no_http(handler: _Handler) -> None:
    """Answer as a server of TLS does."""
    handler.connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")


def redirects(handler: _Handler) -> None:
    """Redirect to the same address."""
    handler.body()
    handler.answer(302, b"", Location=handler.path)


PAGE = b"<!DOCTYPE html><html><body>" + b"<p>Sign in to continue</p>" * 2000 + b"</body></html>"
FAULTS: dict[str, Fault | None] = {  # None: the port is closed
    "is absent": None,
    "hangs": hangs,
    "closes": closes,
    "500": answers(500, b"Internal Server Error"),
    "500 with a page": answers(500, PAGE, Content_Type="text/html"),
    "429, Retry-After: 60": answers(429, b"slow down", Retry_After="60"),
    "503, Retry-After: 3600": answers(503, b"", Retry_After="3600"),
    "401": answers(401, b"You are not authenticated.", WWW_Authenticate="Basic"),
    "403": answers(403, b"Permission denied"),
    "404": answers(404, b"Not Found"),
    "a page": answers(200, PAGE, Content_Type="text/html"),
    "broken JSON": answers(200, b'{"experiment": {"experiment_id": "1", '),
    "JSON of something else": answers(200, b'{"experiment": null, "runs": 3}'),
    "redirects in a loop": redirects,
    "drips the body": drips_the_body,
    "drips the head": drips_the_headers,
    "is slow": is_slow,
    "speaks TLS": speaks_no_http,
}


class FaultyServer:
    """Passes requests on to MLflow's server until it fails.

    Attributes:
        address: of this server; it keeps its port.
        upstream: the port of MLflow's server.
        well: whether requests are passed on.
    """

    def __init__(self, upstream: int) -> None:
        self.upstream, self._port = upstream, 0
        self.well = threading.Event()
        self.well.set()
        self._listen()
        self.address = f"http://127.0.0.1:{self._port}"

    @classmethod
    @contextmanager
    def start(cls, folder: Path, empty: Path) -> "Iterator[FaultyServer]":
        """Start MLflow's server, with a copy of an empty database, and this one in front of it."""
        shutil.copy(empty, folder / "server.db")
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port = listener.getsockname()[1]
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
        command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        with (folder / "server.log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            _wait_for(port)
            with cls(port) as server:
                yield server
        finally:
            process.terminate()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.recover()
        self._http.shutdown()
        self._http.server_close()

    def fail(self, fault: Fault | None, *, after: int = 0, path: str = "") -> None:
        """Fail from a request on; only those count whose address contains `path`."""
        self.well.clear()
        self._fault, self._after, self._path = fault, after, path
        if fault is None:
            self._http.shutdown()
            self._http.server_close()

    def recover(self) -> None:
        """Pass all requests on."""
        if not self.well.is_set() and self._fault is None:
            self._listen()
        self.well.set()

    def fault_of(self, path: str) -> Fault | None:
        """How to fail at a request; None if it is passed on."""
        if self.well.is_set() or self._path not in path:
            return None
        self._after -= 1
        return self._fault if self._after < 0 else None

    def _listen(self) -> None:
        handler = type("Handler", (_Handler,), {"faulty": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._http.daemon_threads = True
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()


def _wait_for(port: int) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"MLflow's server at port {port} does not answer")
