"""A pretrained encoder of the library transformers as a text classifier.

Shapes: B texts in a batch, T tokens in the longest text, D = width of the encoder, C classes.
`padding_mask` is (B, T) and True at padding. None means that there is no padding.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from sentiformer.encoder.attention import ATTENTION
from sentiformer.model.classifier import TextClassifier, mean_of_tokens
from sentiformer.model.dropout import Dropout

LAYER = re.compile(r"\.(\d+)\.")  # the first number in a weight's name is that of its layer
LAYER_DECAY = 0.9
WEIGHT_DECAY = 0.01

logging.set_verbosity_error()
logging.disable_progress_bar()


class EncoderClassifier(TextClassifier):
    """An encoder, the mean of its vectors over the tokens, and a linear map to C classes.

    The lowest `frozen` layers are not trained, and then the embeddings neither.
    """

    def __init__(self, encoder: PreTrainedModel, num_classes: int, frozen: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.config.hidden_size, num_classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)
        for name, weight in self.named_parameters():
            weight.requires_grad = not frozen or self._depth(name) > frozen

    def forward(self, token_ids: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, T) token ids and their padding mask to (B, C) logits."""
        mask = None if padding_mask is None else (~padding_mask).long()
        hidden = self.encoder(input_ids=token_ids, attention_mask=mask).last_hidden_state
        return self.classifier(mean_of_tokens(hidden, padding_mask))

    def weight_groups(self) -> list[dict[str, Any]]:
        """The trained weights by learning rate and weight decay, for AdamW.

        The rate of each layer is `LAYER_DECAY` times that of the layer above it (Howard & Ruder
        2018, section 3.2). Biases and norms have no weight decay.
        """
        groups: dict[tuple[int, bool], list[Tensor]] = {}
        for name, weight in self.named_parameters():
            if weight.requires_grad:
                groups.setdefault((self._depth(name), weight.dim() > 1), []).append(weight)
        top = self._depth("classifier")
        return [
            {
                "params": weights,
                "lr": 1.0,
                "rate": LAYER_DECAY ** (top - depth),
                "weight_decay": WEIGHT_DECAY if is_matrix else 0.0,
            }
            for (depth, is_matrix), weights in groups.items()
        ]

    def _depth(self, name: str) -> int:
        """The depth of a weight: 0 for embeddings, n for layer n, then other weights, then ours."""
        layers: int = self.encoder.config.num_hidden_layers
        if name.startswith("classifier"):
            return layers + 1
        found = LAYER.search(name)
        return int(found[1]) + 1 if found else 0 if "embed" in name else layers


def read_config(folder: Path, layers: int | None = None) -> PreTrainedConfig:
    """The configuration of a checkpoint, or of its first layers."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    config.chunk_size_feed_forward = 0  # which refuses some lengths
    if layers is not None:
        config.num_hidden_layers = layers
        if kinds := getattr(config, "layer_types", None):
            config.layer_types = kinds[:layers]
    return config


def load_encoder(
    folder: Path, layers: int | None = None, *, weights: bool = True
) -> PreTrainedModel:
    """Load a checkpoint, or only its first layers, in fp32.

    It has our attention, where the model allows it, and our dropout, but no pooling. Without
    `weights` these are to be loaded later.
    """
    config = read_config(folder, layers)
    options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "eager"}
    if weights:
        options |= {"config": config, "use_safetensors": True, "local_files_only": True}
        encoder: PreTrainedModel = AutoModel.from_pretrained(folder, **options)
    else:
        encoder = AutoModel.from_config(config, **options)
    if encoder._supports_attention_backend:
        encoder.set_attn_implementation(ATTENTION)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # type: ignore[assignment]
    for module in list(encoder.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout and "Attention" not in type(module).__name__:
                setattr(module, name, Dropout(child.p))
    return encoder
