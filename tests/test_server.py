"""The answers of the server for programs: similar texts, limits, back-pressure, metrics, names."""

import asyncio
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from types import SimpleNamespace

import pytest
import uvicorn
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import sentiformer
from sentiformer.core.errors import UserError
from sentiformer.serving.predictor import Prediction
from sentiformer.serving.similar import Neighbour
from sentiformer.web import limits
from sentiformer.web.nearest import NearestTexts
from sentiformer.web.server import (
    HOST,
    MAX_CHARACTERS,
    MAX_COUNT,
    MAX_EXPLAINED,
    make_app,
    open_port,
)
from sentiformer.web.worker import (
    MAX_WAITING,
    SLICE_TEXTS,
    BusyError,
    ClientLeftError,
    Worker,
)

SHARES = {"negative": 0.25, "positive": 0.75}
JSON = {"Content-Type": "application/json"}


def classify(texts):
    if "fail" in texts:
        raise ValueError("made to fail")
    return [Prediction(label="positive", probability=0.75, probabilities=SHARES) for _ in texts]


def explain(texts):
    return [Neighbour(text=text, label="a", similarity=1 / 3, row=len(texts)) for text in texts]


class Search:
    """A search that finds the text itself."""

    def search(self, texts, count):
        values = range(count)
        return [
            [Neighbour(text=t, label="a", similarity=1 / 3, row=n) for n in values] for t in texts
        ]


@contextmanager
def running_server(app):
    """The host and the port of a server in a thread."""
    listener = open_port(0)
    config = uvicorn.Config(app, http=limits.TimedProtocol, log_level="critical", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def client():
    nearest = SimpleNamespace(found=Search(), reason="", preparing=True)
    app = make_app(classify, explain, "page", names=["Api.Example.org"], nearest=nearest)
    app.state.nearest = nearest
    with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
        yield client


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_first_part():
    with open_port(0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_similar_texts_are_json(client):
    found = client.post("/similar", json={"texts": ["x", "y"], "count": 2}).json()
    row = {"text": "y", "label": "a", "similarity": 0.3333, "row": 1}
    assert found["similar"][1][1] == row
    assert [len(rows) for rows in found["similar"]] == [2, 2]
    assert len(client.post("/similar", json={"texts": ["x"]}).json()["similar"][0]) == 5
    assert client.post("/similar", json={"texts": []}).json() == {"similar": []}


def test_explanations_are_json_and_computed_one_by_one(client):
    found = client.post("/explain", json={"texts": ["x", "y"]}).json()["explanations"]
    assert [(row["text"], row["similarity"], row["row"]) for row in found] == [
        ("x", 0.3333, 1),
        ("y", 0.3333, 1),
    ]
    answer = client.post("/explain", json={"texts": ["x"] * (MAX_EXPLAINED + 1)})
    assert answer.status_code == 422


def test_what_a_model_cannot_do_is_one_line(capsys):
    def refuse(texts):
        raise UserError("an exported model only predicts")

    app = make_app(classify, refuse, "")
    with TestClient(app, base_url=f"http://{HOST}") as client:
        answer = client.post("/explain", json={"texts": ["x"]})
    assert (answer.status_code, answer.json()) == (
        501,
        {"error": "an exported model only predicts"},
    )
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("count", [0, MAX_COUNT + 1, 1.5, "many", None])
def test_a_wrong_count_is_one_line(client, count):
    answer = client.post("/similar", json={"texts": ["x"], "count": count})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("body.count: ")
    assert "\n" not in answer.json()["error"]


def test_similar_texts_that_are_not_ready_are_refused_and_the_rest_answers(client):
    client.app.state.nearest.found, client.app.state.nearest.reason = None, "not read yet"
    answer = client.post("/similar", json={"texts": ["x"]})
    assert (answer.status_code, answer.json()) == (503, {"error": "not read yet"})
    assert int(answer.headers["Retry-After"]) > 0
    client.app.state.nearest.preparing = False
    answer = client.post("/similar", json={"texts": ["x"]})
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, False)
    assert client.post("/predict", json={"texts": ["x"]}).status_code == 200
    with TestClient(make_app(classify, None, ""), base_url=f"http://{HOST}") as without:
        assert without.post("/similar", json={"texts": ["x"]}).status_code == 404


def test_a_long_text_is_refused_and_names_its_place(client):
    for path in ("/predict", "/similar"):
        answer = client.post(path, json={"texts": ["a", "a" * (MAX_CHARACTERS + 1)]})
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("body.texts.1: ")
        assert str(MAX_CHARACTERS) in answer.json()["error"]
        assert client.post(path, json={"texts": ["a" * MAX_CHARACTERS]}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:80", 200),
        ("api.example.ORG", 200),
        ("192.168.1.5:8000", 200),
        ("[::1]:8000", 200),
        ("example.org", 400),
        ("api.example.org.evil.com", 400),
        ("evil_name.com", 400),
        ("127.0.0.1.evil.com:8000", 400),
        ("evil.com@127.0.0.1", 400),
        ("[::1", 400),
        ("a b", 400),
        ("", 400),
    ],
)
def test_only_addresses_and_the_names_of_the_server_are_answered(client, host, status):
    for path in ("/", "/health", "/metrics"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == status
        if status == 400:
            assert "--name" in answer.json()["error"]
            assert "\n" not in answer.json()["error"]


def test_health_answers_while_texts_wait():
    release = threading.Event()

    def wait(texts):
        release.wait(20)
        return classify(texts)

    app = make_app(wait, None, "")
    with (
        TestClient(app, base_url=f"http://{HOST}") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(client.post, "/predict", json={"texts": ["x"]})
        while "sentiformer_waiting_texts 1.0" not in client.get("/metrics").text:
            assert not waiting.done()
        assert client.get("/health").json() == {"status": "ok"}
        release.set()
        assert waiting.result().status_code == 200


def test_metrics_count_requests_labels_and_seconds_but_no_made_up_path(client):
    client.post("/predict", json={"texts": ["x", "y"]})
    client.post("/predict", json={"texts": "x"})
    client.post("/predict", json={"texts": ["fail"]})
    for number in range(3):
        client.get(f"/made-up/{number}")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    samples = {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}
    assert samples["sentiformer_requests_total", "/predict", "200"] == 1
    assert samples["sentiformer_requests_total", "/predict", "422"] == 1
    assert samples["sentiformer_requests_total", "/predict", "500"] == 1
    assert samples["sentiformer_requests_total", "none", "404"] == 3
    assert samples["sentiformer_predictions_total", "positive"] == 2
    assert samples["sentiformer_request_seconds_count", "/predict"] == 3
    assert samples["process_resident_memory_bytes",] > 0
    assert not any("made-up" in part for key in samples for part in key)


def test_a_full_queue_is_refused_with_the_time_to_wait_and_then_answers_again():
    release = threading.Event()

    def wait(texts):
        release.wait(20)
        return texts

    async def ask():
        worker, texts = Worker(), ["x"] * (MAX_WAITING // 4)
        waiting = [asyncio.create_task(worker.answer(wait, texts)) for _ in range(4)]
        await asyncio.sleep(0)
        assert worker.waiting == MAX_WAITING
        with pytest.raises(BusyError) as error:
            await worker.answer(wait, ["x"])
        assert error.value.seconds >= 1
        release.set()
        assert await asyncio.gather(*waiting) == [texts] * 4
        assert worker.waiting == 0
        assert await worker.answer(wait, ["x"]) == ["x"]

    asyncio.run(ask())


def test_a_refusal_has_status_429_and_retry_after(monkeypatch):
    monkeypatch.setattr("sentiformer.web.worker.MAX_WAITING", 1)
    with TestClient(make_app(classify, None, ""), base_url=f"http://{HOST}") as client:
        answer = client.post("/predict", json={"texts": ["x", "y"]})
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 1
        assert re.fullmatch(r".*try again in \d+ s", answer.json()["error"])
        assert client.post("/predict", json={"texts": ["x"]}).status_code == 200


def test_a_short_request_does_not_wait_for_the_end_of_a_long_one():
    order = []

    def note(texts):
        order.append(texts[0])
        return texts

    async def ask():
        worker = Worker()
        long = asyncio.create_task(worker.answer(note, ["long"] * SLICE_TEXTS * 4))
        await asyncio.sleep(0)
        await worker.answer(note, ["short"])
        await long

    asyncio.run(ask())
    assert order.index("short") == 1
    assert order.count("long") == 4


def test_an_error_leaves_no_text_waiting():
    async def ask():
        worker = Worker()
        with pytest.raises(ValueError, match="made to fail"):
            await worker.answer(classify, ["fail"])
        assert worker.waiting == 0

    asyncio.run(ask())


def test_the_training_texts_become_searchable_while_the_server_runs(data, tmp_path, monkeypatch):
    monkeypatch.setenv("SENTIFORMER_THREADS", "1")
    model = sentiformer.load(data / "model")
    (tmp_path / "raw").symlink_to(data / "raw")
    nearest = NearestTexts(model, tmp_path)
    assert "try again" in nearest.reason
    assert nearest.preparing
    with ThreadPoolExecutor(1) as worker:
        nearest.prepare(worker).join(60)
    assert len(nearest.found.search(["great"], 3)[0]) == 3


def test_a_model_without_training_texts_says_why_nothing_is_similar(
    data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SENTIFORMER_THREADS", "1")
    nearest = NearestTexts(sentiformer.load(data / "model"), tmp_path)
    with ThreadPoolExecutor(1) as worker:
        nearest.prepare(worker).join(60)
    assert nearest.found is None
    assert not nearest.preparing
    assert "there are no training texts in" in nearest.reason
    assert nearest.reason in capsys.readouterr().out


def test_a_server_that_stops_ends_the_preparation_in_silence(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SENTIFORMER_THREADS", "1")
    (tmp_path / "raw").symlink_to(data / "raw")
    nearest = NearestTexts(sentiformer.load(data / "model"), tmp_path)
    worker = ThreadPoolExecutor(1)
    worker.shutdown()
    nearest.prepare(worker).join(60)
    assert nearest.found is None
    assert not list((tmp_path / "similar").glob("*/*.npy"))
    assert "Traceback" not in capsys.readouterr().err


def test_a_host_that_is_not_this_machine_is_one_line():
    with pytest.raises(UserError, match="--host is empty"):
        open_port(0, "")
    with open_port(0, "0.0.0.0") as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
    for host in ("192.0.2.1", "no.such.name.invalid", "2001:db8::1"):
        with pytest.raises(UserError, match=rf"--host {re.escape(host)} is not an .*0\.0\.0\.0"):
            open_port(0, host)


def test_an_error_is_short_and_names_the_methods_that_are_allowed(client):
    answer = client.post("/predict", json={"texts": [], "k" * 100_000: 1})
    assert (answer.status_code, len(answer.content) < 20_000) == (422, True)
    answer = client.get("/predict")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /hea",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea",
        b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n",  # its answer is not read
    ],
)
def test_a_client_that_keeps_the_server_waiting_is_disconnected(sent, monkeypatch):
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 0.2)
    app = make_app(classify, None, "")
    app.get("/large")(lambda: "x" * 2**25)
    config = uvicorn.Config(
        app, http=limits.TimedProtocol, log_level="critical", lifespan="off", port=0
    )

    async def connect(server):
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        (listening,) = server.servers
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname(), limit=1)
        writer.transport.pause_reading()
        writer.write(sent)
        while not server.server_state.connections:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            while server.server_state.connections:
                await asyncio.sleep(0.01)
        writer.close()
        server.should_exit = True
        await task

    asyncio.run(connect(uvicorn.Server(config)))


def test_slices_of_a_client_that_has_left_are_not_computed():
    computed = []

    def note(texts):
        computed.append(texts[0])
        return texts

    async def ask():
        async def has_left():
            return len(computed) == 2

        worker = Worker()
        with pytest.raises(ClientLeftError):
            await worker.answer(note, ["x"] * SLICE_TEXTS * 9, has_left=has_left)
        assert worker.waiting == 0
        assert await worker.answer(note, ["y"]) == ["y"]

    asyncio.run(ask())
    assert computed == ["x", "x", "y"]


def test_a_client_that_leaves_takes_its_texts_out_of_the_queue():
    started, release, computed = threading.Event(), threading.Event(), []

    def wait(texts):
        computed.append(texts[0])
        started.set()
        release.wait(20)
        return classify(texts)

    app = make_app(wait, None, "")
    with running_server(app) as address:
        first, second = (HTTPConnection(*address, timeout=20) for _ in range(2))
        first.request("POST", "/predict", json.dumps({"texts": ["a"] * SLICE_TEXTS * 2}), JSON)
        assert started.wait(20)
        second.request("POST", "/predict", json.dumps({"texts": ["b"]}), JSON)
        first.close()
        for _ in range(2):  # the answer shows that the server has seen the closed connection
            with closing(HTTPConnection(*address, timeout=20)) as other:
                other.request("HEAD", "/health")
                assert other.getresponse().status == 200
        release.set()
        with second.getresponse() as answer:
            assert (answer.status, len(answer.read()) > 0) == (200, True)
        second.request("GET", "/metrics")
        with second.getresponse() as answer:
            text = answer.read().decode()
        second.close()
    assert computed == ["a", "b"]
    assert 'sentiformer_requests_total{path="/predict",status="499"} 1.0' in text
    assert "sentiformer_waiting_texts 0.0" in text


def test_health_answers_a_request_for_its_header_alone(client):
    answer = client.head("/health")
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_page_of_another_site_reaches_no_answer(client):
    origin = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    assert client.options("/predict", headers=asked).status_code == 405
    body = json.dumps({"texts": ["fail"]})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post("/predict", content=body, headers={**origin, "Content-Type": kind})
        assert answer.status_code == 422, "what a form of another site can send is not read"
    answer = client.post("/predict", json={"texts": ["x"]}, headers=origin)
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/static/..%5c..%5cx"],
)
def test_no_path_is_a_file(client, path):
    assert client.get(path).json() == {"error": "Not Found"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"texts": [NaN]}',
        b'{"texts": ["x"], "count": NaN}',
        b'{"texts": ["x"], "count": 1e999}',
        b'{"texts": ["x"], "count": ' + b"9" * 5000 + b"}",
        b'{"texts": ["\\ud800"]}',
        b'{"texts":' * 1000 + b"0",
        b'{"texts": ["x"]}\x00',
        "{}".encode("utf-16"),
    ],
    ids=lambda body: body[:30].hex(),
)
def test_what_is_no_proper_json_is_one_line(client, body):
    answer = client.post("/similar", content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100_000,
        b"GET /" + b"a" * 200_000,
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b"a" * 2**20 + b"\r\n100000\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ],
    ids=["headers", "address", "chunks", "lengths"],
)
def test_a_request_without_an_end_is_refused_at_once(sent):
    with running_server(make_app(classify, None, "")) as address:
        with socket.create_connection(address, timeout=10) as connection:
            with suppress(ConnectionError):
                connection.sendall(sent + b"b" * 2**16)
            with suppress(ConnectionResetError):
                assert connection.recv(100).startswith((b"HTTP/1.1 4", b""))
        with closing(HTTPConnection(*address, timeout=10)) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
