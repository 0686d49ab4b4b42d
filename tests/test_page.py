"""The page of `sentiformer demo`, its answers as JSON, and requests that must not stop it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from html import unescape
from html.parser import HTMLParser
from http.client import HTTPConnection
from types import SimpleNamespace
from unittest.mock import Mock
from urllib.parse import urlencode

import pandas as pd
import pytest
import uvicorn
from conftest import ROOT
from fastapi.testclient import TestClient

from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json
from sentiformer.serving.explain import Explanation
from sentiformer.serving.predictor import Prediction
from sentiformer.serving.similar import Neighbour
from sentiformer.serving.threshold import Band, Thresholds
from sentiformer.serving.trained_model import Config
from sentiformer.web import page
from sentiformer.web.server import HOST, MAX_BYTES, MAX_EXPLAINED, MAX_TEXTS, make_app, open_port

MARKUP = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
SHARES = {"negative": 0.501249, "positive": 0.498751}
MANY = {MARKUP: 0.5} | {f"a class with a long name, number {n}": 0.5 / 24 for n in range(24)}
REASON = "no known word"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def classify(texts):
    """A model that can be sure, unsure, and unable to judge a text, and that can fail."""
    return [_predict(text) for text in texts]


def explain(texts):
    """An explanation of each text, in which the first word is for the class."""
    return [
        Explanation(
            label=MARKUP,
            tokens=[MARKUP, "film"],
            spaces=[True, False],
            contributions=[2.0, -1.0],
            prediction=_predict(text),
        )
        for text in texts
    ]


def search(texts, count):
    """A short and a long text, which contain markup."""
    found = [(MARKUP, 0.456), (f"{MARKUP} {'long ' * 99}end", 0.123)]
    rows = [Neighbour(text=t, label=MARKUP, similarity=s, row=0) for t, s in found]
    return [rows for _ in texts]


def _predict(text):
    if "fail" in text:
        raise ValueError("made to fail")
    if "unknown" in text:
        return Prediction(label="?", probability=0.5012, probabilities=SHARES, reason=REASON)
    shares = {"negative": 0.0124, "positive": 0.9876} if "sure" in text else SHARES
    shares = MANY if "many" in text else shares
    label = max(shares, key=shares.__getitem__)
    return Prediction(label=label, probability=shares[label], probabilities=shares)


@pytest.fixture(scope="module")
def html():
    """The page of a model whose names and texts contain markup."""
    rows = {"train": {"rows": 1234}, "validation": {"rows": 1000}}
    data = {"origin": {"name": MARKUP}, "splits": rows}
    thresholds = Mock(spec=Thresholds)
    thresholds.bands.return_value = [Band(0, 0.6, 100, 45), Band(0.6, 1, 1900, 19)]
    thresholds.choices.return_value = {0.05: {"min_confidence": 0.99, "coverage": 0.504}}
    examples = {MARKUP: f"\"'{MARKUP} & a text"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            page,
            "_read_evaluation",
            lambda model: ({"reviews": 0.875, "sentences": 0.75}, examples),
        )
        config = SimpleNamespace(labels=list(MANY), data=data)
        return page.render_page("my model", config, thresholds)


@pytest.fixture(scope="module")
def client(html):
    app = make_app(classify, explain, html)
    with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def address(html):
    """The host and the port of a server in a thread."""
    listener = open_port(0)
    nearest = SimpleNamespace(found=SimpleNamespace(search=search))
    app = make_app(classify, explain, html, nearest=nearest)
    running = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()
    running.should_exit = True
    thread.join()


def ask(address, text):
    connection = HTTPConnection(*address, timeout=20)
    body = json.dumps({"texts": [text]})
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    with closing(connection), connection.getresponse() as answer:
        return json.load(answer)["predictions"][0]


class Elements(HTMLParser):
    """Counts elements, and keeps the texts in `bdi` and the values of buttons."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.names, self.values = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value for name, value in attrs if tag == "button" and name == "value"]

    def handle_data(self, data):
        if self.tags[-1:] == ["bdi"]:
            self.names.append(data)


def test_predictions_are_json_with_four_digits(client):
    found = client.post("/predict", json={"texts": ["it is so-so", "an unknown text"]}).json()
    rounded = {"negative": 0.5012, "positive": 0.4988}
    assert found == {
        "predictions": [
            {"label": "negative", "probability": 0.5012, "probabilities": rounded, "reason": ""},
            {"label": "?", "probability": 0.5012, "probabilities": rounded, "reason": REASON},
        ]
    }
    assert client.post("/predict", json={"texts": []}).json() == {"predictions": []}


def test_explanations_are_json_and_few_in_a_request(client):
    (found,) = client.post("/explain", json={"texts": ["it is so-so"]}).json()["explanations"]
    assert found["tokens"] == [MARKUP, "film"]
    assert found["contributions"] == [2.0, -1.0]
    assert found["prediction"]["probability"] == 0.5012
    answer = client.post("/explain", json={"texts": ["a"] * (MAX_EXPLAINED + 1)})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"texts": "a film"}', "body.texts:"),
        (b'{"texts": ["a film", 1]}', "body.texts.1:"),
        (b'{"texts": [null]}', "body.texts.0:"),
        (b'{"text": ["a film"]}', "body.texts:"),
        (b'{"texts": ["a film"], "more": 1}', "body.more:"),
        (json.dumps({"texts": ["a"] * (MAX_TEXTS + 1)}).encode(), "body.texts:"),
        (b'["a film"]', "body:"),
        (b"a film", "body.0:"),
        (b"", "body:"),
        (b'{"texts": ["\xff"]}', ""),
        (b"[" * 100_000, ""),
    ],
)
def test_a_wrong_body_gets_one_line_that_shows_a_right_one(client, body, place):
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    error = answer.json()["error"]
    assert error.startswith(place)
    assert '{"texts": [' in error
    assert "\n" not in error


def test_another_content_type_gets_a_line_that_names_the_right_one(client):
    answer = client.post("/predict", content=b'{"texts": ["a film"]}')
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["error"]


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(client):
    headers = {"Content-Type": "application/json"}
    body = b'{"texts": ["' + b"a" * MAX_BYTES + b'"]}'
    for content in (body, iter([body])):
        answer = client.post("/predict", content=content, headers=headers)
        assert answer.status_code == 413
        assert f"more than {MAX_BYTES:,} bytes" in answer.json()["error"]


def test_an_error_of_the_model_is_one_line_and_the_next_text_is_classified(client, capsys):
    answer = client.post("/predict", json={"texts": ["please fail"]})
    assert answer.status_code == 500
    assert "made to fail" in answer.json()["error"]
    assert "Traceback" in capsys.readouterr().err
    assert client.post("/predict", json={"texts": ["sure"]}).status_code == 200


def test_another_host_name_is_refused(client):
    assert client.get("/", headers={"Host": f"{HOST}:8000"}).status_code == 200
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200
    assert client.get("/", headers={"Host": "example.org"}).status_code == 400


def test_the_page_loads_nothing_from_elsewhere(client):
    text = client.get("/").text
    assert "default-src 'none'" in text
    assert "://" not in text
    assert "//" not in "".join(re.findall(r"(?:src|href|url)\W+(\S+)", text))
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


def test_markup_in_names_and_texts_is_shown_as_text(client):
    elements = Elements(client.get("/").text)
    assert elements.tags.count("script") == 1
    assert "img" not in elements.tags
    assert MARKUP in elements.names
    assert elements.values == [f"\"'{MARKUP} & a text"]


def test_the_page_says_what_model_it_is(client):
    text = client.get("/").text
    assert "1,234 texts" in text
    assert "87.5 % of the <bdi>reviews</bdi>, 75.0 % of the <bdi>sentences</bdi>." in text
    assert "and 17 others" in text, "eight of the 25 classes are named"
    assert "sentiformer predict --model &#39;my model&#39;" in text
    choice = '<option value="0.99">at most 5 %; answers 50 % of texts</option>'
    assert choice in text


@pytest.mark.parametrize(
    ("band", "words"),
    [
        (Band(0, 0.6, 1234, 617), "617 of 1,234 answers (50.0 %) with a probability below 60.0 %."),
        (Band(0.6, 0.75, 8, 0), "0 of 8 answers (0.0 %) with a probability from 60.0 to 75.0 %."),
        (Band(0, 1, 8, 1), "1 of 8 answers (12.5 %) with a probability of any size."),
    ],
)
def test_a_sentence_says_how_many_such_answers_were_wrong(band, words):
    assert page._doubt(band)["text"] == f"Wrong in validation: {words}"


def test_the_evaluation_beside_the_model_gives_accuracy_and_an_example_of_each_class(data):
    accuracies, examples = page._read_evaluation(data / "model")
    table = pd.read_parquet(data / "evaluation/predictions.parquet")
    is_right = table["predicted"] == table["actual"]
    assert accuracies == pytest.approx(is_right.groupby(table["source"]).mean().to_dict(), abs=1e-6)
    distance = (table["tokens"] - page.EXAMPLE_TOKENS).abs()
    assert examples.keys() == {"negative", "positive"}
    for label, text in examples.items():
        assert distance[table["text"] == text].min() == distance[table["actual"] == label].min()


def test_the_evaluation_of_another_model_is_left_out_and_said(data, tmp_path, capsys):
    copy = shutil.copytree(data, tmp_path / "data")
    with (copy / "model/model.safetensors").open("ab") as file:
        file.write(b" ")
    config = Config.model_validate(read_json(copy / "model/config.json", made_by="train"))
    thresholds = Thresholds(copy / "model", made_by="train")
    text = page.render_page(str(copy / "model"), config, thresholds)
    assert "is of another model" in capsys.readouterr().out
    assert "in test:" not in text
    assert "Examples" not in text
    shutil.rmtree(copy / "evaluation")
    assert page.render_page(str(copy / "model"), config, thresholds) == text
    assert capsys.readouterr().out == ""


def test_a_port_that_cannot_be_used_is_one_line_with_a_fix():
    with open_port(0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} .* in use.*--port"):
            open_port(port)
    for port in (-1, 65_536):
        with pytest.raises(UserError, match=f"port {port} .*65535"):
            open_port(port)


def test_many_requests_at_once_are_answered(address):
    texts = ["sure", "so-so"] * 100
    with ThreadPoolExecutor(len(texts)) as pool:
        labels = [found["label"] for found in pool.map(lambda text: ask(address, text), texts)]
    assert labels == ["positive", "negative"] * 100


def test_malformed_and_slow_requests_do_not_stop_the_server(address):
    start = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    pieces = [
        b"",
        b"POST /pre",
        start,
        start + b"Content-Length: 100\r\n\r\n{",
        b"\x16\x03\x01\r\n",
    ]
    pieces += [start + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", b"\xff" * 100_000]
    waiting = [socket.create_connection(address) for _ in range(5) for _ in pieces]
    for number, connection in enumerate(waiting):
        connection.sendall(pieces[number % len(pieces)])
    assert ask(address, "sure")["label"] == "positive"
    for connection in waiting:
        connection.close()
    assert ask(address, "sure")["label"] == "positive"


@pytest.mark.slow
def test_the_command_says_its_address_answers_and_ends_with_ctrl_c(data):
    main = "from sentiformer.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "SENTIFORMER_THREADS": "1"}
    command = [sys.executable, "-c", main, "demo", "--port", "0"]
    with subprocess.Popen(
        command, cwd=data.parent, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True
    ) as running:
        line = running.stdout.readline()
        port = int(re.fullmatch(rf"open http://{HOST}:(\d+) in a browser; .*\n", line)[1])
        assert set(ask((HOST, port), "a great film")["probabilities"]) == {"negative", "positive"}
        with socket.create_connection((HOST, port)) as unfinished:
            unfinished.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            unfinished.sendall(b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
            time.sleep(0.2)
            running.send_signal(signal.SIGINT)
            killer = threading.Timer(30, running.kill)
            killer.start()
            while (line := running.stdout.readline()) != "stopped\n":
                assert line.startswith("reading "), line
            running.send_signal(signal.SIGINT)
        rest, _ = running.communicate()
        killer.cancel()
    assert (rest, running.returncode) == ("", 0)


@pytest.fixture
def browse(address, tmp_path):
    """Open the page with a text in Chromium without a network; return the answer that it shows."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser is installed; one of {', '.join(BROWSERS)} is needed")

    def open_page(text, section="answer"):
        host, port = address
        options = ["--headless", "--disable-gpu", "--no-sandbox", f"--user-data-dir={tmp_path}"]
        options += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        options += ["--virtual-time-budget=20000", "--dump-dom"]
        url = f"http://{host}:{port}/?{urlencode({'text': text})}"
        done = subprocess.run(
            [browser, *options, url],
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "<title>run" not in done.stdout, "markup was executed"
        found = rf'<section id="{section}"[^>]*>(.*?)</section>'
        return re.search(found, done.stdout, re.DOTALL)[1]

    return open_page


@pytest.mark.slow
def test_the_browser_shows_bars_and_a_note_for_an_unsure_or_unknown_text(browse):
    sure, unsure, unknown = browse("I am sure"), browse("so-so"), browse("unknown")
    assert sure.index("98.8 %") < sure.index("<li>") < sure.index("1.2 %"), "the title, then bars"
    assert "--share: 98.8%" in sure
    assert 'class="note"' not in sure
    assert '<p class="soft">Wrong in validation: 19 of 1,900 answers (1.0 %)' in sure
    assert '<p class="note">Wrong in validation: 45 of 100 answers (45.0 %)' in unsure
    assert f"cannot judge this text: {REASON}." in unknown
    assert "<bdi>?" not in unknown


@pytest.mark.slow
def test_the_browser_folds_many_classes_escapes_their_names_and_shows_errors(browse):
    many = browse("many")
    shown, folded = many.split("<details")
    assert (shown.count("<li>"), folded.count("<li>")) == (8, 17)
    assert "17 other classes" in folded
    assert "&lt;script&gt;" in many
    assert "<script" not in many
    assert "The prediction failed (made to fail)" in browse("please fail")


@pytest.mark.slow
def test_the_browser_marks_words_for_and_against_the_class(browse):
    sure = browse("I am sure")
    marks = re.findall(
        r'<mark class="(\w+)" title="(.*?)" style="--size: (\d+)%;">(.*?)</mark>', sure
    )
    assert [mark[:3] for mark in marks] == [("for", "+2.00", "60"), ("against", "-1.00", "30")]
    assert marks[0][3].startswith("&lt;script&gt;")
    assert "<mark" not in browse("unknown")


@pytest.mark.slow
def test_the_browser_shows_the_nearest_texts_as_text_and_shortens_long_ones(browse):
    short, long = re.findall(r"<li>(.*?)</li>", browse("I am sure", "nearest"), re.DOTALL)
    assert "similarity 0.46" in short
    assert re.search(r'<p dir="auto">&lt;script&gt;.*&lt;img', short)
    assert "similarity 0.12" in long
    shown, rest = re.search(r"<summary>(.*)<i> …</i></summary><p>(.*)</p>", long).groups()
    assert 200 <= len(unescape(shown)) < 250
    assert shown.endswith("long")
    assert rest.startswith(" long")
    assert rest.endswith(" end")
    assert browse("unknown", "nearest") == ""
