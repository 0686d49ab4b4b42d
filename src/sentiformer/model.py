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

from sentiformer.attention import MultiHeadAttention
from sentiformer.config import ModelParams
from sentiformer.dropout import Dropout, Share
from sentiformer.vocab import PAD


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """The (T, D) table of positions: sines in even columns, cosines in odd (section 3.5)."""
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, d_model, 2).double() * (-math.log(10_000.0) / d_model))
    angles = position * frequency  # (T, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


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


class PairEmbedding(nn.Module):
    """A vector for each known pair of consecutive words, as fastText has (Joulin et al. 2017).

    Args:
        pairs: how many are known, N.
        vocab_size: words, V.
        d_model: D.
    """

    keys: Tensor  # (N,) rising: a pair's first word times V, plus its second

    def __init__(self, pairs: int, vocab_size: int, d_model: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.register_buffer("keys", torch.arange(pairs))
        self.embedding = nn.Embedding(1 + pairs, d_model, padding_idx=PAD)  # 0: an unknown pair

    def forward(self, token_ids: Tensor) -> Tensor:
        """(B, T) to (B, T, D): the pair that ends at each token; 0 where it is unknown."""
        found = token_ids[:, :-1] * self.vocab_size + token_ids[:, 1:]
        places = torch.searchsorted(self.keys, found).clamp_max(len(self.keys) - 1)
        numbers = (places + 1).where(self.keys[places] == found, 0)
        return self.embedding(F.pad(numbers, (1, 0)))


class Encoder(nn.Module):
    """Token ids to a vector a token: embedding, positions, layers.

    Args:
        params: the size.
        vocab_size: words, the specials included.
        pairs: pairs of words that have a vector of their own.
    """

    positions: Tensor

    def __init__(self, params: ModelParams, vocab_size: int, pairs: int = 0) -> None:
        super().__init__()
        self.scale = math.sqrt(params.d_model)
        self.embedding = nn.Embedding(vocab_size, params.d_model, padding_idx=PAD)
        self.pairs = PairEmbedding(pairs, vocab_size, params.d_model) if pairs else None
        positions = sinusoidal_positions(params.max_len, params.d_model)
        self.register_buffer("positions", positions, persistent=False)
        self.dropout = Dropout(params.dropout)
        self.layers = nn.ModuleList(EncoderLayer(params) for _ in range(params.num_layers))
        self.norm = nn.LayerNorm(params.d_model) if params.norm == "pre" else nn.Identity()

    def forward(
        self,
        token_ids: Tensor,
        padding_mask: Tensor | None,
        share: Share | None = None,
        shift: Tensor | None = None,
    ) -> Tensor:
        """(B, T) token ids and (B, T) padding to (B, T, D); every text has a token.

        A shift, (B, T, D), is added to the vectors of the words.
        """
        hidden = self.embedding(token_ids)
        if self.pairs is not None:
            hidden = hidden + self.pairs(token_ids)
        if shift is not None:
            hidden = hidden + shift
        hidden = hidden * self.scale + self.positions[: token_ids.shape[1]]
        hidden = self.dropout(hidden, share)
        for layer in self.layers:
            hidden = layer(hidden, padding_mask, share)
        return self.norm(hidden)


class TransformerClassifier(nn.Module):
    """A text's token ids to one logit a class.

    Args:
        params: the size.
        vocab_size: words, the specials included.
        num_classes: logits.
        pairs: pairs of words that have a vector of their own.
    """

    def __init__(
        self, params: ModelParams, *, vocab_size: int, num_classes: int, pairs: int = 0
    ) -> None:
        super().__init__()
        self.encoder = Encoder(params, vocab_size, pairs)
        self.classifier = nn.Linear(params.d_model, num_classes)
        init_weights(self)

    def forward(
        self,
        token_ids: Tensor,
        padding_mask: Tensor | None,
        share: Share | None = None,
        shift: Tensor | None = None,
    ) -> Tensor:
        """(B, T) token ids and (B, T) padding to (B, C) logits; shift as of the encoder."""
        hidden = self.encoder(token_ids, padding_mask, share, shift)
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
