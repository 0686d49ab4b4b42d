"""Run a method of train_speed.py in its own process: its batches, times and memory."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from gpu import model_flops, set_up, wait
from methods import METHODS, Method, Task

from sentiformer.core.device import prepare_device
from sentiformer.core.runtime import load_runtime
from sentiformer.params import Params
from sentiformer.text.corpus import Corpus, read_lines
from sentiformer.text.truncation import truncate
from sentiformer.text.vocab import Vocab
from sentiformer.training.batching import Batch, shuffled_buckets, split_rows

SIZES = {  # what differs from params.yaml
    "default": "",
    "d256": "model.d_model=256 model.num_heads=4 model.num_layers=4 model.d_ff=1024",
    "reference": "model.d_model=512 model.num_heads=8 model.num_layers=6 model.d_ff=2048 "
    "train.batch_size=64",
}
STEPS = {"default": 24, "d256": 8, "reference": 2}  # of a round, which takes some seconds on a CPU
GPU_STEPS = 100


@dataclass(frozen=True)
class Round:
    """Some steps of a method: seconds, tokens without and with padding, FLOPs."""

    seconds: float
    tokens: int
    places: int
    flops: float


def params_of(size: str, token_dropout: float = 0.0) -> Params:
    """The parameters of the project, with one of the sizes above and a token dropout."""
    return set_up([*SIZES[size].split(), f"model.token_dropout={token_dropout}"])


def work(connection: Connection, options: argparse.Namespace, size: str, name: str) -> None:
    """Run a method in this process, and send its results over the connection."""
    task, stream = prepare(options, size, METHODS[name], connection)
    METHODS[name].train(task, stream)
    connection.send(peak_memory())


def prepare(
    options: argparse.Namespace, size: str, method: Method, connection: Connection | None
) -> tuple[Task, Iterator[Batch]]:
    """The task of a method, and its batches, which wait for turns on a connection."""
    params, runtime = params_of(size, method.token_dropout), load_runtime()
    device = prepare_device(runtime, method.precision)
    torch.use_deterministic_algorithms(False)  # only our method turns it on again
    corpus, vocab = Corpus(options.tokens / "train.arrow"), Vocab.load(options.vocab / "vocab.txt")
    ids_of_types = vocab.encode(read_lines(options.tokens / "types.txt", made_by="tokenize"))
    steps = options.steps or (GPU_STEPS if device.device.type == "cuda" else STEPS[size])
    lengths = np.minimum(corpus.lengths, params.model.max_len)
    rounds = choose(lengths, params.train.batch_size, method.bucketed, options, steps)

    def make(rows: np.ndarray) -> Batch:
        texts = [ids_of_types[truncate(corpus[row], params.model.max_len)] for row in rows.tolist()]
        labels = torch.from_numpy(corpus.labels[rows].astype(np.int64))
        return Batch(*method.pad(texts, params.model.max_len), labels, rows)

    def stream() -> Iterator[Batch]:
        for batches in rounds:
            if connection:
                connection.recv()
            start, tokens, places = time.perf_counter(), 0, 0
            for batch in map(make, batches):
                tokens, places = tokens + batch.tokens, places + batch.token_ids.numel()
                yield batch
            wait()
            seconds = time.perf_counter() - start
            flops = model_flops(lengths[np.concatenate(batches)], params.model)
            if connection:
                connection.send(Round(seconds, tokens, places, flops))

    classes = int(corpus.labels.max()) + 1
    total = sum(map(len, rounds))
    return Task(params, len(vocab), classes, total, device), stream()


def choose(
    lengths: np.ndarray, size: int, bucketed: bool, options: argparse.Namespace, steps: int
) -> list[list[np.ndarray]]:
    """The rows of every batch of the warm-up and of each round, the same in every process.

    Bucketed, the warm-up begins with the longest texts, and each round has short and long ones
    in the shares of a whole epoch.
    """
    rng = np.random.default_rng(1)
    if bucketed:
        batches = shuffled_buckets(lengths, size, rng)
    else:
        batches = split_rows(rng.permutation(len(lengths)), size)
    batches = [rows for rows in batches if len(rows) == size]
    batches.sort(key=lambda rows: lengths[rows].sum(), reverse=True)
    count = options.rounds * steps
    places = ((np.arange(count) + 0.5) / count * len(batches)).astype(int)
    rounds = [rng.permutation(places[start :: options.rounds]) for start in range(options.rounds)]
    warm_up = np.linspace(0, len(batches) - 1, max(1, options.warm_up)).astype(int)
    return [[batches[place] for place in chosen] for chosen in (warm_up, *rounds)]


def peak_memory() -> int:
    """Bytes that this process had at most; on a GPU those of tensors there."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
