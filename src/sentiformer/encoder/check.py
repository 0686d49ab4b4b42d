"""Whether a checkpoint is an encoder of texts that can be loaded without code of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer, PreTrainedConfig

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, first_line, is_out_of_memory, listed
from sentiformer.encoder.network import read_config

VOCABULARIES = ("tokenizer.json", "vocab.*", "s*.model")
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
FAMILIES = [  # those that the tests train
    *("albert", "bert", "camembert", "deberta-v2", "distilbert"),
    *("electra", "modernbert", "mpnet", "roberta", "xlm-roberta"),
]
ANOTHER = "use another encoder, such as a BERT, RoBERTa, DeBERTa or ModernBERT"


@contextmanager
def _loading(what: str) -> Iterator[None]:
    """Turn an error of the library transformers, which has many kinds, into a UserError."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        line = f"{what} cannot be loaded ({first_line(error)})"
        raise UserError(f"{line}; get the checkpoint again, or {ANOTHER}") from None


def check_tokenizer(folder: Path, at: str) -> tuple[PreTrainedConfig, Any]:
    """Load the configuration and the tokenizer of a checkpoint.

    Raises:
        UserError: it is not an encoder of texts, or its tokenizer is missing or does not fit.
    """
    with _loading(f"{at}: config.json"):
        config = read_config(folder)
    if config.model_type not in FAMILIES or getattr(config, "is_decoder", False):
        kind = f"{config.model_type}{' as a decoder' if config.model_type in FAMILIES else ''}"
        raise UserError(f"{at} is of the family {kind}; use an encoder of {listed(FAMILIES)}")
    if config.num_hidden_layers < 1:
        raise UserError(f"{at} has {config.num_hidden_layers} layers in config.json; {ANOTHER}")
    if not any(path for pattern in VOCABULARIES for path in folder.glob(pattern)):
        raise UserError(f"{at} has no tokenizer.json and no other vocabulary; {ANOTHER}")
    with _loading(f"{at}: its tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    highest, padding = max(tokenizer.get_vocab().values()), tokenizer.pad_token_id
    if not tokenizer.is_fast or padding is None or not tokenizer.tokenize("a"):
        lacks = "has no padding token, no token for a letter, or is not a fast one"
        raise UserError(f"{at}: its tokenizer {lacks}; {ANOTHER}")
    if highest >= config.vocab_size or config.pad_token_id not in (None, padding):
        raise UserError(
            f"{at} has the tokenizer of another model (ids up to {highest}, padding {padding}, but "
            f"{config.vocab_size} embeddings, padding {config.pad_token_id}); {ANOTHER}"
        )
    return config, tokenizer


def check_weights(folder: Path, config: PreTrainedConfig, tokenizer: Any, at: str) -> int:
    """Load the weights and encode a text; return the number of parameters without the pooler.

    Raises:
        UserError: they are damaged, or not those of the whole encoder.
    """
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"{at} has no weights in safetensors, and others are not read; use a commit that has "
            "them, such as one of a pull request on the Hub, or another encoder"
        )
    with _loading(f"{at}: its weights"):
        options = {**LOCAL, "ignore_mismatched_sizes": True, "output_loading_info": True}
        model, found = AutoModel.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, **options
        )
        ids = torch.tensor([tokenizer("A text.")["input_ids"]])
        with torch.inference_mode():
            vectors = model(input_ids=ids).last_hidden_state
    names = found["missing_keys"] | {name for name, *_ in found["mismatched_keys"]}
    if wrong := sorted(name for name in names if "pooler" not in name):
        named = f"{at}: {len(wrong)} weights, such as {wrong[0]},"
        raise UserError(f"{named} are missing or have not the shape of config.json; {ANOTHER}")
    is_finite = all(weight.isfinite().all() for weight in model.parameters())
    if vectors.shape != (*ids.shape, config.hidden_size) or not is_finite:
        raise UserError(f"{at} has infinite weights, or gives no vector for each token; {ANOTHER}")
    if unused := sorted(found["unexpected_keys"]):
        say(f"{at}: {len(unused)} weights, such as {unused[0]}, are not of the encoder; not used")
    return sum(p.numel() for name, p in model.named_parameters() if "pooler" not in name)
