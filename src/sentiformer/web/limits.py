"""What a client may send to the server, and in which time."""

import asyncio
from typing import Any

import h11
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 20  # for a whole request to arrive, and for a client to go on reading an answer


class TimedProtocol(H11Protocol):
    """HTTP that closes a connection which waits too long for its client.

    Each connection needs an open file, of which a process has few: without a limit of time,
    clients that send nothing could keep all others out.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for a client that does not read its answer."""
        super().pause_writing()
        self._watch(is_reading=False)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._stop()

    def _watch(self, *, is_reading: bool = True) -> None:
        """Set the deadline if the client is late with a request or with reading, or remove it."""
        if is_reading and self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._stop()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class LimitBody:
    """Middleware that refuses a body of more than `most` bytes with status 413."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count the bytes that are read of its body."""
        found = 0

        async def read() -> Message:
            nonlocal found
            message = await receive()
            found += len(message.get("body", b""))
            if found > self._most:
                line = f"the body has more than {self._most:,} bytes; send fewer texts at once"
                raise HTTPException(413, line)
            return message

        await self._app(scope, read, send)
