"""The Transformer encoder (Vaswani et al. 2017, sections 3.1 to 3.5).

Attention weights have no dropout. Shapes: B texts in a batch, T tokens in the longest text,
D = d_model. `padding_mask` is (B, T) and True at padding. None means that there is no padding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.model.attention import MultiHeadAttention
from sentiformer.model.dropout import Dropout
from sentiformer.model.embedding import InputEmbedding
from sentiformer.model.params import InputSizes, ModelParams


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between them, the same at each position (section 3.3)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.expand = nn.Linear(d_model, d_ff)
        self.contract = nn.Linear(d_ff, d_model)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.contract(F.relu(self.expand(hidden)))


class EncoderLayer(nn.Module):
    """Attention, then feed-forward, each with dropout and a residual connection (section 3.1).

    The layer norm comes after each residual connection (`norm: post`), or before attention and
    feed-forward (`norm: pre`; Xiong et al. 2020).
    """

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(params.d_model, params.num_heads)
        self.attention_norm = nn.LayerNorm(params.d_model)
        self.feed_forward = FeedForward(params.d_model, params.d_ff)
        self.feed_forward_norm = nn.LayerNorm(params.d_model)
        self.dropout = Dropout(params.dropout)
        self.norm_first = params.norm == "pre"

    def forward(self, hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        if self.norm_first:
            attended = self.attention(self.attention_norm(hidden), padding_mask)
            hidden = hidden + self.dropout(attended)
            return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, padding_mask)))
        return self.feed_forward_norm(hidden + self.dropout(self.feed_forward(hidden)))


class Encoder(nn.Module):
    """Token ids to one vector for each token: embedding, then layers."""

    def __init__(self, params: ModelParams, inputs: InputSizes) -> None:
        super().__init__()
        self.embedding = InputEmbedding(params, inputs)
        self.dropout = Dropout(params.dropout)
        self.layers = nn.ModuleList(EncoderLayer(params) for _ in range(params.num_layers))
        self.norm = nn.LayerNorm(params.d_model) if params.norm == "pre" else nn.Identity()

    def forward(
        self, token_ids: Tensor, padding_mask: Tensor | None, kept: Tensor | None = None
    ) -> Tensor:
        """(B, T) token ids to (B, T, D) vectors; every text needs at least one token.

        `kept`, (B, T'), are the indices of the tokens that token dropout kept. If it is given, the
        padding mask is (B, T'), and the result has the vectors of these tokens only, (B, T', D).
        """
        hidden = self.dropout(self.embedding(token_ids, kept))
        for layer in self.layers:
            hidden = layer(hidden, padding_mask)
        return self.norm(hidden)


def init_weights(model: nn.Module) -> None:
    """Draw the initial weights.

    | weight      | distribution                                                              |
    |-------------|---------------------------------------------------------------------------|
    | embeddings  | normal, standard deviation 1 / sqrt(D), so that vectors that are          |
    |             | multiplied by sqrt(D) have deviation 1; 0 for padding and unknown n-grams |
    | linear maps | Xavier uniform; biases are 0                                              |
    | layer norms | weights are 1 and biases are 0                                            |
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            with torch.no_grad():
                module.weight.normal_(std=module.embedding_dim**-0.5)[module.padding_idx] = 0
