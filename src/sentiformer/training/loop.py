"""The training loop: it yields events, and can stop and resume at any of them.

Each step seeds PyTorch by its own number, and the batches of an epoch depend on seed and epoch
alone. The whole state of a training is therefore its weights, its optimizers' moments and its step.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from sentiformer.core.device import Device
from sentiformer.core.errors import UserError
from sentiformer.core.events import EpochEvent, Event, StepEvent
from sentiformer.training.batching import Batches, prefetch
from sentiformer.training.checkpoint import Saved
from sentiformer.training.cuda_graphs import RecordedStep
from sentiformer.training.distributed import Group
from sentiformer.training.losses import Loss
from sentiformer.training.optimizers import Optimizers, learning_rate
from sentiformer.training.params import Optimizer
from sentiformer.training.step import Step

LOG_STEPS = 10  # steps between two StepEvents
# A training has diverged when its loss is this many times that of equal probabilities:
DIVERGED = 3.0  # the mean over about MANY_TEXTS
MANY_TEXTS = 128
DIVERGED_FEW = 30.0  # the mean over a few texts, or over validation


@dataclass(frozen=True)
class Settings:
    """How a model is trained: the name of the stage, and parameters as in `params.yaml`.

    A training of few texts has more epochs than `epochs`: as many as `least_steps` need. Larger
    batches than `micro_tokens` are divided, if it is not 0; see `Step`.
    """

    name: str
    seed: int
    epochs: int
    patience: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float
    least_steps: int = 0
    micro_tokens: int = 0


class Training:
    """A training in progress: iterate over `run()`; then `best_weights()` are the result.

    Attributes:
        step: number of steps done.
        steps, epochs: the events so far.
        update: computes one step.
    """

    def __init__(
        self,
        loss: Loss,
        settings: Settings,
        *,
        train: Batches,
        validation: Batches,
        device: Device,
        group: Group,
    ) -> None:
        self.model = loss.model.to(device.device)
        self.loss, self.settings = loss, settings
        self.train, self.validation = train, validation
        self.device, self.group = device, group
        self.optimizers = Optimizers(self.model, settings.optimizer)
        self._plain = Step(loss, self.optimizers, device, group, settings.micro_tokens)
        alone_on_gpu = device.device.type == "cuda" and group.size == 1
        recorded = alone_on_gpu and self.optimizers.can_be_recorded
        self.update = RecordedStep(self._plain) if recorded else self._plain
        self.step = 0
        self.steps: list[StepEvent] = []
        self.epochs: list[EpochEvent] = []
        self._best: dict[str, Tensor] = {}

    @property
    def total_epochs(self) -> int:
        """Number of epochs, if it is not stopped early."""
        return max(self.settings.epochs, -(-self.settings.least_steps // len(self.train)))

    @property
    def total_steps(self) -> int:
        """Number of steps, if it is not stopped early."""
        return self.total_epochs * len(self.train)

    def run(self) -> Iterator[Event]:
        """Train from the present state to the end; the state may be saved at each event.

        Raises:
            UserError: the loss is not a number, or far above that of equal probabilities.
        """
        while not self._is_over():
            epoch, done = divmod(self.step, len(self.train))
            if len(self.epochs) == epoch:
                yield from self._epoch(epoch + 1, done)
            else:  # the state was saved between the last step of an epoch and the validation
                yield self._validate(epoch)

    def _is_over(self) -> bool:
        done = len(self.epochs)
        if not done or self.step < self.settings.least_steps:
            return False
        return done == self.total_epochs or done - self.best().epoch >= self.settings.patience

    def best(self) -> EpochEvent:
        """The epoch that is best on validation."""
        return max(self.epochs, key=lambda e: self.loss.quality(e.valid_loss, e.valid_accuracy))

    def best_weights(self) -> dict[str, Tensor]:
        """The weights after the best epoch, by name, on the CPU."""
        return {name: tensor.cpu() for name, tensor in self._best.items()}

    def _epoch(self, epoch: int, done: int) -> Iterator[Event]:
        """Train the rest of an epoch after its first `done` steps, then validate."""
        losses: list[Tensor] = []
        tokens = 0
        batches = self.train.epoch(epoch, skip=done)
        self.model.train()
        for batch in batches if self.device.device.type == "cpu" else prefetch(batches):
            rate = learning_rate(self.settings.learning_rate, self.step, self.total_steps)
            self.optimizers.set_learning_rate(rate)
            loss, norm = self.update(batch, self.settings.seed * 1_000_003 + self.step)
            self.step += 1
            losses.append(loss)
            tokens += batch.tokens
            if self.step % LOG_STEPS == 0 or self.step % len(self.train) == 0:
                yield self._report(epoch, torch.stack(losses), rate, norm, tokens)
                losses, tokens = [], 0
        yield self._validate(epoch)

    def _report(
        self, epoch: int, losses: Tensor, rate: float, norm: Tensor, tokens: int
    ) -> StepEvent:
        loss = self.group.sum(losses.double()).mean().item()
        self._refuse_divergence(loss, DIVERGED_FEW)
        event = StepEvent(self.step, epoch, len(losses), loss, rate, norm.item(), tokens)
        self.steps.append(event)
        texts = min(LOG_STEPS * self.settings.batch_size, self.train.items)
        many = -(-MANY_TEXTS // texts)
        if len(self.steps) >= many:
            self._refuse_divergence(_mean_loss(self.steps[-many:]), DIVERGED)
        return event

    def _refuse_divergence(self, loss: float, limit: float) -> None:
        if not loss <= limit * self.loss.uniform_loss:
            name, rate = self.settings.name, self.settings.learning_rate
            raise UserError(
                f"the loss is {loss:.3g} at step {self.step}: training diverged; lower "
                f"{name}.learning_rate ({rate})"
            )

    def _validate(self, epoch: int) -> EpochEvent:
        train_loss = _mean_loss([event for event in self.steps if event.epoch == epoch])
        valid_loss, accuracy = self.evaluate(self.validation)
        self._refuse_divergence(valid_loss, DIVERGED_FEW)
        event = EpochEvent(epoch, self.step, train_loss, valid_loss, accuracy)
        self.epochs.append(event)
        if self.best() is event:
            weights = self.model.state_dict()
            self._best = {name: tensor.detach().clone() for name, tensor in weights.items()}
        return event

    @torch.inference_mode()
    def evaluate(self, batches: Batches) -> tuple[float, float]:
        """Mean loss in nats, and accuracy, without dropout."""
        self.model.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device.device)
        ordered = batches.in_order_of_length()
        for batch in islice(ordered, self.group.rank, None, self.group.size):
            with self.device.autocast():
                sums += self.loss.evaluate(batch.to(self.device.device))
        loss, right, count = self.group.sum(sums).tolist()
        return loss / count, right / count

    def save(self) -> Saved:
        """The whole state: tensors by name, and the rest as JSON."""
        kinds = {
            "model": self.model.state_dict(),
            "best": self._best,
            "optimizer": self.optimizers.state(),
        }
        tensors = {
            f"{kind}/{name}": tensor
            for kind, named in kinds.items()
            for name, tensor in named.items()
        }
        state = {
            "step": self.step,
            "parts": self._plain.parts,
            "processes": self.group.size,
            "steps": [asdict(event) for event in self.steps],
            "epochs": [asdict(event) for event in self.epochs],
        }
        return tensors, state

    def restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Return to a saved state."""
        kinds: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            kind, rest = name.split("/", 1)
            kinds[kind][rest] = tensor
        self.model.load_state_dict(kinds["model"])
        self._best = {name: t.to(self.device.device) for name, t in kinds["best"].items()}
        self.optimizers.load_state(kinds["optimizer"])
        self.step, self._plain.parts = state["step"], state["parts"]
        self.steps = [StepEvent(**event) for event in state["steps"]]
        self.epochs = [EpochEvent(**event) for event in state["epochs"]]


def _mean_loss(events: list[StepEvent]) -> float:
    """The mean over all steps of the events."""
    return sum(event.loss * event.steps for event in events) / sum(event.steps for event in events)
