"""The training of a masked language model (stage pretrain)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.runtime import Runtime
from sentiformer.model.embedding import InputSizes
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.model.params import ModelParams
from sentiformer.text.corpus import Corpus
from sentiformer.text.vocab import count_words
from sentiformer.training.distributed import Group
from sentiformer.training.initial_weights import load_word_vectors
from sentiformer.training.inputs import Inputs
from sentiformer.training.loop import Settings, Training
from sentiformer.training.masked_words import MaskedWordLoss, Windows
from sentiformer.training.params import PretrainParams
from sentiformer.training.run import Setup

SEED = 1  # of weights, batches and hidden words


def set_up_language_model(
    model: ModelParams, params: PretrainParams, runtime: Runtime, *, data: Path
) -> Setup:
    """Prepare a training of a masked language model on train and the unlabelled texts.

    Args:
        model, params: the sections `model` and `pretrain` of `params.yaml`.
        runtime: this machine.
        data: the folder with what earlier stages wrote.

    Raises:
        UserError: an input is missing or corrupt, or a GPU is asked for that is not there.
    """
    device = prepare_device(runtime, params.precision)
    inputs = Inputs(data)
    unused = {"dropout": 0.0, "token_dropout": 0.0}  # their values must not change the result
    size = model.model_copy(update={"max_len": params.window, **unused})
    about = inputs.describe(device, {"model": size.model_dump(), "pretrain": params.model_dump()})
    torch.manual_seed(SEED)
    language_model = MaskedLanguageModel(size, InputSizes.model_validate(about))
    load_word_vectors(language_model.encoder, inputs)
    corpora = training_corpora(inputs, about["data"]["splits"])
    counts = np.sum([count_known(corpus, inputs) for corpus in corpora], axis=0)
    training = Training(
        MaskedWordLoss(language_model.to(device.device), counts),
        pretrain_settings(params),
        train=Windows(corpora, inputs.ids_of_types, params, SEED),
        validation=Windows([validation_corpus(inputs)], inputs.ids_of_types, params, SEED),
        device=device,
        group=Group.join(device.device),
    )
    about["made_from"] = inputs.hashes()
    return Setup(about, training, inputs.vocab, is_language_model=True)


def pretrain_settings(params: PretrainParams) -> Settings:
    """The settings of the training loop: all epochs, by Muon."""
    return Settings(
        name="pretrain",
        seed=SEED,
        epochs=params.epochs,
        patience=params.epochs,
        batch_size=params.batch_size,
        optimizer="muon",
        learning_rate=params.learning_rate,
    )


def training_corpora(inputs: Inputs, splits: dict[str, Any]) -> list[Corpus]:
    """The texts of train, and the unlabelled ones if there are any."""
    rows = {split: facts["rows"] for split, facts in splits.items()}
    return [inputs.corpus(split) for split in PRETRAINING_SPLITS if rows.get(split)]


def count_known(corpus: Corpus, inputs: Inputs) -> np.ndarray:
    """(V,) how often each word of the vocabulary occurs in a corpus."""
    return count_words(corpus, inputs.ids_of_types, len(inputs.vocab))


def validation_corpus(inputs: Inputs) -> Corpus:
    """Validation, which must have a known word, since only known words are hidden."""
    corpus = inputs.corpus("validation")
    if not count_known(corpus, inputs).any():
        raise UserError(
            f"no text of validation has a word of the vocabulary, which has {len(inputs.vocab)} "
            "words; raise build_vocab.max_size, or set pretrain.epochs to 0"
        )
    return corpus
