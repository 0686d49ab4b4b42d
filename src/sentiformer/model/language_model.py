"""A masked language model (Devlin et al. 2019, section 3.1).

Shapes: B windows in a batch, T tokens in the longest, D = d_model, V words, M hidden words in a
window at most.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.model.classifier import Encoder, init_weights
from sentiformer.model.dropout import Share
from sentiformer.model.embedding import InputSizes
from sentiformer.model.params import ModelParams


class MaskedLanguageModel(nn.Module):
    """The encoder of the classifier, and what turns its output into words.

    The vectors that stand for the words in the output are those of the embedding (Press & Wolf
    2017).
    """

    def __init__(self, params: ModelParams, inputs: InputSizes) -> None:
        super().__init__()
        self.encoder = Encoder(params, inputs)
        self.transform = nn.Linear(params.d_model, params.d_model)
        self.norm = nn.LayerNorm(params.d_model)
        self.bias = nn.Parameter(torch.zeros(inputs.vocab_size))
        init_weights(self)

    def forward(
        self,
        token_ids: Tensor,
        padding_mask: Tensor | None,
        places: Tensor,
        share: Share | None = None,
    ) -> Tensor:
        """Features of the hidden words, (B, M, D).

        `token_ids` and the padding are (B, T), `places` (B, M) are those of the hidden words.
        """
        vectors = self.encoder(token_ids, padding_mask, share)
        begins = torch.arange(0, token_ids.numel(), token_ids.shape[1], device=places.device)
        hidden = vectors.flatten(0, 1)[begins[:, None] + places]
        return self.norm(F.gelu(self.transform(hidden)))

    def logits(self, features: Tensor, words: Tensor | None = None) -> Tensor:
        """Features, (..., D), to (..., V), or to (..., W) of these W words alone."""
        vectors = self.encoder.embedding.weight
        if words is None:
            return F.linear(features, vectors, self.bias)
        return F.linear(features, vectors[words], self.bias[words])
