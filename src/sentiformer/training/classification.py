"""The training of the classifier (stage train)."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from sentiformer.core.device import prepare_device
from sentiformer.core.files import read_json, reading
from sentiformer.core.names import PSEUDO_LABELS
from sentiformer.core.runtime import Runtime
from sentiformer.model.classifier import TransformerClassifier
from sentiformer.model.params import InputSizes, ModelParams
from sentiformer.training.batching import TextBatches
from sentiformer.training.distributed import Group
from sentiformer.training.inputs import Inputs, load_initial_weights
from sentiformer.training.loop import Settings, Training
from sentiformer.training.losses import ClassificationLoss, balanced_weights
from sentiformer.training.params import TrainParams
from sentiformer.training.run import Setup

SETTINGS = {field.name for field in fields(Settings)} & TrainParams.model_fields.keys()
LEAST_STEPS = 400  # a training on few texts has learnt little after fewer
LEAST_TEXTS = 12_800  # large batches need no more steps than it takes to read as many texts


def set_up_classifier(
    model: ModelParams, params: TrainParams, runtime: Runtime, *, data: Path
) -> Setup:
    """Prepare a training of the classifier from what earlier stages wrote to `data`.

    Raises:
        UserError: an input is missing or corrupt, or torch does not find the requested GPU.
    """
    device = prepare_device(runtime, params.precision)
    inputs = Inputs(data)
    about = inputs.describe_transformer(
        device, {"model": model.model_dump(), "train": params.model_dump()}
    )
    torch.manual_seed(params.seed)
    classes = len(about["labels"])
    classifier = TransformerClassifier(model, InputSizes.model_validate(about), num_classes=classes)
    about["params"]["pretrain"] = load_initial_weights(classifier.encoder, inputs)
    teacher = read_json(data / "teacher" / "config.json", made_by="teach").get("by")
    about["params"]["teach"] = {"by": teacher}
    texts = inputs.corpus("train", taught=bool(teacher))
    labels = texts.labels[: about["data"]["splits"]["train"]["rows"]]
    balanced = params.class_weights == "balanced"
    weights = balanced_weights(labels).to(device.device) if balanced else None
    labels = with_pseudo_labels(labels, len(texts), inputs, classes) if teacher else labels
    settings = params.model_dump(include={"batch_size", "seed", "word_dropout"})
    settings |= {"ids_of_types": inputs.ids_of_types, "max_len": model.max_len}
    training = Training(
        ClassificationLoss(classifier, weights),
        Settings(
            "train",
            **params.model_dump(include=SETTINGS),
            least_steps=min(LEAST_STEPS, LEAST_TEXTS // params.batch_size),
        ),
        train=TextBatches(texts, labels=labels, **settings),
        validation=TextBatches(inputs.corpus("validation"), **settings),
        device=device,
        group=Group.join(device.device),
    )
    about["made_from"] = inputs.hashes()
    return Setup(about, training, inputs.vocab, has_curves=True)


def with_pseudo_labels(labels: np.ndarray, texts: int, inputs: Inputs, classes: int) -> np.ndarray:
    """(texts, classes) float32 probabilities: one-hot of the labels, then those of the teacher.

    The student learns both alike (Hinton et al. 2015, section 2; Xie et al. 2020, section 2).
    """
    path = inputs.data / "teacher" / PSEUDO_LABELS
    inputs.read.append(path)
    with reading(path, "teach", EOFError):
        probabilities = np.load(path, allow_pickle=False).reshape(texts - len(labels), classes)
    return np.concatenate([np.eye(classes, dtype=np.float32)[labels], probabilities])
