"""The Transformer encoder of Vaswani et al. (2017, sections 3.1 to 3.5), as a text classifier.

Scaled dot-product self-attention, multi-head attention, sinusoidal positions, post-norm layers of
attention and feed-forward with residuals, the mean over the tokens that are no padding, and one
logit a class. Attention weights themselves are not dropped out.

Shapes: B texts in a batch, T tokens in the longest, D = d_model, H heads, K = D / H, C classes.
`padding_mask` is (B, T), True where there is padding; None where there is none.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.model.attention import MultiHeadAttention
from sentiformer.model.dropout import Dropout, Share, TokenDropout
from sentiformer.model.embedding import (
    InputSizes,
    NgramEmbedding,
    RegionEmbedding,
    sinusoidal_positions,
)
from sentiformer.model.params import ModelParams
from sentiformer.text.vocab import PAD


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between, at each position alike (section 3.3)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.expand = nn.Linear(d_model, d_ff)
        self.contract = nn.Linear(d_ff, d_model)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.contract(F.relu(self.expand(hidden)))


class EncoderLayer(nn.Module):
    """Attention, then feed-forward; each with a residual, then a layer norm (section 3.1).

    Or the layer norm before each, the residuals without one (Xiong et al. 2020).
    """

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(params.d_model, params.num_heads)
        self.attention_norm = nn.LayerNorm(params.d_model)
        self.feed_forward = FeedForward(params.d_model, params.d_ff)
        self.feed_forward_norm = nn.LayerNorm(params.d_model)
        self.norm_first = params.norm == "pre"
        self.dropout = Dropout(params.dropout)

    def forward(
        self, hidden: Tensor, padding_mask: Tensor | None, share: Share | None = None
    ) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        if self.norm_first:
            attended = self.attention(self.attention_norm(hidden), padding_mask)
            hidden = hidden + self.dropout(attended, share)
            fed = self.feed_forward(self.feed_forward_norm(hidden))
            return hidden + self.dropout(fed, share)
        attended = self.attention(hidden, padding_mask)
        hidden = self.attention_norm(hidden + self.dropout(attended, share))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden), share))


class Encoder(nn.Module):
    """Token ids to a vector a token: embedding, positions, layers.

    Args:
        params: the size.
        inputs: what has a vector.
    """

    positions: Tensor

    def __init__(self, params: ModelParams, inputs: InputSizes) -> None:
        super().__init__()
        words, width = inputs.vocab_size, params.d_model
        self.scale = math.sqrt(width)
        self.embedding = nn.Embedding(words, width, padding_idx=PAD)
        self.pairs = NgramEmbedding(inputs.pairs, words, width) if inputs.pairs else None
        self.triples = NgramEmbedding(inputs.triples, words, width) if inputs.triples else None
        self.regions = RegionEmbedding(words, inputs.regions, width) if inputs.regions else None
        positions = sinusoidal_positions(params.max_len, width)
        self.register_buffer("positions", positions, persistent=False)
        self.dropout = Dropout(params.dropout)
        self.layers = nn.ModuleList(EncoderLayer(params) for _ in range(params.num_layers))
        self.norm = nn.LayerNorm(params.d_model) if params.norm == "pre" else nn.Identity()

    def forward(
        self,
        token_ids: Tensor,
        padding_mask: Tensor | None,
        share: Share | None = None,
        kept: Tensor | None = None,
    ) -> Tensor:
        """(B, T) token ids and padding to (B, T, D); every text has a token.

        Where not all places are kept, but some, (B, T'), padding and result are of those.
        """
        words, positions = token_ids, self.positions[: token_ids.shape[1]]
        if kept is not None:
            words, positions = token_ids.gather(1, kept), positions[kept]
        hidden = self.embedding(words)
        numbers = token_ids
        for ngrams in (self.pairs, self.triples):  # whose first words need not be kept
            if ngrams is not None:
                numbers = ngrams.numbers(numbers, token_ids)
                hidden = hidden + ngrams(numbers, kept)
        hidden = hidden * self.scale + positions
        if self.regions is not None:
            hidden = hidden + self.regions(token_ids, kept)
        hidden = self.dropout(hidden, share)
        for layer in self.layers:
            hidden = layer(hidden, padding_mask, share)
        return self.norm(hidden)


class TransformerClassifier(nn.Module):
    """A text's token ids to one logit a class.

    Args:
        params: the size.
        inputs: what has a vector.
        num_classes: logits.
    """

    def __init__(self, params: ModelParams, inputs: InputSizes, *, num_classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(params, inputs)
        self.token_dropout = TokenDropout(params.token_dropout)
        self.classifier = nn.Linear(params.d_model, num_classes)
        init_weights(self)

    def forward(
        self, token_ids: Tensor, padding_mask: Tensor | None, share: Share | None = None
    ) -> Tensor:
        """(B, T) token ids and (B, T) padding to (B, C) logits."""
        kept, padding_mask = self.token_dropout(token_ids, padding_mask, share)
        hidden = self.encoder(token_ids, padding_mask, share, kept)
        return self.classifier(mean_of_tokens(hidden, padding_mask))


def init_weights(model: nn.Module) -> None:
    """Draw the first weights.

    | weight                 | drawn from                               |
    |------------------------|------------------------------------------|
    | embedding              | normal, deviation 1 / sqrt(D), so that   |
    |                        | scaled by sqrt(D) it is as large as 1    |
    | linear maps            | Xavier uniform                           |
    | biases                 | 0                                        |
    | layer norms            | 1 and 0                                  |
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            with torch.no_grad():
                module.weight.normal_(std=module.embedding_dim**-0.5)[PAD] = 0


def mean_of_tokens(hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
    """The (B, D) mean over each text's own tokens of (B, T, D); padding counts for nothing."""
    if padding_mask is None:
        return hidden.mean(dim=1)
    is_token = (~padding_mask).unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * is_token).sum(dim=1) / is_token.sum(dim=1)
