"""Training speed of the stage train, compared with three other methods.

The other methods are the article's code, torch's encoder, and transformers' Trainer.

    python benchmarks/train_speed.py --tokens data/tokens --vocab data/vocab --json speed.json

Each method trains on the same texts in its own process. The methods take turns, with several steps
in each round, and the result is the median over the rounds. The batches of a round are spread
evenly over all lengths. Padding is not counted as tokens. Tokens that token dropout leaves out are
counted. The time of a step includes making its batch. Memory is the peak of the method's process
(on a GPU: of what torch allocated), after a batch of the longest texts. The share of the peak is
the FLOP/s that the tokens of a step need, divided by the FLOP/s of the fastest matrix product
measured here.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from gpu import wait
from methods import METHODS, REFERENCE, ours
from turns import GPU_STEPS, SIZES, STEPS, Round, params_of, prepare, work

from sentiformer.core.device import Device, is_fast_in_bf16, prepare_device
from sentiformer.core.runtime import load_runtime
from sentiformer.params import Params
from sentiformer.training.batching import Batch


def main() -> None:
    """Print a table for each size."""
    options = parse_options()
    device = prepare_device(load_runtime(), "auto")
    peak = matrix_peak(device)
    about = device.environment
    print(
        f"{about['device']}, {about['processor']}, threads: {about['threads']}, torch "
        f"{about['torch']}; {device.precision} matrix peak {peak / 1e12:.2f} TFLOP/s"
    )
    names = present(device)
    tables = {}
    for size in options.size or SIZES:
        rows = race(options, size, names, peak)
        print_table(size, params_of(size), rows)
        tables[size] = {"model": params_of(size).model.model_dump(), "rows": rows}
        if options.profile:
            profile(options, size)
    if options.json:
        content = {"environment": about, "peak_flops": peak, "sizes": tables}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tokens", type=Path, default=ROOT / "data/tokens")
    parser.add_argument("--vocab", type=Path, default=ROOT / "data/vocab")
    parser.add_argument("--size", action="append", choices=SIZES, help="repeatable; default: all")
    parser.add_argument(
        "--steps", type=int, help=f"steps in a round; {STEPS}, on a GPU {GPU_STEPS}"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=3, help="steps before the first round")
    parser.add_argument(
        "--profile", action="store_true", help="print where our method spends its time"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    return parser.parse_args()


def present(device: Device) -> list[str]:
    """The methods that can run here."""
    names = list(METHODS)
    if not is_fast_in_bf16(device.device):
        names.remove("torch encoder, bf16")
    if not (find_spec("transformers") and find_spec("accelerate")):
        names.remove("transformers Trainer")
        print("transformers Trainer is left out; to add it, pip install transformers accelerate")
    return names


def matrix_peak(device: Device) -> float:
    """FLOP/s of the fastest of some large matrix products in the device's precision."""
    size, repeats = (8192, 10) if device.device.type == "cuda" else (3072, 1)
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[device.precision]
    left, right = (torch.randn(size, size, device=device.device, dtype=dtype) for _ in range(2))
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        for _ in range(repeats):
            left @ right
        wait()
        seconds.append((time.perf_counter() - start) / repeats)
    return 2 * size**3 / min(seconds)


def race(
    options: argparse.Namespace, size: str, names: list[str], peak: float
) -> list[dict[str, Any]]:
    """Let the methods take turns at one size; return the rows of the table."""
    context = multiprocessing.get_context("spawn")
    ends: dict[str, Connection] = {}
    for name in names:
        ends[name], other = context.Pipe()
        context.Process(target=work, args=(other, options, size, name), daemon=True).start()
        other.close()
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    for number in range(1 + options.rounds):
        for name in list(ends):
            try:
                ends[name].send(number)
                rounds[name].append(ends[name].recv())
            except (EOFError, BrokenPipeError):
                print(f"{name} ended; its error is above")
                del ends[name]
    memory = {name: end.recv() for name, end in ends.items()}
    return [row(name, rounds[name][1:], memory[name], peak) for name in memory]


def row(name: str, rounds: list[Round], memory: int, peak: float) -> dict[str, Any]:
    """A row of the table."""
    tokens, places = sum(r.tokens for r in rounds), sum(r.places for r in rounds)
    return {
        "method": name,
        "tokens_per_second": median(r.tokens / r.seconds for r in rounds),
        "padding_share": 1 - tokens / places,
        "peak_bytes": memory,
        "share_of_peak": median(r.flops / r.seconds for r in rounds) / peak,
        "rounds": [asdict(r) for r in rounds],
    }


def print_table(size: str, params: Params, rows: list[dict[str, Any]]) -> None:
    """Print the table of one size."""
    model = params.model
    print(
        f"\n{size}: {model.num_layers} layers, d_model {model.d_model}, {model.num_heads} heads, "
        f"d_ff {model.d_ff}, batches of {params.train.batch_size}"
    )
    print(f"{'':24}{'tokens/s':>10}{'of article':>12}{'padding':>9}{'memory':>10}{'of peak':>9}")
    rates = {row["method"]: row["tokens_per_second"] for row in rows}
    for row in rows:
        ratio = row["tokens_per_second"] / rates[REFERENCE] if REFERENCE in rates else float("nan")
        print(
            f"{row['method']:24}{row['tokens_per_second']:>10,.0f}{ratio:>12.2f}"
            f"{row['padding_share']:>9.1%}{row['peak_bytes'] / 2**30:>6.2f} GiB"
            f"{row['share_of_peak']:>9.1%}",
            flush=True,
        )


def profile(options: argparse.Namespace, size: str) -> None:
    """Print torch's most expensive operations over the steps of our method, without the warm-up."""
    task, stream = prepare(options, size, METHODS["ours"], None)
    profiler = torch.profiler.profile()

    def watched() -> Iterator[Batch]:
        for number, batch in enumerate(stream):
            if number == options.warm_up:
                profiler.start()
            yield batch

    ours(task, watched())
    profiler.stop()
    order = f"self_{task.device.device.type}_time_total"
    print(profiler.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=50))


if __name__ == "__main__":
    main()
