"""A training from files to files: it reads tokens and vocabulary, resumes, and writes the weights.

Where several processes train together, each has the job; the one that leads shows, saves, writes.
Of a soup, the trainings have a checkpoint each. On a CPU with several cores they run side by side,
in processes that leave nothing but these; the bits are those of one after another.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sentiformer.console import Bar, say
from sentiformer.core.device import Device, prepare_device
from sentiformer.core.events import EPOCH_COLUMNS, STEP_COLUMNS, EpochEvent, StepEvent
from sentiformer.core.files import read_json, write_csv, write_json, write_tensors
from sentiformer.core.names import UNLABELED
from sentiformer.core.runtime import Runtime
from sentiformer.model.classifier import TransformerClassifier
from sentiformer.model.embedding import InputSizes
from sentiformer.model.params import ModelParams
from sentiformer.text.corpus import Corpus, nonempty_corpus, read_types
from sentiformer.text.pseudo_labels import LABELS_FILE, TaughtTexts, read_probabilities, teacher_of
from sentiformer.text.vocab import Vocab
from sentiformer.training.batching import Batcher, Batches, Texts
from sentiformer.training.checkpoint import Checkpoint, training_key
from sentiformer.training.distributed import Group
from sentiformer.training.initial_weights import load_pretrained, pretraining_params
from sentiformer.training.loop import Training
from sentiformer.training.objectives import Classification, Objective, balanced
from sentiformer.training.params import FitParams, TrainParams
from sentiformer.training.soup import Beside, Soup

FACTS = ("origin", "splits", "removed", "near_duplicates", "segmenter")  # of the data


class Job:
    """One training with its inputs, its checkpoint and its outputs.

    What is trained, and on what, a subclass adds by `_start`.

    Args:
        model: the size of the Transformer.
        params: the stage's own section.
        runtime: this machine.
        data: the folder with what earlier stages wrote.
        checkpoints: the folder to keep the state of a stopped training in.
        soup: how many trainings there are, whose ends are averaged.

    Attributes:
        about: what `config.json` says: labels, parameters, data, vocabulary, environment.
        training: the one under way; of a soup, the first, and after `run()` the last.
        steps, epochs: the events of all trainings that are over.
        seconds: what the trainings took, once `run` is over, stops not counted.

    Raises:
        UserError: an input is missing or corrupt, or a GPU is asked for that is not there.
    """

    name: str  # of the stage
    kind: str  # of what is trained
    about: dict[str, Any]
    training: Training

    def __init__(
        self,
        model: ModelParams,
        params: FitParams,
        runtime: Runtime,
        *,
        data: Path,
        checkpoints: Path,
        soup: int = 1,
    ) -> None:
        self._again = partial(
            type(self), model, params, runtime, data=data, checkpoints=checkpoints
        )
        self._folder = checkpoints
        self._model, self._fit = model, params
        self._runtime, self._soup = runtime, soup
        self._device = prepare_device(runtime, self._fit.precision)
        torch.set_num_threads(max(1, runtime.threads // soup))  # also where they do not run at once
        self._group = Group.join(self._device.device)
        alone = self._device.device.type == "cpu" and self._group.size == 1
        self._at_once = min(soup, runtime.threads) if alone else 1  # trainings, side by side
        self._tokens = data / "tokens"
        self.vocab = Vocab.load(data / "vocab" / "vocab.txt")
        self._ids_of_types = self.vocab.encode(read_types(self._tokens))
        self._files = [self._tokens / "types.txt", data / "vocab" / "vocab.txt"]
        self.steps: list[StepEvent] = []
        self.epochs: list[EpochEvent] = []
        self.seconds = 0.0

    def _corpus(self, split: str) -> Corpus:
        """A split that must hold a text, and that decides the result."""
        self._files.append(self._tokens / f"{split}.arrow")
        return nonempty_corpus(self._files[-1], types=len(self._ids_of_types))

    def _start(
        self,
        objective: Objective,
        about: dict[str, Any],
        *,
        patience: int,
        train: Batches,
        validation: Batches,
    ) -> None:
        """Set the training up, and name it by all that decides its bits."""
        self._objective, self._patience = objective, patience
        self._train, self._validation = train, validation
        weights = objective.model.state_dict() if self._soup > 1 else {}
        self._first = {name: tensor.clone() for name, tensor in weights.items()}
        self._files += loaded_code()
        about = {"stage": self.name, **about}
        self.about = {"training_key": training_key(self._files, about), **about}
        # Any number of processes, of as many threads each, may go on where others stopped.
        alone = {**about, "environment": {**about["environment"], "processes": None}}
        key = training_key(self._files, alone)
        names = [key, *(f"{key}-{number}" for number in range(1, self._soup))]
        self._checkpoints = [Checkpoint(self._folder, name) for name in names]
        self._begin(0, {})

    def _begin(self, number: int, mean: dict[str, Tensor]) -> None:
        """Set up one training of the soup, if it is one; the mean is that of the ones before."""
        self._checkpoint = self._checkpoints[number]
        if number:
            self._objective.model.load_state_dict(self._first)
        self.training = Training(
            self._objective,
            self._fit,
            name=self.name,
            patience=self._patience,
            train=self._train,
            validation=self._validation,
            device=self._device,
            group=self._group,
            soup=Soup(number, mean) if self._soup > 1 else None,
        )

    def run(self) -> Iterator[StepEvent | EpochEvent]:
        """Train to the end, from the checkpoint if there is one; yield all events, old ones too."""
        seconds = []
        with Beside(self._soup, self._at_once, self._start_other) as beside:
            for number in range(self._soup):
                beside.start_after(number)
                if number:
                    self._begin(number, self.training.best_weights())
                beside.wait_for(number)
                yield from self._run(number)
                seconds.append(time.monotonic() - self._begun)
                self.steps += self.training.steps
                self.epochs += self.training.epochs
        self.seconds = max(sum(seconds[lane :: self._at_once]) for lane in range(self._at_once))
        self._group.leave()
        best = self.training.best()
        say(f"best: epoch {best.epoch}, validation accuracy {best.valid_accuracy:.4f}")

    def _run(self, number: int) -> Iterator[StepEvent | EpochEvent]:
        """One training, shown."""
        training, epochs = self.training, self._soup * self._fit.epochs
        which = f", training {number + 1} of {self._soup}" if self._soup > 1 else ""
        self._resume()
        yield from training.steps
        yield from training.epochs
        total, done = training.total_steps, training.steps_done
        with Bar(f"{self.name}{which}, steps", total=total, done=done) as bar:
            for event in self._new_events():
                yield event
                _show(bar, event, training, epochs)

    def _resume(self) -> None:
        """Go back to the checkpoint, if there is one."""
        self._begun = time.monotonic()
        saved = self._group.from_leader(self._checkpoint.load() if self._group.leads else None)
        if saved is not None:
            self.training.restore(*saved)
            self._begun -= saved[1]["seconds"]
            if self.training.steps_done < self.training.total_steps:
                say(_resuming(self.training, saved[1]["processes"]))

    def _new_events(self) -> Iterator[StepEvent | EpochEvent]:
        """Train from here to the end, and save now and then."""
        written = time.monotonic()
        for event in self.training.run():
            yield event
            if time.monotonic() - written > self._runtime.checkpoint_seconds:
                self._save()
                written = time.monotonic()
        self._save()

    def _save(self) -> None:
        if self._group.leads:
            tensors, state = self.training.save()
            seconds = time.monotonic() - self._begun
            self._checkpoint.save(tensors, {**state, "seconds": seconds})

    def _start_other(self, number: int) -> BaseProcess:
        """Start a process for one training of the soup; see `aside`."""
        raise NotImplementedError

    def aside(self, number: int, checkpoint: Checkpoint) -> None:
        """Train one of a soup up to its last validation, which needs the mean; leave a checkpoint.

        What goes wrong here is left to the process that leads, which goes on from there.
        """
        self._begin(number, {})
        self._first.clear()  # as large as the model, and of no more use here
        self._checkpoint = checkpoint  # its name tells the code that the other process has loaded
        self._resume()
        events = self._new_events()
        while self.training.steps_done < self.training.total_steps:  # or it was left so before
            next(events)
        self._save()

    def follow(self) -> None:
        """Train in a process that does not lead, and end it; in the one that leads do nothing."""
        if not self._group.leads:
            for _ in self.run():
                pass
            sys.exit(0)

    def write(self, folder: Path) -> None:
        """Write the weights of the best epoch, or a soup's mean, and all that belongs to them."""
        write_tensors(folder / "model.safetensors", self.training.best_weights())
        best = self.training.best()
        write_json(folder / "config.json", {**self.about, "best": asdict(best)})
        self.vocab.save(folder / "vocab.txt")
        write_csv(folder / "steps.csv", STEP_COLUMNS, map(asdict, self.steps))
        write_csv(folder / "history.csv", EPOCH_COLUMNS, map(asdict, self.epochs))

    def forget(self) -> None:
        """Delete the checkpoints; the training has ended and its outputs are written."""
        for checkpoint in self._checkpoints:
            checkpoint.delete()


class TrainingJob(Job):
    """The training of a classifier, from word vectors or a language model if there is one."""

    name, kind = "train", "transformer"

    def __init__(
        self,
        model: ModelParams,
        params: TrainParams,
        runtime: Runtime,
        *,
        data: Path,
        checkpoints: Path,
    ) -> None:
        super().__init__(
            model, params, runtime, data=data, checkpoints=checkpoints, soup=params.soup
        )
        self._word_dropout = params.word_dropout
        teacher = teacher_of(data / "teacher")
        sections = {"model": model.model_dump(), "train": params.model_dump()}
        sections["teach"] = {"by": teacher}
        about = describe(data, self.vocab, self._device, pretraining_params(data) | sections)
        torch.manual_seed(params.seed)
        inputs = InputSizes.model_validate(about)
        classifier = TransformerClassifier(model, inputs, num_classes=len(about["labels"]))
        self._files += load_pretrained(classifier.encoder, data)
        train: Texts = (labeled := self._corpus("train"))
        if teacher != "nobody":
            train = self._taught(labeled, data / "teacher", len(about["labels"]))
        weights = None
        if params.class_weights == "balanced":
            weights = balanced(labeled.labels).to(self._device.device)
        self._start(
            Classification(classifier, weights),
            about,
            patience=params.patience,
            train=self._batcher(train),
            validation=self.batches("validation"),
        )

    def _taught(self, labeled: Corpus, teacher: Path, classes: int) -> TaughtTexts:
        """The labelled texts, and the unlabelled ones as the teacher labels them."""
        unlabeled = self._corpus(UNLABELED)
        self._files.append(teacher / LABELS_FILE)
        shape = len(unlabeled), classes
        return TaughtTexts(labeled, unlabeled, read_probabilities(teacher, shape, made_by="teach"))

    def batches(self, split: str) -> Batcher:
        """The batches of a split, with its own labels.

        Raises:
            UserError: its corpus is missing, corrupt or empty.
        """
        return self._batcher(self._corpus(split))

    def _batcher(self, texts: Texts) -> Batcher:
        return Batcher(
            texts,
            self._ids_of_types,
            batch_size=self._fit.batch_size,
            max_len=self._model.max_len,
            truncation=self._model.truncation,
            seed=self._fit.seed,
            word_dropout=self._word_dropout,
        )


def train_aside(make: Callable[[], Job], number: int, checkpoint: Checkpoint) -> None:
    """Train one of a soup in a process of its own, which says nothing; see `Job.aside`."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    make().aside(number, checkpoint)


def describe(data: Path, vocab: Vocab, device: Device, sections: dict[str, Any]) -> dict[str, Any]:
    """Gather what makes a model: labels, parameters, data, vocabulary, environment."""
    corpus = read_json(data / "tokens" / "corpus.json", made_by="tokenize")
    coverage = read_json(data / "vocab" / "coverage.json", made_by="build_vocab")
    vectors = read_json(data / "word_vectors" / "config.json", made_by="word_vectors")
    return {
        "labels": corpus["labels"],
        "params": {
            **corpus["params"],
            "build_vocab": {"max_size": coverage["max_size"]},
            **sections,
        },
        "vocab_size": len(vocab),
        "pairs": vectors["pairs"],
        "triples": vectors["triples"],
        "regions": vectors["regions"],
        "data": {name: corpus[name] for name in FACTS},
        "environment": {**device.environment, "spacy": corpus["spacy"]},
    }


def loaded_code() -> list[Path]:
    """The library's files that this process runs; of stage train, some of its deps in DVC."""
    names = sorted(name for name in sys.modules if name.split(".")[0] == "sentiformer")
    return [Path(str(sys.modules[name].__file__)) for name in names]


def _resuming(training: Training, before: int) -> str:
    total, now = training.step - training.steps_done + training.total_steps, training.group.size
    line = f"resuming at step {training.step:,} of {total:,}"
    if now == before:
        return line
    return f"{line}, with {now} processes after {before}: the bits are those of neither alone"


def _show(bar: Bar, event: StepEvent | EpochEvent, training: Training, epochs: int) -> None:
    if isinstance(event, StepEvent):
        bar.advance(event.steps, f"epoch {event.epoch} of {epochs}, loss {event.loss:.3f}")
    else:
        say(
            f"epoch {event.epoch} of {epochs}: train loss {event.train_loss:.4f}, "
            f"validation loss {event.valid_loss:.4f}, accuracy {event.valid_accuracy:.4f}"
            f"{training.device.memory()}"
        )
