"""The training of a masked language model (stage pretrain)."""

from pathlib import Path

import torch

from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.runtime import Runtime
from sentiformer.model.embedding import InputSizes
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.model.params import ModelParams
from sentiformer.text.vocab import count_words
from sentiformer.training.distributed import Group
from sentiformer.training.inputs import Inputs, load_word_vectors
from sentiformer.training.loop import Settings, Training
from sentiformer.training.masked_words import MaskedWordLoss, Windows
from sentiformer.training.params import PretrainParams
from sentiformer.training.run import Setup

SEED = 1  # of weights, batches and masked words


def set_up_language_model(
    model: ModelParams, params: PretrainParams, runtime: Runtime, *, data: Path
) -> Setup:
    """Prepare a training of a masked language model from what earlier stages wrote to `data`.

    It learns from train and the unlabelled texts, for all epochs, by Muon.

    Raises:
        UserError: an input is missing or corrupt, or torch does not find the requested GPU.
    """
    device = prepare_device(runtime, params.precision)
    inputs = Inputs(data)
    ids, words = inputs.ids_of_types, len(inputs.vocab)
    unused = {"dropout": 0.0, "token_dropout": 0.0}  # their values must not change the result
    size = model.model_copy(update={"max_len": params.window, **unused})
    about = inputs.describe(device, {"model": size.model_dump(), "pretrain": params.model_dump()})
    torch.manual_seed(SEED)
    language_model = MaskedLanguageModel(size, InputSizes.model_validate(about))
    load_word_vectors(language_model.encoder, inputs)
    rows = {split: facts["rows"] for split, facts in about["data"]["splits"].items()}
    texts = inputs.corpus(*filter(rows.get, PRETRAINING_SPLITS))
    validation = inputs.corpus("validation")
    if not count_words(validation, ids, words).any():
        raise UserError(
            f"no text of validation has a word of the vocabulary, which has {words} words; raise "
            "build_vocab.max_size, or set pretrain.epochs to 0"
        )
    loss = MaskedWordLoss(language_model.to(device.device), count_words(texts, ids, words))
    shared = params.model_dump(include={"epochs", "batch_size", "learning_rate"})
    training = Training(
        loss,
        Settings("pretrain", SEED, patience=params.epochs, optimizer="muon", **shared),
        train=Windows(texts, ids, params, SEED),
        validation=Windows(validation, ids, params, SEED),
        device=device,
        group=Group.join(device.device),
    )
    about["made_from"] = inputs.hashes()
    return Setup(about, training, inputs.vocab, is_language_model=True)
