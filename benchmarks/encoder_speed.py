"""Speed and memory of fine-tuning an encoder, compared with the library's own loop.

    python benchmarks/encoder_speed.py --encoder data/encoder --raw data/raw --json speed.json

Both methods train the same model on the same batches, in bf16 by autocast, each in its own process.
`library` is a loop as its documentation shows it: the model as transformers loads it, with its
default attention and dropout, and torch's AdamW. `ours` is the step of stage finetune. The methods
take turns, with some steps in each round; a figure is the median over the rounds. The batches are
spread evenly over all lengths. Padding is not counted as tokens. Memory is the peak of the method's
process. `difference of the losses`: of both methods over the same steps in fp32 without dropout.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sentiformer.core.device import Device, prepare_device
from sentiformer.core.runtime import load_runtime
from sentiformer.encoder.batches import EncoderBatches
from sentiformer.encoder.finetune import BATCH_TEXTS, MICRO_TOKENS
from sentiformer.encoder.network import EncoderClassifier, load_encoder
from sentiformer.encoder.tokens import EncoderTokenizer
from sentiformer.model.classifier import mean_of_tokens
from sentiformer.training.batching import Batch
from sentiformer.training.distributed import Group
from sentiformer.training.losses import ClassificationLoss
from sentiformer.training.optimizers import Optimizers
from sentiformer.training.step import Step

RATE = 1e-4
Train = Callable[[Batch], float]
Predict = Callable[[Batch], None]


class Library(torch.nn.Module):
    """The encoder as the library loads it, with a mean over the tokens and a linear map."""

    def __init__(self, folder: Path, dropout: bool) -> None:
        super().__init__()
        from transformers import AutoModel

        none = {} if dropout else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, **none)
        self.classifier = torch.nn.Linear(self.encoder.config.hidden_size, 2)
        torch.nn.init.zeros_(self.classifier.weight)
        torch.nn.init.zeros_(self.classifier.bias)

    def forward(self, token_ids: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        """(B, T) to (B, 2)."""
        mask = torch.ones_like(token_ids) if padding is None else (~padding).long()
        hidden = self.encoder(input_ids=token_ids, attention_mask=mask).last_hidden_state
        return self.classifier(mean_of_tokens(hidden, padding))


def library(folder: Path, device: Device, dropout: bool) -> tuple[Train, torch.nn.Module]:
    """The loop of the library's documentation."""
    model = Library(folder, dropout).to(device.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)

    def step(batch: Batch) -> float:
        batch = batch.to(device.device)
        with device.autocast():
            logits = model(batch.token_ids, batch.padding_mask)
        loss = F.cross_entropy(logits.float(), batch.labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step, model


def ours(folder: Path, device: Device, dropout: bool) -> tuple[Train, torch.nn.Module]:
    """The step of stage finetune."""
    model = EncoderClassifier(load_encoder(folder), 2).to(device.device)
    for module in model.modules():
        if not dropout and hasattr(module, "dropped_bytes"):
            module.dropped_bytes = 0
    optimizers = Optimizers(model.train(), "layered_adamw")
    for group in optimizers._all[0].param_groups if not dropout else ():
        group |= {"rate": 1.0, "weight_decay": 0.01}  # as the library's loop
    optimizers.set_learning_rate(RATE)
    micro = MICRO_TOKENS if device.device.type == "cpu" else 0
    step = Step(ClassificationLoss(model), optimizers, device, Group(0, 1, device.device), micro)
    numbers = iter(range(10**9))
    return lambda batch: step(batch, next(numbers))[0].item(), model


METHODS = {"library": library, "ours": ours}


def spread_batches(folder: Path, raw: Path, max_len: int, tokens: Path) -> list[Batch]:
    """Batches of validation, in an order in which lengths alternate."""
    tokenizer = EncoderTokenizer(folder)
    corpus = tokenizer.tokenize(raw, "validation", tokens)
    batches = EncoderBatches(corpus, tokenizer, batch_size=BATCH_TEXTS, max_len=max_len, seed=0)
    found = list(batches.in_order_of_length())
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def work(connection: Connection, name: str, options: argparse.Namespace, max_len: int) -> None:
    """Train, then predict, some batches at each message; answer with the speeds."""
    device = prepare_device(load_runtime(), "auto")
    train, model = METHODS[name](options.encoder, device, True)
    with TemporaryDirectory() as folder:
        batches = spread_batches(options.encoder, options.raw, max_len, Path(folder))
    train(max(batches, key=lambda batch: batch.token_ids.numel()))  # the largest comes first

    @torch.inference_mode()
    def predict(batch: Batch) -> None:
        with device.autocast():
            model(*batch.to(device.device)[:2])

    connection.send(None)
    while (message := connection.recv()) is not None:
        training, first = message
        model.train(training)
        done = [batches[(first + i) % len(batches)] for i in range(options.steps)]
        begun = time.perf_counter()
        for batch in done:
            (train if training else predict)(batch)
        connection.send(sum(batch.tokens for batch in done) / (time.perf_counter() - begun))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    connection.send(
        torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else peak
    )


def race(options: argparse.Namespace, max_len: int) -> dict[str, dict[str, float]]:
    """The medians of each method."""
    context, lines = multiprocessing.get_context("spawn"), {}
    for name in METHODS:
        mine, theirs = context.Pipe()
        context.Process(target=work, args=(theirs, name, options, max_len), daemon=True).start()
        mine.recv()
        lines[name] = mine
    speeds: dict[tuple[str, bool], list[float]] = {}
    for number in range(options.rounds):
        for training in (True, False):
            for name, line in lines.items():
                line.send((training, number * options.steps))
                speeds.setdefault((name, training), []).append(line.recv())
    found = {}
    for name, line in lines.items():
        line.send(None)
        found[name] = {
            "training tokens/s": median(speeds[name, True]),
            "inference tokens/s": median(speeds[name, False]),
            "GiB": line.recv(),
        }
    return found


def loss_difference(options: argparse.Namespace) -> float:
    """The largest difference of both methods' losses over some steps in fp32 without dropout."""
    device = prepare_device(load_runtime(), "fp32")
    with TemporaryDirectory() as folder:
        batches = spread_batches(options.encoder, options.raw, 128, Path(folder))[: options.steps]

    def losses(name: str) -> Iterator[float]:
        step, _ = METHODS[name](options.encoder, device, False)
        return map(step, batches)

    return max(abs(a - b) for a, b in zip(losses("library"), losses("ours"), strict=True))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, default=Path("data/encoder"))
    parser.add_argument("--raw", type=Path, default=Path("data/raw"))
    parser.add_argument("--max-len", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"difference of the losses": loss_difference(options)}
    print(f"difference of the losses: {result['difference of the losses']:.1e}")
    for max_len in options.max_len:
        found = result[f"{max_len} tokens"] = race(options, max_len)
        for name, values in found.items():
            shown = ", ".join(f"{key} {value:,.1f}" for key, value in values.items())
            print(f"{max_len} tokens, {name}: {shown}")
        for key in ("training tokens/s", "inference tokens/s"):
            ratio = found["ours"][key] / found["library"][key]
            print(f"{max_len} tokens, {key}: ours is {ratio:.1f} times as fast")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
