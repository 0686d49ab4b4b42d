"""The parameters as the project comes: the report shows which ones a model has otherwise."""

from collections.abc import Mapping
from typing import Any

# fmt: off
DEFAULTS: dict[str, dict[str, Any]] = {
    "download": {"source": "bundled", "hub_dataset": "stanfordnlp/imdb",
        "hub_revision": "e6281661ce1c48d982bc483cf8a173c1bbeb5d31", "train": None,
        "validation": None, "test": None, "unlabeled": None, "text_column": "text",
        "label_column": "label", "labels": None, "held_out": 0.1, "fold": 0,
        "min_texts": 1},
    "tokenize": {"language": "en"},
    "build_vocab": {"max_size": 25000},
    "word_vectors": {"window": 10, "pairs": 100000, "triples": 100000},
    "model": {"d_model": 128, "num_heads": 2, "num_layers": 1, "d_ff": 128, "norm": "post",
        "dropout": 0.2, "token_dropout": 0.5, "max_len": 512},
    "pretrain": {"epochs": 0},
    "encoder": {"name": None},
    "finetune": {"epochs": 1, "max_len": 256, "layers": None, "frozen": 0, "learning_rate": 0.0001,
        "ensemble": True},
    "teach": {"by": None},
    "train": {"seed": 1, "epochs": 3, "patience": 2, "batch_size": 32, "optimizer": "lazy_adam",
        "learning_rate": 0.001, "word_dropout": 0.2, "class_weights": None, "precision": "auto"},
    "export": {"format": None, "model": "model"},
}
# fmt: on


def parameters(params: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The parameters that differ from the default, `changed`, and the others, `unchanged`."""
    found: dict[str, dict[str, Any]] = {"changed": {}, "unchanged": {}}
    for section, keys in params.items():
        for key, value in keys.items():
            is_default = DEFAULTS.get(section, {}).get(key, value) == value
            found["unchanged" if is_default else "changed"][f"{section}.{key}"] = value
    return found
