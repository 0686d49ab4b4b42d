"""The reference set-up on a GPU: wall time, real tokens per second, FLOP utilisation, accuracy.

    python benchmarks/gpu.py --tokens data/tokens --vocab data/vocab

First it measures how CUDA graphs and deterministic kernels change the speed, over a few steps.
Then the whole training. All figures count real tokens, without padding. It needs a corpus that the
stages tokenize and build_vocab have written, and the packages torch, numpy, pandas, psutil,
pyarrow, pydantic, PyYAML, ruamel.yaml, safetensors, scikit-learn and tqdm. It does not need dvc,
mlflow, spacy or datasets. Without a GPU it runs on the processor.
"""

import argparse
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sentiformer.core.events import EpochEvent
from sentiformer.core.files import write_json
from sentiformer.core.runtime import load_runtime
from sentiformer.features.word_vectors import fit_word_vectors
from sentiformer.model.params import ModelParams
from sentiformer.params import Params, load_params
from sentiformer.training.batching import TextBatches
from sentiformer.training.classification import set_up_classifier
from sentiformer.training.inputs import Inputs
from sentiformer.training.loop import Training
from sentiformer.training.pretrain import write_no_language_model
from sentiformer.training.step import Step

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16 FLOP/s, by the data sheets


def main() -> None:
    """Run the measurements and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tokens", type=Path, default=ROOT / "data/tokens")
    parser.add_argument("--vocab", type=Path, default=ROOT / "data/vocab")
    parser.add_argument("--setup", type=Path, default=ROOT / "setups/article")
    parser.add_argument("--steps", type=int, default=100, help="steps of each comparison; 0: none")
    parser.add_argument("--epochs", type=int, help="in place of the set-up's; 0: compare only")
    parser.add_argument(
        "--peak", type=float, help=f"the card's dense bf16 FLOP/s; known: {', '.join(PEAK)}"
    )
    options = parser.parse_args()
    changes = options.setup.read_text().split()
    params = set_up(changes + [f"train.epochs={options.epochs}"] * bool(options.epochs))
    if params.pretrain.epochs or params.teach.by:
        print("without pretraining and pseudo-labels: this trains on labelled texts alone")
    with tempfile.TemporaryDirectory() as folder:
        options.data = prepare(params, options, Path(folder))
        measure(params, options)


def prepare(params: Params, options: argparse.Namespace, data: Path) -> Path:
    """Gather the inputs of a training: the corpus, and word vectors if the set-up has any."""
    for name in ("tokens", "vocab"):
        (data / name).symlink_to(getattr(options, name).resolve())
    for name in ("word_vectors", "pretrained", "teacher"):
        (data / name).mkdir()
    fit_word_vectors(
        params.word_vectors, params.model.d_model, data=data, folder=data / "word_vectors"
    )
    write_no_language_model(data / "pretrained")
    write_json(data / "teacher" / "config.json", {"by": None})
    return data


def measure(params: Params, options: argparse.Namespace) -> None:
    """Compare, then train."""
    training = make_training(params, options)
    environment = training.device.environment
    name = environment["device"]
    peak = options.peak or next((rate for card, rate in PEAK.items() if card in str(name)), None)
    print(f"{name}, torch {environment['torch']}, {environment['precision']}")
    if options.steps:
        compare(params, options, peak)
    if options.epochs != 0:
        train(params, training, options.data, peak)


def set_up(changes: list[str]) -> Params:
    """The project's parameters, with changes such as `section.key=value`."""
    values = load_params(ROOT / "params.yaml").model_dump()
    for change in changes:
        name, value = change.split("=", 1)
        section, key = name.split(".")
        values[section][key] = yaml.safe_load(value)
    return Params.model_validate(values)


def make_training(params: Params, options: argparse.Namespace) -> Training:
    """A training with its first weights."""
    return set_up_classifier(params.model, params.train, load_runtime(), data=options.data).training


def model_flops(lengths: np.ndarray, model: ModelParams) -> float:
    """FLOPs of forward and backward on texts of these lengths (Kaplan et al. 2020, table 1).

    There are six FLOPs per weight and token, without embeddings and norms. The products of
    attention need twelve FLOPs per layer, dimension and pair of tokens. Tokens that token dropout
    skips need no FLOPs.
    """
    lengths = np.minimum(lengths, model.max_len) * (1 - model.token_dropout)
    weights = model.num_layers * (4 * model.d_model**2 + 2 * model.d_model * model.d_ff)
    pairs = model.num_layers * model.d_model * (lengths**2).sum()
    return 6 * weights * lengths.sum() + 12 * pairs


def compare(params: Params, options: argparse.Namespace, peak: float | None) -> None:
    """Measure the speed of some steps, computed in different ways."""
    rates = {}
    for label, deterministic, recorded in (
        ("as it trains", True, True),
        ("not recorded", True, False),
        ("not recorded, not deterministic", False, False),
        ("as it trains, again", True, True),
    ):
        training = make_training(params, options)
        if not recorded:
            group = training.group
            training.update = Step(training.loss, training.optimizers, training.device, group)
        torch.use_deterministic_algorithms(deterministic)
        start = time.perf_counter()
        seconds, tokens, flops = steps(training, options.steps, params.model)
        rates[label] = tokens / seconds
        print(
            f"{label}: {tokens / seconds:,.0f} tokens/s{utilisation(flops, seconds, peak)}, "
            f"{rates[label] / rates['as it trains']:.2f} of the first, "
            f"{time.perf_counter() - start - seconds:.0f} s of warm-up{training.device.memory()}"
        )
    torch.use_deterministic_algorithms(True)


def steps(training: Training, count: int, model: ModelParams) -> tuple[float, int, float]:
    """Seconds, real tokens and FLOPs of some steps, after the same steps twice as a warm-up."""
    batches = list(islice(training.train.epoch(1), count))
    training.optimizers.set_learning_rate(training.settings.learning_rate)
    training.model.train()
    for number, batch in enumerate(batches * 2):
        training.update(batch, number)
    wait()
    start = time.perf_counter()
    for number, batch in enumerate(batches):
        training.update(batch, number)
    wait()
    seconds = time.perf_counter() - start
    lengths = training.train.texts.lengths[np.concatenate([batch.rows for batch in batches])]
    return seconds, sum(batch.tokens for batch in batches), model_flops(lengths, model)


def train(params: Params, training: Training, data: Path, peak: float | None) -> None:
    """The whole training, and the accuracy of its best epoch on test."""
    start = time.perf_counter()
    for event in training.run():
        if isinstance(event, EpochEvent):
            print(f"epoch {event.epoch}: validation accuracy {event.valid_accuracy:.4f}")
    wait()
    wall = time.perf_counter() - start
    tokens = sum(row.tokens for row in training.steps)
    flops = model_flops(training.train.texts.lengths, params.model) * len(training.epochs)
    print(
        f"{len(training.epochs)} epochs with validation: {wall:.1f} s, {tokens / wall:,.0f} real "
        f"tokens/s{utilisation(flops, wall, peak)}{training.device.memory()}"
    )
    training.model.load_state_dict(training.best_weights())
    inputs = Inputs(data)
    sizes = {"batch_size": params.train.batch_size, "max_len": params.model.max_len}
    test = TextBatches(inputs.corpus("test"), inputs.ids_of_types, **sizes)
    _, accuracy = training.evaluate(test)
    best, seed = training.best().epoch, params.train.seed
    print(f"test accuracy {accuracy:.4f}, best epoch {best}, seed {seed}")


def utilisation(flops: float, seconds: float, peak: float | None) -> str:
    """The share of the card's peak, where that is known."""
    rate = f", {flops / seconds / 1e12:.1f} TFLOP/s"
    return rate + (f", {flops / seconds / peak:.1%} of the peak" if peak else "")


def wait() -> None:
    """Wait until the GPU has finished all its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
