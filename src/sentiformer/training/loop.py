"""Fitting the weights: a loop that yields what happened, and can stop and go on at any step.

Each step seeds torch by its own number, and the batches of an epoch depend on seed and epoch
alone; the whole state of a training is therefore weights, optimizer moments and the step.
"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from sentiformer.core.device import Device
from sentiformer.core.errors import UserError
from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.training.batching import Batches, made_ahead
from sentiformer.training.checkpoint import Saved
from sentiformer.training.distributed import Group
from sentiformer.training.objectives import Objective
from sentiformer.training.optimizers import learning_rate
from sentiformer.training.params import FitParams
from sentiformer.training.soup import Soup
from sentiformer.training.stepper import Stepper

LOG_STEPS = 10  # steps between two StepEvents
DIVERGED = 3.0  # a loss this many times that of guessing is no accident, as a mean of many texts
MANY_TEXTS = 128
DIVERGED_OF_FEW = 30.0  # of few texts, and on validation, where a model may be sure and wrong


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

    Attributes:
        model: the one that is trained.
        step: steps done, those of the trainings before it with them.
        steps, epochs: its events so far.
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
        self.stepper = Stepper(objective, params, device=device, group=group, compile=compile)
        self.model, self.objective, self.params = objective.model, objective, params
        self.name, self.patience, self.soup = name, patience, soup
        self.device, self.group = device, group
        self.train, self.validation = train, validation
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
        """The epoch that does best on validation, in what the objective is about.

        Of a soup it is the last, which judges the mean: no chance of validation parts it.
        """
        if self.soup:
            return self.epochs[-1]
        merit = self.objective.merit
        return max(self.epochs, key=lambda of: merit(of.valid_loss, of.valid_accuracy))

    def best_weights(self) -> dict[str, Tensor]:
        """The weights after the best epoch, by name, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self._best.items()}

    def _epoch(self, epoch: int, done: int) -> Iterator[StepEvent | EpochEvent]:
        """Train the rest of an epoch, of which some steps are done."""
        losses: list[Tensor] = []
        tokens = 0
        batches = self.train.epoch(epoch, skip=done)
        for batch in batches if self.device.device.type == "cpu" else made_ahead(batches):
            rate = learning_rate(self.params, self.steps_done, self.total_steps)
            loss, norm = self.stepper.step(batch, self.step, rate)
            self.step += 1
            losses.append(loss)
            tokens += batch.tokens
            if self.step % LOG_STEPS == 0 or self.step % len(self.train) == 0:
                yield self._report(epoch, torch.stack(losses), norm, tokens)
                losses, tokens = [], 0
        yield self._validate(epoch)

    def _report(self, epoch: int, losses: Tensor, norm: Tensor, tokens: int) -> StepEvent:
        loss = self.group.sum(losses.double()).mean().item()
        rate = float(self.stepper.optimizer.param_groups[0]["lr"])
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
            self.model.load_state_dict(self.soup.with_one_more(self._weights()))
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

    def save(self) -> Saved:
        """The whole state: tensors by name, and the rest as JSON."""
        moments = self.stepper.optimizer.state_dict()["state"]
        tensors = {
            **{f"model/{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"best/{name}": tensor for name, tensor in self._best.items()},
            **{f"optimizer/{i}/{name}": t for i, of in moments.items() for name, t in of.items()},
        }
        state = {
            "step": self.step,
            "parts": self.stepper.parts,
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
        groups = self.stepper.optimizer.state_dict()["param_groups"]
        self.stepper.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.stepper.parts = state["step"], state["parts"]
        self.steps = [StepEvent(**event) for event in state["steps"]]
        self.epochs = [EpochEvent(**event) for event in state["epochs"]]
