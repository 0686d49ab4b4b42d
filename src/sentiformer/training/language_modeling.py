"""The training of a masked language model (stage pretrain)."""

from pathlib import Path

import numpy as np
import torch

from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.core.runtime import Precision, Runtime
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.model.params import InputSizes, ModelParams
from sentiformer.text.vocab import count_words
from sentiformer.training.distributed import Group
from sentiformer.training.inputs import Inputs, load_word_vectors
from sentiformer.training.loop import Settings, Training
from sentiformer.training.masked_words import BATCH_WINDOWS, WINDOW, MaskedWordLoss, Windows
from sentiformer.training.run import Setup

SEED = 1  # of weights, batches and masked words
LEARNING_RATE = 0.003  # the highest rate


def set_up_language_model(
    model: ModelParams, epochs: int, precision: Precision, runtime: Runtime, *, data: Path
) -> Setup:
    """Prepare a training of a masked language model from what earlier stages wrote to `data`.

    It learns from train and the unlabelled texts, for all epochs, by Muon.

    Raises:
        UserError: an input is missing or corrupt, or torch does not find the requested GPU.
    """
    device = prepare_device(runtime, precision)
    inputs = Inputs(data)
    ids, words = inputs.ids_of_types, len(inputs.vocab)
    unused = {"dropout": 0.0, "token_dropout": 0.0}  # their values must not change the result
    size = model.model_copy(update={"max_len": WINDOW, **unused})
    about = inputs.describe_transformer(
        device, {"model": size.model_dump(), "pretrain": {"epochs": epochs}}
    )
    torch.manual_seed(SEED)
    language_model = MaskedLanguageModel(size, InputSizes.model_validate(about))
    load_word_vectors(language_model.encoder, inputs)
    rows = {split: facts["rows"] for split, facts in about["data"]["splits"].items()}
    texts = inputs.corpus(*filter(rows.get, PRETRAINING_SPLITS))
    validation = inputs.corpus("validation")
    _require_a_known_word(count_words(validation, ids, words))
    loss = MaskedWordLoss(language_model.to(device.device), count_words(texts, ids, words))
    settings = Settings(
        "pretrain", SEED, epochs, epochs, BATCH_WINDOWS, "muon", learning_rate=LEARNING_RATE
    )
    training = Training(
        loss,
        settings,
        train=Windows(texts, ids, SEED),
        validation=Windows(validation, ids, SEED),
        device=device,
        group=Group.join(device.device),
    )
    about["made_from"] = inputs.hashes()
    return Setup(about, training, inputs.vocab, is_language_model=True)


def _require_a_known_word(counts: np.ndarray) -> None:
    """Check that validation has a word; `counts`, (V,), are its counts of each."""
    if not counts.any():
        raise UserError(
            f"no text of validation has a word of the vocabulary, which has {len(counts)} words; "
            "raise build_vocab.max_size, or set pretrain.epochs to 0"
        )
