"""The time of one review over HTTP, beside that of predicting alone, and 200 requests at once.

    python benchmarks/server.py --model data/model --raw data/raw

A server of `sentiformer demo` runs in a process of its own on this machine's loopback address. The
same reviews are predicted in this process without a server, before the server starts.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

import sentiformer
from sentiformer.core.environment import processor_name

COMMAND = (sys.executable, "-m", "sentiformer", "demo", "--port", "0")
WARM_UP = 50  # reviews before the clock starts
HOST = "127.0.0.1"


def main() -> None:
    """Run the measurements and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "data/model")
    parser.add_argument("--raw", type=Path, default=ROOT / "data/raw", help="its test.parquet")
    parser.add_argument("--texts", type=int, default=500, help="reviews, one at a time")
    parser.add_argument("--at-once", type=int, default=200, help="requests at once")
    options = parser.parse_args()
    texts = pq.read_table(options.raw / "test.parquet", columns=["text"])["text"].to_pylist()
    texts = texts[: WARM_UP + options.texts]
    print(processor_name())
    model = sentiformer.load(options.model)
    alone = show(
        "predicting alone", [timed(lambda text=text: model.predict(text)) for text in texts]
    )
    command = (*COMMAND, "--model", str(options.model))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline().split("http://")[1].split()[0].rsplit(":", 1)[1])
            wait_for_similar(port)
            connection = HTTPConnection(HOST, port)
            over_http = [timed(lambda text=text: ask(connection, text)) for text in texts]
            served = show("over HTTP", over_http)
            print(f"p99 over HTTP is {served / alone:.2f} times that of predicting alone")
            flood(port, texts[: options.at_once] * (options.at_once // len(texts) + 1))
        finally:
            server.terminate()


def timed(function: object) -> float:
    """The seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def show(name: str, times: list[float]) -> float:
    """Print percentiles of the times after the warm-up; return the 99th, in seconds."""
    p50, p99 = np.percentile(times[WARM_UP:], [50, 99])
    print(f"one review, {name}: p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms", flush=True)
    return p99


def ask(connection: HTTPConnection, text: str, path: str = "/predict") -> int:
    """Send a text and read the answer; return its status."""
    body = json.dumps({"texts": [text]})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def wait_for_similar(port: int) -> None:
    """Wait until the server has read the training texts, if there are any."""
    connection = HTTPConnection(HOST, port)
    body = json.dumps({"texts": ["a film"]})
    while True:
        connection.request("POST", "/similar", body, {"Content-Type": "application/json"})
        if b"try again" not in connection.getresponse().read():
            return
        time.sleep(1)


def flood(port: int, texts: list[str]) -> None:
    """Send all texts at once, each by a connection of its own; print what came back."""
    with ThreadPoolExecutor(len(texts)) as pool:
        start = time.perf_counter()
        statuses = Counter(pool.map(lambda text: ask(HTTPConnection(HOST, port), text), texts))
        seconds = time.perf_counter() - start
    print(f"{len(texts)} requests at once in {seconds:.2f} s; status: {dict(statuses)}")


if __name__ == "__main__":
    main()
