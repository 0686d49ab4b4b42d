"""The training of the classifier (stage train)."""

from dataclasses import fields
from pathlib import Path

import torch

from sentiformer.core.device import prepare_device
from sentiformer.core.names import UNLABELED
from sentiformer.core.pseudo_labels import FILE, read_pseudo_labels, read_teacher
from sentiformer.core.runtime import Runtime
from sentiformer.model.classifier import TransformerClassifier
from sentiformer.model.embedding import InputSizes
from sentiformer.model.params import ModelParams
from sentiformer.text.corpus import Corpus
from sentiformer.training.batching import TextBatches, Texts
from sentiformer.training.distributed import Group
from sentiformer.training.initial_weights import load_initial_weights
from sentiformer.training.inputs import Inputs
from sentiformer.training.loop import Settings, Training
from sentiformer.training.losses import ClassificationLoss, balanced_weights
from sentiformer.training.params import TrainParams
from sentiformer.training.pseudo_labeled import PseudoLabeledTexts
from sentiformer.training.run import Setup

SETTINGS = {field.name for field in fields(Settings)} - {"name"}  # the parameters of the loop


def set_up_classifier(
    model: ModelParams, params: TrainParams, runtime: Runtime, *, data: Path
) -> Setup:
    """Prepare a training of the classifier, from the first weights that earlier stages have made.

    Args:
        model, params: the sections `model` and `train` of `params.yaml`.
        runtime: this machine.
        data: the folder with what earlier stages wrote.

    Raises:
        UserError: an input is missing or corrupt, or a GPU is asked for that is not there.
    """
    device = prepare_device(runtime, params.precision)
    inputs = Inputs(data)
    sections = {"model": model.model_dump(), "train": params.model_dump()}
    about = inputs.describe(device, sections)
    torch.manual_seed(params.seed)
    classes = len(about["labels"])
    classifier = TransformerClassifier(model, InputSizes.model_validate(about), num_classes=classes)
    about["params"] |= load_initial_weights(classifier.encoder, inputs)
    labeled = inputs.corpus("train")
    texts, teacher = with_pseudo_labels(labeled, inputs, classes)
    about["params"]["teach"] = {"by": teacher}
    weights = None
    if params.class_weights == "balanced":
        weights = balanced_weights(labeled.labels).to(device.device)
    training = Training(
        ClassificationLoss(classifier, weights),
        Settings("train", **params.model_dump(include=SETTINGS)),
        train=text_batches(texts, inputs, model, params),
        validation=text_batches(inputs.corpus("validation"), inputs, model, params),
        device=device,
        group=Group.join(device.device),
    )
    return Setup({**about, "made_from": inputs.hashes()}, training, inputs.vocab)


def text_batches(
    texts: Texts, inputs: Inputs, model: ModelParams, params: TrainParams
) -> TextBatches:
    """The batches of some texts."""
    return TextBatches(
        texts,
        inputs.ids_of_types,
        batch_size=params.batch_size,
        max_len=model.max_len,
        seed=params.seed,
        word_dropout=params.word_dropout,
    )


def with_pseudo_labels(labeled: Corpus, inputs: Inputs, classes: int) -> tuple[Texts, str | None]:
    """Add the unlabelled texts to the labelled ones, if a teacher has given them pseudo-labels.

    Returns:
        The texts, and the name of the teacher; None without one.
    """
    folder = inputs.data / "teacher"
    teacher = read_teacher(folder)
    if teacher is None:
        return labeled, None
    unlabeled = inputs.corpus(UNLABELED)
    probabilities = read_pseudo_labels(folder, (len(unlabeled), classes))
    inputs.read.append(folder / FILE)
    return PseudoLabeledTexts(labeled, unlabeled, probabilities), teacher
