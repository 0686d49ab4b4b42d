"""The HTTP server of `sentiformer demo`: a page at `/`, and answers as JSON for programs."""

import errno
import os
import re
import signal
import socket
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as AnyHTTPException

from sentiformer.console.output import say
from sentiformer.console.predictions import rounded
from sentiformer.core.errors import UserError, first_line, one_line
from sentiformer.web.limits import LimitBody, TimedProtocol
from sentiformer.web.metrics import CONTENT_TYPE, MeasureRequests, Metrics
from sentiformer.web.worker import BusyError, ClientLeftError, Worker

if TYPE_CHECKING:
    from sentiformer.serving.explain import Explanation
    from sentiformer.serving.predictor import Prediction
    from sentiformer.web.nearest import NearestTexts

HOST = "127.0.0.1"  # only this machine can reach it
MAX_PORT = 65_535
MAX_BYTES = 2**20  # of a request
MAX_TEXTS = 256  # of a request
MAX_EXPLAINED = 16  # texts of a request; an explanation takes as long as many predictions
MAX_CHARACTERS = 100_000  # of a text
MAX_COUNT = 100  # similar texts for a text
RETRY = {"Retry-After": "5"}  # seconds, while the training texts are being read
CLIENT_LEFT = 499  # the status that nginx gives
SHUTDOWN_SECONDS = 1  # for requests that are not finished at Ctrl-C
EXPECTED = 'send JSON such as {"texts": ["A great film."]}, with Content-Type: application/json'
HOST_HEADER = re.compile(r"(\[[^\[\]]*\]|[^:@/\[\]]*)(?::\d*)?")  # a name or address, and a port
UNREADABLE = "There was an error parsing the body"  # FastAPI's words for a body that is no JSON
Classify: TypeAlias = "Callable[[list[str]], list[Prediction]]"
Explain: TypeAlias = "Callable[[list[str]], list[Explanation]]"
Text: TypeAlias = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Answers: TypeAlias = dict[str, list[Any]]


class Texts(BaseModel):
    """The body of a request about texts."""

    model_config = ConfigDict(extra="forbid")

    texts: list[Text] = Field(max_length=MAX_TEXTS)


class TextsToExplain(Texts):
    """The body of a request for explanations."""

    texts: list[Text] = Field(max_length=MAX_EXPLAINED)


class TextsToCompare(Texts):
    """The body of a request for similar texts."""

    count: int = Field(5, ge=1, le=MAX_COUNT)


def open_port(port: int, host: str = HOST) -> socket.socket:
    """Listen on a port, 0 for any free one; requests wait until `serve` runs.

    Args:
        port: its number.
        host: an address of this machine; 0.0.0.0 for all, so that other machines reach the port.

    Raises:
        UserError: the port is in use, is not allowed, or does not exist, or the host is not this
            machine.
    """
    fix = "give another one, or a free one by `--port 0`"
    if not 0 <= port <= MAX_PORT:
        raise UserError(f"port {port} is not from 0 to {MAX_PORT}; {fix}")
    if not host:
        raise UserError("--host is empty; give an address of this machine, or 0.0.0.0 for all")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        code = error.errno or 0
        if code < 0 or code == errno.EADDRNOTAVAIL:  # below 0: the name is unknown
            raise UserError(
                f"--host {host} is not an address of this machine; give one, or 0.0.0.0 for all"
            ) from None
        raise UserError(
            f"port {port} cannot be used ({os.strerror(code).lower()}); {fix}"
        ) from None
    # asyncio sets this on its own sockets alone. Without it, a body waits 40 ms for its header.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(
    listener: socket.socket,
    classify: Classify,
    explain: Explain,
    page: str,
    *,
    names: Sequence[str] = (),
    nearest: "NearestTexts | None" = None,
) -> None:
    """Answer requests until Ctrl-C, and say the address.

    Args:
        listener: from `open_port`.
        classify: gives a prediction for each text.
        explain: gives an explanation for each text.
        page: the HTML that is shown at `/`.
        names: by which other machines call this one.
        nearest: finds similar texts.
    """
    worker = Worker()
    with suppress(KeyboardInterrupt):
        classify(["The first prediction takes longer than the others."])
        config = uvicorn.Config(
            make_app(classify, explain, page, names=names, nearest=nearest, worker=worker),
            access_log=False,
            log_level="critical",  # `make_app` reports errors itself
            http=TimedProtocol,
            ws="none",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        say(f"open http://{shown}:{port} in a browser; Ctrl-C stops the server")
        if nearest:
            nearest.prepare(worker.thread)
        uvicorn.Server(config).run(sockets=[listener])
    # While Python ends, a second Ctrl-C would only print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.thread.shutdown(wait=False, cancel_futures=True)
    say("stopped")


def make_app(
    classify: Classify,
    explain: Explain,
    page: str,
    *,
    names: Sequence[str] = (),
    nearest: "NearestTexts | None" = None,
    worker: Worker | None = None,
) -> FastAPI:
    """The web application; for the arguments see `serve`.

    A request may have in its header Host an address, localhost or one of `names`. Other names are
    refused: a page of another site can give its own name this address (DNS rebinding).
    """
    worker = worker or Worker()
    metrics = Metrics(lambda: worker.waiting)
    check = partial(_check_host, {"localhost", *map(str.lower, names)})
    # Without openapi_url there is no page of documentation, which would load scripts of others.
    app = FastAPI(
        openapi_url=None,
        dependencies=[Depends(check)],
        exception_handlers=ERRORS,
    )
    app.add_middleware(LimitBody, most=MAX_BYTES)
    app.add_middleware(MeasureRequests, metrics=metrics)

    _add_pages(app, page, metrics)

    @app.post("/predict")
    async def predict(body: Texts, request: Request) -> Answers:
        predictions = await worker.answer(classify, body.texts, has_left=request.is_disconnected)
        metrics.count(found.label for found in predictions)
        return {"predictions": _plain(predictions)}

    _add_explanations(app, explain, worker)
    _add_similar_texts(app, nearest, worker)
    return app


def _add_pages(app: FastAPI, page: str, metrics: Metrics) -> None:
    @app.get("/", response_class=HTMLResponse)
    async def show_page() -> str:
        return page

    @app.head("/health")
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)


def _add_explanations(app: FastAPI, explain: Explain, worker: Worker) -> None:
    @app.post("/explain")
    async def explain_texts(body: TextsToExplain, request: Request) -> Answers:
        left = request.is_disconnected
        found = await worker.answer(explain, body.texts, at_once=1, has_left=left)
        return {"explanations": _plain(found)}


def _add_similar_texts(app: FastAPI, nearest: "NearestTexts | None", worker: Worker) -> None:
    if nearest is None:
        return

    @app.post("/similar")
    async def similar(body: TextsToCompare, request: Request) -> Answers:
        if nearest.found is None:
            raise HTTPException(503, nearest.reason, RETRY if nearest.preparing else None)
        search = partial(nearest.found.search, count=body.count)
        lists = await worker.answer(search, body.texts, has_left=request.is_disconnected)
        return {"similar": [_plain(found) for found in lists]}


def _check_host(names: set[str], request: Request) -> None:
    """Refuse a request whose header Host has another name; see `make_app`."""
    given = request.headers.get("host", "")
    match = HOST_HEADER.fullmatch(given.lower())
    host = match[1].strip("[]") if match else ""
    with suppress(ValueError):
        ip_address(host)
        return
    if host not in names:
        detail = f"this server has no name {given!r}, as the header Host says; --name allows a name"
        raise HTTPException(400, detail)


def _plain(answers: Sequence[BaseModel]) -> list[dict[str, Any]]:
    return rounded([answer.model_dump() for answer in answers])


async def _invalid_body(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return _error(422, f"{place}: {first['msg']}; {EXPECTED}")


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHTTPException)
    message = EXPECTED if error.detail == UNREADABLE else error.detail
    return _error(error.status_code, message, error.headers)


async def _unsupported(_: Request, error: Exception) -> JSONResponse:
    return _error(501, first_line(error))  # such as an explanation by an exported model


async def _busy(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BusyError)
    return _error(429, str(error), {"Retry-After": str(error.seconds)})


async def _nobody(_: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)  # it is only counted


async def _failed(_: Request, error: Exception) -> JSONResponse:
    traceback.print_exception(error)
    return _error(500, f"the prediction failed ({first_line(error)}); see the server's terminal")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": one_line(message)}, status_code=status, headers=headers)


ERRORS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RequestValidationError: _invalid_body,
    AnyHTTPException: _refused,
    BusyError: _busy,
    ClientLeftError: _nobody,
    UserError: _unsupported,
    Exception: _failed,
}
