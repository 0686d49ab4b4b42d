"""Four methods of training a Transformer of one size, for train_speed.py.

Each is a function that trains on all given batches; the iterator of the batches measures the time.
Every model uses dropout on activations, as our model does, but no dropout on attention weights.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from sentiformer.core.device import Device
from sentiformer.model.classifier import TransformerClassifier, mean_of_tokens
from sentiformer.model.embedding import sinusoidal_positions
from sentiformer.model.params import InputSizes, ModelParams
from sentiformer.params import Params
from sentiformer.text.vocab import PAD
from sentiformer.training.batching import Batch, pad
from sentiformer.training.cuda_graphs import RecordedStep
from sentiformer.training.distributed import Group
from sentiformer.training.losses import ClassificationLoss
from sentiformer.training.optimizers import MAX_NORM, Optimizers, clip_gradients
from sentiformer.training.step import Step


@dataclass(frozen=True)
class Task:
    """The input of a method in addition to its batches; `steps` is the number of batches."""

    params: Params
    vocab_size: int
    num_classes: int
    steps: int
    device: Device


class PlainLayer(nn.Module):
    """Attention written out and a feed-forward block; padding is attended to like any word."""

    def __init__(self, size: ModelParams) -> None:
        super().__init__()
        self.heads = size.num_heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(size.d_model, size.d_model) for _ in range(4)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(size.d_model) for _ in range(2))
        self.expand = nn.Linear(size.d_model, size.d_ff)
        self.contract = nn.Linear(size.d_ff, size.d_model)
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        query, key, value = (
            project(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, K)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.mT / query.shape[-1] ** 0.5  # (B, H, T, T)
        attended = self.out((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))
        hidden = self.norms[0](hidden + self.dropout(attended))
        changed = self.contract(F.relu(self.expand(hidden)))
        return self.norms[1](hidden + self.dropout(changed))


class PlainTransformer(nn.Module):
    """The article's model: no mask, no positions; the mean includes padding."""

    def __init__(self, size: ModelParams, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, size.d_model)
        self.layers = nn.Sequential(*(PlainLayer(size) for _ in range(size.num_layers)))
        self.classifier = nn.Linear(size.d_model, num_classes)

    def forward(self, token_ids: Tensor) -> Tensor:
        """(B, T) to (B, C)."""
        return self.classifier(self.layers(self.embedding(token_ids)).mean(dim=1))


class TorchTransformer(nn.Module):
    """torch's own encoder between an embedding with positions and a masked mean."""

    positions: Tensor

    def __init__(self, size: ModelParams, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.scale = size.d_model**0.5
        self.embedding = nn.Embedding(vocab_size, size.d_model, padding_idx=PAD)
        self.register_buffer("positions", sinusoidal_positions(size.max_len, size.d_model))
        self.dropout = nn.Dropout(size.dropout)
        layer = nn.TransformerEncoderLayer(
            size.d_model, size.num_heads, size.d_ff, size.dropout, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, size.num_layers, enable_nested_tensor=False)
        for copied in self.encoder.layers:  # see the docstring of this file
            copied.self_attn.dropout = copied.dropout.p = 0.0
        self.classifier = nn.Linear(size.d_model, num_classes)

    def forward(self, token_ids: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, T) twice to (B, C)."""
        hidden = self.embedding(token_ids) * self.scale + self.positions[: token_ids.shape[1]]
        hidden = self.encoder(self.dropout(hidden), src_key_padding_mask=padding_mask)
        return self.classifier(mean_of_tokens(hidden, padding_mask))


def pad_to_longest(texts: Sequence[np.ndarray], max_len: int) -> tuple[Tensor, Tensor]:
    """(B, T) token ids and (B, T) padding, in the shapes of `sentiformer.training.batching.pad`."""
    rows = [torch.from_numpy(ids.astype(np.int64)) for ids in texts]
    token_ids = pad_sequence(rows, batch_first=True, padding_value=PAD)
    return token_ids, token_ids == PAD


def article(task: Task, batches: Iterator[Batch]) -> None:
    """The article's model and training loop, in fp32."""
    device = task.device.device
    model = PlainTransformer(task.params.model, task.vocab_size, task.num_classes).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=task.params.train.learning_rate)
    for batch in batches:
        optimizer.zero_grad()
        logits = model(batch.token_ids.to(device))
        F.cross_entropy(logits, batch.labels.to(device)).backward()
        optimizer.step()


def torch_encoder(task: Task, batches: Iterator[Batch]) -> None:
    """Torch's encoder with our optimizer and clipping, in the device's precision."""
    train = task.params.train
    model = TorchTransformer(task.params.model, task.vocab_size, task.num_classes)
    model.to(task.device.device)
    optimizers = Optimizers(model, train.optimizer)
    optimizers.set_learning_rate(train.learning_rate)
    for batch in batches:
        on_device = batch.to(task.device.device)
        optimizers.zero_grad()
        with task.device.autocast():
            logits = model(on_device.token_ids, on_device.padding_mask)
        F.cross_entropy(logits.float(), on_device.labels).backward()
        clip_gradients(model.parameters())
        optimizers.step()


def trainer(task: Task, batches: Iterator[Batch]) -> None:
    """A BERT of Hugging Face's transformers under their Trainer, in the device's precision."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    import transformers as hf

    hf.utils.logging.set_verbosity_error()
    size, train = task.params.model, task.params.train
    config = hf.BertConfig(
        vocab_size=task.vocab_size,
        hidden_size=size.d_model,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        intermediate_size=size.d_ff,
        hidden_dropout_prob=size.dropout,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=size.max_len,
        num_labels=task.num_classes,
    )

    class OnGivenBatches(hf.Trainer):
        def get_train_dataloader(self) -> Iterator[dict[str, Tensor]]:
            return Inputs(batches)

    with tempfile.TemporaryDirectory() as folder:
        arguments = hf.TrainingArguments(
            output_dir=folder,
            max_steps=task.steps + 1,  # so that the Trainer also asks for the end of the batches
            per_device_train_batch_size=train.batch_size,
            learning_rate=train.learning_rate,
            max_grad_norm=MAX_NORM,
            bf16=task.device.precision == "bf16",
            use_cpu=task.device.device.type == "cpu",
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        training = OnGivenBatches(hf.BertForSequenceClassification(config), arguments)
        training.remove_callback(hf.PrinterCallback)
        training.train()


class Inputs:
    """Batches with the argument names of transformers' models; they can be read once."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for batch in self._batches:
            padding = batch.padding_mask
            inputs = {"input_ids": batch.token_ids, "labels": batch.labels}
            yield inputs if padding is None else inputs | {"attention_mask": (~padding).long()}


def ours(task: Task, batches: Iterator[Batch]) -> None:
    """The steps of stage train, deterministic as they always are."""
    torch.use_deterministic_algorithms(True)
    model = TransformerClassifier(
        task.params.model,
        InputSizes(vocab_size=task.vocab_size),
        num_classes=task.num_classes,
    )
    model.to(task.device.device)
    optimizers = Optimizers(model, task.params.train.optimizer)
    optimizers.set_learning_rate(task.params.train.learning_rate)
    group = Group.join(task.device.device)
    step: Step | RecordedStep = Step(ClassificationLoss(model), optimizers, task.device, group)
    if task.device.device.type == "cuda" and optimizers.can_be_recorded:
        step = RecordedStep(step)
    for number, batch in enumerate(batches):
        step(batch, number)


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        train: trains on batches.
        precision: as in `params.yaml`.
        bucketed: whether the texts of a batch have similar lengths.
        token_dropout: share of a text's tokens that a training step skips.
        pad: stacks the texts of a batch.
    """

    train: Callable[[Task, Iterator[Batch]], None]
    precision: str
    bucketed: bool = True
    token_dropout: float = 0.0
    pad: Callable[[Sequence[np.ndarray], int], tuple[Tensor, Tensor | None]] = pad


REFERENCE = "article, bucketed"
METHODS = {
    "article, random batches": Method(article, "fp32", bucketed=False, pad=pad_to_longest),
    REFERENCE: Method(article, "fp32", pad=pad_to_longest),
    "torch encoder, fp32": Method(torch_encoder, "fp32"),
    "torch encoder, bf16": Method(torch_encoder, "bf16"),
    "transformers Trainer": Method(trainer, "auto"),
    "ours": Method(ours, "auto"),
    "ours, token dropout 0.5": Method(ours, "auto", token_dropout=0.5),
}
