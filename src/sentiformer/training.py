"""Fitting the weights: a loop that yields what happened, and can stop and go on at any step.

Each step seeds torch by its own number, and the batches of an epoch depend on seed and epoch
alone; the whole state of a training is therefore weights, optimizer moments and the step. A step
is the same, but for rounding, however its batch is shared out: over the processes of a group, and
within each over parts whose gradients add up, as many as its memory asks for.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sentiformer.batching import Batch, Batches, made_ahead
from sentiformer.config import FitParams
from sentiformer.console import UserError, is_out_of_memory, say
from sentiformer.device import Device
from sentiformer.distributed import Group
from sentiformer.dropout import Share
from sentiformer.model import EncoderLayer
from sentiformer.objectives import Objective
from sentiformer.optimizers import (
    clip_gradients,
    learning_rate,
    make_optimizer,
    set_learning_rate,
)
from sentiformer.recorder import Recorder

LOG_STEPS = 10  # steps between two StepEvents
DIVERGED = 3.0  # a loss this many times that of guessing is no accident, as a mean of many texts
MANY_TEXTS = 128
DIVERGED_OF_FEW = 30.0  # of few texts, and on validation, where a model may be sure and wrong


@dataclass(frozen=True)
class StepEvent:
    """Means over the steps since the last event.

    Attributes:
        step: steps done so far.
        epoch: the epoch under way, from 1.
        steps: how many steps the means are of.
        loss: cross-entropy in nats a text, or a hidden word.
        learning_rate: that of the last step.
        gradient_norm: before clipping, of the last step.
        tokens: of the texts since the last event, dropped ones with them, padding not counted.
    """

    step: int
    epoch: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int


@dataclass(frozen=True)
class EpochEvent:
    """An epoch's end.

    Where a training of a soup ends, validation judges the mean so far.

    Attributes:
        epoch: which one, from 1, over all trainings of a soup.
        step: steps done so far.
        train_loss: mean cross-entropy in nats over the steps of the epoch, dropout on.
        valid_loss: the same on validation, dropout off.
        valid_accuracy: share of validation's texts, or hidden words, that are told rightly.
    """

    epoch: int
    step: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float

    @property
    def perplexity(self) -> float:
        """Of validation: among how many words, alike in likelihood, a hidden one is sought."""
        return math.exp(self.valid_loss)


class Soup(NamedTuple):
    """Trainings from the same first weights, whose ends are averaged (Wortsman et al. 2022).

    Attributes:
        before: how many trainings there were before one.
        mean: of the weights in which these ended, by name.
    """

    before: int
    mean: dict[str, Tensor]


class Training:
    """A training under way: iterate over `run()`; afterwards `best_weights()` are the result.

    Args:
        objective: the model with its first weights, and what to fit them to.
        params: how to fit them.
        name: of the section of `params.yaml` that `params` is.
        patience: epochs without a new best on validation before it stops.
        train, validation: the batches.
        device: where, and in what precision.
        group: the processes that train together.
        compile: whether to compile the layers by `torch.compile`.
        soup: None, or the soup that it is part of: all epochs are done, and the result is the mean
            of its weights and those of the trainings before it.
    """

    def __init__(
        self,
        objective: Objective,
        params: FitParams,
        *,
        name: str,
        patience: int,
        train: Batches,
        validation: Batches,
        device: Device,
        group: Group,
        compile: bool = False,
        soup: Soup | None = None,
    ) -> None:
        self.model = objective.model.to(device.device)
        if compile:  # one layer, of which all others are copies
            for module in self.model.modules():
                if isinstance(module, EncoderLayer):
                    module.compile(dynamic=True)
        self.objective, self.params = objective, params
        self.name, self.patience, self.soup = name, patience, soup
        self.device, self.group = device, group
        self.train, self.validation = train, validation
        self.parts = 1  # of this process's share of a batch
        self.optimizer = make_optimizer(self.model, params)
        self.recorder: Recorder | None = None
        if device.device.type == "cuda" and group.size == 1:
            self.recorder = Recorder(self._compute, device.device)
        # Steps and epochs of a soup are counted on: each training has its own order and dropout.
        self._epochs_before = soup.before * params.epochs if soup else 0
        self.step = self._epochs_before * len(train)
        self.steps: list[StepEvent] = []
        self.epochs: list[EpochEvent] = []
        self._best: dict[str, Tensor] = {}

    @property
    def total_steps(self) -> int:
        """Steps, if it is not stopped early."""
        return self.params.epochs * len(self.train)

    @property
    def steps_done(self) -> int:
        """Steps of this training, not of others in its soup."""
        return self.step - self._epochs_before * len(self.train)

    def run(self) -> Iterator[StepEvent | EpochEvent]:
        """Train from where it stands to the end; at each event the state may be saved.

        Raises:
            UserError: the loss is no number, or far beyond that of guessing.
        """
        while not self.is_over():
            epoch, done = divmod(self.step, len(self.train))
            if len(self.epochs) == epoch - self._epochs_before:
                yield from self._epoch(epoch + 1, done)
            else:  # it was saved between the last step of an epoch and its validation
                yield self._validate(epoch)

    def is_over(self) -> bool:
        """Whether all epochs are done, or validation has not improved for too long."""
        if len(self.epochs) == self.params.epochs:
            return True
        if self.soup or not self.epochs:
            return False
        return len(self.epochs) - self.best().epoch >= self.patience

    def best(self) -> EpochEvent:
        """The epoch with the highest validation accuracy; of equal ones, the lowest loss.

        Of a soup it is the last, which judges the mean: no chance of validation parts it.
        """
        if self.soup:
            return self.epochs[-1]
        return max(self.epochs, key=lambda event: (event.valid_accuracy, -event.valid_loss))

    def best_weights(self) -> dict[str, Tensor]:
        """The weights after the best epoch, by name, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self._best.items()}

    def _epoch(self, epoch: int, done: int) -> Iterator[StepEvent | EpochEvent]:
        """Train the rest of an epoch, of which some steps are done."""
        losses: list[Tensor] = []
        tokens = 0
        batches = self.train.epoch(epoch, skip=done)
        for batch in batches if self.device.device.type == "cpu" else made_ahead(batches):
            loss, norm = self._step(batch)
            losses.append(loss)
            tokens += batch.tokens
            if self.step % LOG_STEPS == 0 or self.step % len(self.train) == 0:
                yield self._report(epoch, torch.stack(losses), norm, tokens)
                losses, tokens = [], 0
        yield self._validate(epoch)

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One update of the weights.

        Returns:
            This process's share of the loss, and the gradient norm; both still on the device.
        """
        self.model.train()
        rate = learning_rate(self.params, self.steps_done, self.total_steps)
        set_learning_rate(self.optimizer, rate)
        results = self._replayed(batch)
        if results is None:
            results = self._gradients(batch), self._move()
        self.step += 1
        return results

    def _replayed(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """The step as a GPU repeats it from a recording; None where it has none."""
        if self.recorder is None or self.parts > 1:
            return None
        self._seed()
        try:
            return self.recorder.replay(batch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self._stop_recording()
            return None

    def _compute(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a GPU does in a step on a batch that is there, the seed apart."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.device.autocast():
            share = Share(self.group.share(len(batch.rows)), len(batch.rows))
            loss = self.objective.loss(batch, share, batch)
        loss.backward()
        return loss.detach(), self._move()

    def _move(self) -> Tensor:
        """Move the weights by their gradients; returns the norm of these."""
        self.group.sum_gradients(self.model.parameters())
        norm = clip_gradients(self.model.parameters(), self.params.clip_norm)
        self.optimizer.step()
        return norm

    def _gradients(self, batch: Batch) -> Tensor:
        """Gradients of this process's share of a batch, in more parts when memory is short."""
        own = self.group.share(len(batch.rows))
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                losses = [self._backward(batch, rows) for rows in cut(own, self.parts)]
                return torch.stack(losses).sum()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.recorder is not None:
                    self._stop_recording()
                    continue
                if self.parts >= len(range(len(batch.rows))[own]):
                    raise
            self.parts *= 2
            self.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()  # does nothing on a CPU
            say(f"a batch does not fit into memory; from here on in {self.parts} parts")

    def _stop_recording(self) -> None:
        """Give the memory of recordings back."""
        self.optimizer.zero_grad(set_to_none=True)  # whose last ones lie there
        self.recorder = None
        torch.cuda.empty_cache()

    def _backward(self, batch: Batch, rows: slice) -> Tensor:
        """Add the gradients of some texts of a batch; returns their share of the batch's loss."""
        part = batch.take(rows).to(self.device.device)
        if not len(part.rows):
            return torch.zeros((), device=self.device.device)
        self._seed()
        with self.device.autocast():
            loss = self.objective.loss(part, Share(rows, len(batch.rows)), batch)
        loss.backward()
        return loss.detach()

    def _seed(self) -> None:
        """Seed this step's dropout."""
        torch.manual_seed(self.params.seed * 1_000_003 + self.step)

    def _report(self, epoch: int, losses: Tensor, norm: Tensor, tokens: int) -> StepEvent:
        loss = self.group.sum(losses.double()).mean().item()
        rate = float(self.optimizer.param_groups[0]["lr"])
        self._require_sense(loss, DIVERGED_OF_FEW)
        event = StepEvent(self.step, epoch, len(losses), loss, rate, norm.item(), tokens)
        self.steps.append(event)
        self._require_sense(self._loss_of_many(), DIVERGED)
        return event

    def _loss_of_many(self) -> float:
        """The mean over the last `MANY_TEXTS` texts, or some more; 0 before there were as many."""
        total, steps = 0.0, 0
        for event in reversed(self.steps):
            total, steps = total + event.loss * event.steps, steps + event.steps
            if steps * self.params.batch_size >= MANY_TEXTS:
                return total / steps
        return 0.0

    def _require_sense(self, loss: float, times_guessing: float) -> None:
        if not loss <= times_guessing * self.objective.guessing:
            raise UserError(
                f"the loss is {loss:.3g} at step {self.step}: training diverged; lower "
                f"{self.name}.learning_rate ({self.params.learning_rate}) or raise "
                f"{self.name}.warmup_fraction ({self.params.warmup_fraction})"
            )

    def _validate(self, epoch: int) -> EpochEvent:
        rows = [event for event in self.steps if event.epoch == epoch]
        train_loss = sum(row.loss * row.steps for row in rows) / sum(row.steps for row in rows)
        ends = self.steps_done == self.total_steps
        if self.soup and ends:
            self._average(self.soup)
        valid_loss, accuracy = self.judge(self.validation)
        self._require_sense(valid_loss, DIVERGED_OF_FEW)
        event = EpochEvent(epoch, self.step, train_loss, valid_loss, accuracy)
        self.epochs.append(event)
        if self.best() is event and (ends or not self.soup):
            self._best = self._weights()
        return event

    def _weights(self) -> dict[str, Tensor]:
        """A copy of the model's weights, by name."""
        weights = self.model.state_dict()
        return {name: tensor.detach().clone() for name, tensor in weights.items()}

    def _average(self, soup: Soup) -> None:
        """Take the mean of these weights, which are at their end, and those of before."""
        weights = self._weights()
        for name, mean in soup.mean.items():
            if mean.is_floating_point():
                weights[name].lerp_(mean.to(self.device.device), 1 - 1 / (soup.before + 1))
        self.model.load_state_dict(weights)

    @torch.inference_mode()
    def judge(self, texts: Batches) -> tuple[float, float]:
        """Mean loss in nats, and accuracy; dropout off."""
        self.model.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device.device)
        batches = texts.in_order_of_length()
        for batch in islice(batches, self.group.rank, None, self.group.size):
            with self.device.autocast():
                sums += self.objective.judge(batch.to(self.device.device))
        loss, right, count = self.group.sum(sums).tolist()
        return loss / count, right / count

    def save(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The whole state: tensors by name, and the rest as JSON."""
        moments = self.optimizer.state_dict()["state"]
        tensors = {
            **{f"model/{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"best/{name}": tensor for name, tensor in self._best.items()},
            **{f"optimizer/{i}/{name}": t for i, of in moments.items() for name, t in of.items()},
        }
        state = {
            "step": self.step,
            "parts": self.parts,
            "processes": self.group.size,
            "steps": [asdict(event) for event in self.steps],
            "epochs": [asdict(event) for event in self.epochs],
        }
        return tensors, state

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, rest = name.split("/", 1)
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self._best = {name: t.to(self.device.device) for name, t in parts["best"].items()}
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, moment = name.split("/")
            moments.setdefault(int(number), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.parts = state["step"], state["parts"]
        self.steps = [StepEvent(**event) for event in state["steps"]]
        self.epochs = [EpochEvent(**event) for event in state["epochs"]]


def cut(rows: slice, parts: int) -> list[slice]:
    """A slice's rows in several slices, in order."""
    step = rows.step
    size = -(-len(range(rows.stop)[rows]) // parts)
    starts = [rows.start + number * size * step for number in range(parts)]
    return [slice(start, min(start + size * step, rows.stop), step) for start in starts]
