"""Raw texts to predictions: reviews per second in bulk, latency of one review, where the time goes.

    python benchmarks/predict_speed.py --model data/model --raw data/raw

In bulk, as in `sentiformer predict --file`, processes of one thread predict chunks of 256 texts,
with tokenizers whose caches are empty. Then this process alone does the same, which shows where the
time goes. Latency is the time of one text, after a warm-up. `--bf16` also measures both in bf16, as
with `SENTIFORMER_PRECISION=bf16`, and compares the predictions.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sentiformer.cli import CHUNK_TEXTS, chunks
from sentiformer.core.environment import processor_name
from sentiformer.core.runtime import load_runtime
from sentiformer.serving.predictor import Prediction, Predictor
from sentiformer.serving.trained_model import Classifier
from sentiformer.text.tokenizer import Tokenizer

WARM_UP = 50  # texts before the clock of latency starts


def main() -> None:
    """Run the measurements and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "data/model")
    parser.add_argument("--raw", type=Path, default=ROOT / "data/raw", help="its test.parquet")
    parser.add_argument("--texts", type=int, default=2000, help="texts of the bulk")
    parser.add_argument("--single", type=int, default=300, help="texts one at a time")
    parser.add_argument("--bf16", action="store_true", help="also measure in bf16")
    options = parser.parse_args()
    runtime = load_runtime()
    texts = pq.read_table(options.raw / "test.parquet", columns=["text"])["text"].to_pylist()
    bulk = texts[: options.texts]
    single = texts[-(WARM_UP + options.single) :]
    print(f"{processor_name()}, threads: {runtime.threads}, torch {torch.__version__}")
    answers = []
    for precision in ("fp32", "bf16") if options.bf16 else ("fp32",):
        classifier = Classifier(options.model, runtime, precision)
        size = classifier.params
        print(f"d_model {size.d_model}, {size.num_layers} layers, at most {size.max_len} tokens")
        answers.append(in_bulk(precision, classifier, bulk))
        one_at_a_time(precision, classifier, single)
    if options.bf16:
        compare(*answers)


class Clock:
    """Seconds that tokenizer and model take inside a predictor.

    Args:
        classifier: its model is timed while `timing()` is open.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._tokenizer = Tokenizer(classifier.config.params.tokenize.language)
        self.predictor = Predictor(classifier, self.tokenize)  # type: ignore[arg-type]
        self.seconds = {"tokenization": 0.0, "model": 0.0}

    def tokenize(self, texts: Iterable[str]) -> list[list[str]]:
        """Tokenize texts, and measure the time that it takes."""
        start = time.perf_counter()
        tokens = self._tokenizer(texts)
        self.seconds["tokenization"] += time.perf_counter() - start
        return tokens

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Time from here to the end of the block."""
        model, seconds = self._classifier.model, self.seconds
        seconds.update(dict.fromkeys(seconds, 0.0))

        def begin(*_: object) -> None:
            seconds["model"] -= time.perf_counter()

        def end(*_: object) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds["model"] += time.perf_counter()

        hooks = model.register_forward_pre_hook(begin), model.register_forward_hook(end)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def shares(self, total: float) -> str:
        """Where the time went; the rest is encoding, padding, and making the predictions."""
        parts = {**self.seconds, "rest": total - sum(self.seconds.values())}
        return ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in parts.items())


def in_bulk(label: str, classifier: Classifier, texts: list[str]) -> list[Prediction]:
    """Print the speed of texts in chunks; return what was predicted."""
    Clock(classifier).predictor(texts[:CHUNK_TEXTS])  # the kernels' warm-up, by another tokenizer
    for workers in (load_runtime().threads, 1):
        clock = Clock(classifier)
        predictions: list[Prediction] = []
        start = time.perf_counter()
        with clock.timing():
            cut = chunks(texts, CHUNK_TEXTS)
            for _, some in clock.predictor.predict_chunks(cut, workers=workers):
                predictions += some
        total = time.perf_counter() - start
        where = clock.shares(total) if workers == 1 else f"{workers} processes"
        rate = f"{len(texts):,} reviews in {total:.2f} s, {len(texts) / total:,.0f} reviews/s"
        print(f"bulk, {label}: {rate}; {where}")
    return predictions


def one_at_a_time(label: str, classifier: Classifier, texts: list[str]) -> None:
    """Print the latency of single texts, after some more of them as a warm-up."""
    clock = Clock(classifier)
    for text in texts[:WARM_UP]:
        clock.predictor([text])
    times = []
    with clock.timing():
        for text in texts[WARM_UP:]:
            start = time.perf_counter()
            clock.predictor([text])
            times.append(time.perf_counter() - start)
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    print(
        f"one review, {label}: p50 {p50:.2f} ms, p99 {p99:.2f} ms over {len(times)} reviews; "
        f"{clock.shares(sum(times))}"
    )


def compare(before: list[Prediction], after: list[Prediction]) -> None:
    """Print how far the answers in bf16 are from the others."""
    pairs = list(zip(before, after, strict=True))
    other = sum(a.label != b.label for a, b in pairs)
    most = max(abs(a.probabilities[a.label] - b.probabilities[a.label]) for a, b in pairs)
    print(
        f"bf16 gives another label to {other} of {len(pairs):,} reviews; its "
        f"probabilities differ by {most:.4f} at most"
    )


if __name__ == "__main__":
    main()
