"""The thread that computes the answers of the server, and the limit of what may wait for it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

MAX_WAITING = 1024  # texts; further requests are refused
SLICE_TEXTS = 16  # computed at once; between them, texts of other requests have their turn


class BusyError(Exception):
    """Too many texts are waiting; `seconds` says after how long to try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the server has too many texts to answer; try again in {seconds} s")
        self.seconds = seconds


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


class Worker:
    """Computes answers in one thread: the tokenizer is not safe in several, and torch has its own.

    Attributes:
        thread: for work that is no answer to a request.
        waiting: number of texts without an answer.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.waiting = 0
        self._seconds_per_text = 0.0  # of the last slice
        self._turn = asyncio.Lock()  # slices wait for it in their order

    async def answer(
        self,
        function: Callable[[list[str]], list[Any]],
        texts: list[str],
        at_once: int = SLICE_TEXTS,
        has_left: Callable[[], Awaitable[bool]] | None = None,
    ) -> list[Any]:
        """The answers of a function to texts, of which it gets `at_once` in a call.

        `has_left` tells whether the client has closed the connection.

        Raises:
            BusyError: with these texts, more than `MAX_WAITING` would be waiting.
            ClientLeftError: the client left before the last slice was computed.
        """
        if self.waiting + len(texts) > MAX_WAITING:
            raise BusyError(max(1, math.ceil(self.waiting * self._seconds_per_text)))
        self.waiting += len(texts)
        try:
            slices = (texts[i : i + at_once] for i in range(0, len(texts), at_once))
            answers: list[Any] = []
            for some in slices:
                async with self._turn:
                    if has_left and await has_left():
                        raise ClientLeftError
                    answers += await self._compute(function, some)
            return answers
        finally:
            self.waiting -= len(texts)

    async def _compute(
        self, function: Callable[[list[str]], list[Any]], texts: list[str]
    ) -> list[Any]:
        def timed() -> list[Any]:
            start = time.perf_counter()
            answers = function(texts)
            self._seconds_per_text = (time.perf_counter() - start) / len(texts)
            return answers

        return await asyncio.get_running_loop().run_in_executor(self.thread, timed)
