"""A training from files to files: it reads tokens and vocabulary, resumes, and writes the model.

Where several processes train together, each has the job; the one that leads shows, saves, writes.
"""

import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sentiformer.batching import Batcher
from sentiformer.checkpoint import Checkpoint, training_key
from sentiformer.config import Params, Runtime
from sentiformer.console import Bar, say
from sentiformer.corpus import nonempty_corpus, read_lines
from sentiformer.device import prepare_device
from sentiformer.distributed import Group
from sentiformer.files import read_json, write_json
from sentiformer.model import TransformerClassifier
from sentiformer.training import EpochEvent, StepEvent, Training
from sentiformer.vocab import Vocab

FACTS = ("origin", "splits", "removed", "near_duplicates", "segmenter")  # of the data


class TrainingJob:
    """One training with its inputs, its checkpoint and its outputs.

    Args:
        params: all parameters; `model` and `train` decide here.
        runtime: this machine.
        tokens: the folder that stage tokenize wrote.
        vocab: the folder that stage build_vocab wrote.
        checkpoints: the folder to keep the state of a stopped training in.

    Attributes:
        about: what `config.json` says: labels, parameters, data, vocabulary, environment.
        key: names this training by all that decides its bits.
        seconds: what the training took so far, stops not counted.

    Raises:
        UserError: an input is missing or corrupt, or a GPU is asked for that is not there.
    """

    def __init__(
        self, params: Params, runtime: Runtime, *, tokens: Path, vocab: Path, checkpoints: Path
    ) -> None:
        device = prepare_device(runtime, params.train.precision)
        self._group = Group.join(device.device)
        corpus = read_json(tokens / "corpus.json", made_by="tokenize")
        coverage = read_json(vocab / "coverage.json", made_by="build_vocab")
        self.vocab = Vocab.load(vocab / "vocab.txt")
        environment = {**device.environment, "spacy": corpus["spacy"]}
        about = describe(params, corpus, coverage, environment)
        data = [tokens / name for name in ("train.arrow", "validation.arrow", "types.txt")]
        files = [*data, vocab / "vocab.txt", *loaded_code()]
        self.key = training_key(files, about)
        self.about = {"training_key": self.key, **about}
        # Any number of processes may go on where another number of them stopped.
        alone = {**about, "environment": {**about["environment"], "processes": None}}
        self._checkpoint = Checkpoint(checkpoints, training_key(files, alone))
        self._checkpoint_seconds = runtime.checkpoint_seconds
        self.seconds = 0.0
        self._params, self._tokens = params, tokens
        types = read_lines(tokens / "types.txt", made_by="tokenize")
        self._ids_of_types = self.vocab.ids_of_types(types)
        torch.manual_seed(params.train.seed)
        model = TransformerClassifier(
            params.model, vocab_size=len(self.vocab), num_classes=len(corpus["labels"])
        )
        self.training = Training(
            model,
            params.train,
            train=self.batcher("train"),
            validation=self.batcher("validation"),
            device=device,
            group=self._group,
            compile=runtime.compile,
        )

    def batcher(self, split: str) -> Batcher:
        """The batches of a split.

        Raises:
            UserError: its corpus is missing, corrupt or empty.
        """
        return Batcher(
            nonempty_corpus(self._tokens / f"{split}.arrow"),
            self._ids_of_types,
            batch_size=self._params.train.batch_size,
            max_len=self._params.model.max_len,
            truncation=self._params.model.truncation,
        )

    def run(self) -> Iterator[StepEvent | EpochEvent]:
        """Train to the end, from the checkpoint if there is one; yield all events, old ones too."""
        training = self.training
        self._begun = time.monotonic()
        saved = self._group.from_leader(self._checkpoint.load() if self._group.leads else None)
        if saved is not None:
            training.restore(*saved)
            self._begun -= saved[1]["seconds"]
            say(_resuming(training, saved[1]["processes"]))
            yield from training.steps
            yield from training.epochs
        written = time.monotonic()
        with Bar("train, steps", total=training.total_steps, done=training.step) as bar:
            for event in training.run():
                yield event
                _show(bar, event, training)
                if self._group.leads and time.monotonic() - written > self._checkpoint_seconds:
                    self._save()
                    written = time.monotonic()
        if self._group.leads:
            self._save()
        self._group.leave()
        best = training.best()
        say(f"best: epoch {best.epoch}, validation accuracy {best.valid_accuracy:.4f}")

    def _save(self) -> None:
        self.seconds = time.monotonic() - self._begun
        tensors, state = self.training.save()
        self._checkpoint.save(tensors, {**state, "seconds": self.seconds})

    def follow(self) -> None:
        """Train in a process that does not lead, and end it; in the one that leads do nothing."""
        if not self._group.leads:
            for _ in self.run():
                pass
            sys.exit(0)

    def write(self, folder: Path) -> None:
        """Write the weights of the best epoch and all that belongs to them."""
        save_file(self.training.best_weights(), folder / "model.safetensors")
        best = self.training.best()
        write_json(folder / "config.json", {**self.about, "best": asdict(best)})
        self.vocab.save(folder / "vocab.txt")
        _write_csv(folder / "steps.csv", self.training.steps)
        _write_csv(folder / "history.csv", self.training.epochs)

    def forget(self) -> None:
        """Delete the checkpoint; the training has ended and its outputs are written."""
        self._checkpoint.delete()


def describe(
    params: Params, corpus: dict[str, Any], coverage: dict[str, Any], environment: dict[str, Any]
) -> dict[str, Any]:
    """Gather what made a model: labels, parameters, data, vocabulary, environment."""
    return {
        "labels": corpus["labels"],
        "params": {
            **corpus["params"],
            "build_vocab": {"max_size": coverage["max_size"]},
            "model": params.model.model_dump(),
            "train": params.train.model_dump(),
        },
        "vocab_size": coverage["size"],
        "data": {name: corpus[name] for name in FACTS},
        "environment": environment,
    }


def loaded_code() -> list[Path]:
    """The library's files that this process runs; of stage train, those that DVC knows as deps."""
    names = sorted(name for name in sys.modules if name.split(".")[0] == "sentiformer")
    return [Path(str(sys.modules[name].__file__)) for name in names]


def _resuming(training: Training, before: int) -> str:
    line, now = (
        f"resuming at step {training.step:,} of {training.total_steps:,}",
        training.group.size,
    )
    if now == before:
        return line
    return f"{line}, with {now} processes after {before}: the bits are those of neither alone"


def _show(bar: Bar, event: StepEvent | EpochEvent, training: Training) -> None:
    epochs = training.params.epochs
    if isinstance(event, StepEvent):
        bar.advance(event.steps, f"epoch {event.epoch} of {epochs}, loss {event.loss:.3f}")
    else:
        say(
            f"epoch {event.epoch} of {epochs}: train loss {event.train_loss:.4f}, "
            f"validation loss {event.valid_loss:.4f}, accuracy {event.valid_accuracy:.4f}"
            f"{training.device.memory()}"
        )


def _write_csv(path: Path, events: Sequence[StepEvent | EpochEvent]) -> None:
    """Write events, a row each; numbers are exact."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [asdict(event) for event in events]
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
