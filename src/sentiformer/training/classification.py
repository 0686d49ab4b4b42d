"""The training of the classifier (stage train)."""

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
    group = Group.join(device.device)
    inputs = Inputs(data)
    sections = {"model": model.model_dump(), "train": params.model_dump()}
    about = inputs.describe(device, sections)
    torch.manual_seed(params.seed)
    sizes = InputSizes.model_validate(about)
    classifier = TransformerClassifier(model, sizes, num_classes=len(about["labels"]))
    about["params"] |= load_initial_weights(classifier.encoder, inputs)
    labeled = inputs.corpus("train")
    texts, teacher = with_pseudo_labels(labeled, inputs, len(about["labels"]))
    about["params"]["teach"] = {"by": teacher}
    weights = None
    if params.class_weights == "balanced":
        weights = balanced_weights(labeled.labels).to(device.device)

    def batches(texts: Texts) -> TextBatches:
        return TextBatches(
            texts,
            inputs.ids_of_types,
            batch_size=params.batch_size,
            max_len=model.max_len,
            seed=params.seed,
            word_dropout=params.word_dropout,
        )

    training = Training(
        ClassificationLoss(classifier, weights),
        Settings(
            name="train",
            seed=params.seed,
            epochs=params.epochs,
            patience=params.patience,
            batch_size=params.batch_size,
            optimizer=params.optimizer,
            learning_rate=params.learning_rate,
        ),
        train=batches(texts),
        validation=batches(inputs.corpus("validation")),
        device=device,
        group=group,
    )
    return Setup({**about, "made_from": inputs.hashes()}, training, inputs.vocab)


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
