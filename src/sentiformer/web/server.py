"""The HTTP server of `sentiformer demo`: the page at `/`, and predictions as JSON at `/predict`."""

import asyncio
import os
import signal
import socket
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sentiformer.console.output import say
from sentiformer.console.predictions import rounded
from sentiformer.core.errors import UserError, first_line

if TYPE_CHECKING:
    from sentiformer.serving.predictor import Prediction

HOST = "127.0.0.1"  # only this machine can reach it
MAX_PORT = 65_535
MAX_BYTES = 2**20  # of a request
MAX_TEXTS = 256  # of a request; the requests are answered one after the other
SHUTDOWN_SECONDS = 1  # for requests that are not finished at Ctrl-C
EXPECTED = 'send JSON such as {"texts": ["A great film."]}, with Content-Type: application/json'
Classify: TypeAlias = "Callable[[list[str]], list[Prediction]]"


class Texts(BaseModel):
    """The body of a request for predictions."""

    model_config = ConfigDict(extra="forbid")

    texts: list[str] = Field(max_length=MAX_TEXTS)


def open_port(port: int) -> socket.socket:
    """Listen on a port of this machine, 0 for any free one; requests wait until `serve` runs.

    Raises:
        UserError: the port is in use, is not allowed, or does not exist.
    """
    fix = "give another one, or a free one by `--port 0`"
    if not 0 <= port <= MAX_PORT:
        raise UserError(f"port {port} is not from 0 to {MAX_PORT}; {fix}")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise UserError(f"port {port} cannot be used ({reason}); {fix}") from None


def serve(listener: socket.socket, classify: Classify, page: str) -> None:
    """Answer requests until Ctrl-C, and say the address.

    Args:
        listener: from `open_port`.
        classify: gives a prediction for each text.
        page: the HTML that is shown at `/`.
    """
    with suppress(KeyboardInterrupt):
        classify(["The first prediction takes longer than the others."])
        config = uvicorn.Config(
            make_app(classify, page),
            access_log=False,
            log_level="critical",  # `make_app` reports errors itself
            ws="none",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        say(f"open http://{HOST}:{listener.getsockname()[1]} in a browser; Ctrl-C stops the server")
        uvicorn.Server(config).run(sockets=[listener])
    # While Python ends, a second Ctrl-C would only print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("stopped")


def make_app(classify: Classify, page: str) -> FastAPI:
    """The web application; for the arguments see `serve`."""
    # Without openapi_url there is no page of documentation, which would load scripts of others.
    app = FastAPI(openapi_url=None, max_body_size=MAX_BYTES)
    # A page of another site can give its own name this address (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    app.add_exception_handler(RequestValidationError, _invalid_body)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    worker = ThreadPoolExecutor(max_workers=1)  # the tokenizer is not safe in several threads

    @app.get("/", response_class=HTMLResponse)
    async def show_page() -> str:
        return page

    @app.post("/predict")
    async def predict(body: Texts) -> dict[str, list[dict[str, Any]]]:
        loop = asyncio.get_running_loop()
        predictions = await loop.run_in_executor(worker, classify, body.texts)
        return {"predictions": rounded([found.model_dump() for found in predictions])}

    return app


async def _invalid_body(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return _error(422, f"{place}: {first['msg']}; {EXPECTED}")


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, EXPECTED if error.status_code == 400 else error.detail)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    traceback.print_exception(error)
    return _error(500, f"the prediction failed ({first_line(error)}); see the server's terminal")


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)
