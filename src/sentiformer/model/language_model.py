"""A masked language model (Devlin et al. 2019, section 3.1).

Shapes: B windows in a batch, T tokens in the longest window, D = d_model, V words, M masked words
in a window at most.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentiformer.model.encoder import Encoder, init_weights
from sentiformer.model.params import InputSizes, ModelParams


class MaskedLanguageModel(nn.Module):
    """The encoder of the classifier, and a head that predicts the masked words.

    The output uses the same word vectors as the input (Press & Wolf 2017).
    """

    def __init__(self, params: ModelParams, inputs: InputSizes) -> None:
        super().__init__()
        self.encoder = Encoder(params, inputs)
        self.transform = nn.Linear(params.d_model, params.d_model)
        self.norm = nn.LayerNorm(params.d_model)
        self.bias = nn.Parameter(torch.zeros(inputs.vocab_size))
        init_weights(self)

    def forward(self, token_ids: Tensor, padding_mask: Tensor | None, places: Tensor) -> Tensor:
        """Return the features of the masked words, (B, M, D).

        `token_ids` and `padding_mask` are as in `Encoder`; `places` are the indices of the masked
        words in their window, (B, M).
        """
        hidden = self.encoder(token_ids, padding_mask)
        starts = torch.arange(0, token_ids.numel(), token_ids.shape[1], device=places.device)
        masked = hidden.flatten(0, 1)[starts[:, None] + places]
        return self.norm(F.gelu(self.transform(masked)))

    def logits(self, features: Tensor, words: Tensor | None = None) -> Tensor:
        """Return the logits of words for (..., D) features.

        The result is (..., V) for all words, or (..., W) if the ids of W `words` are given.
        """
        vectors = self.encoder.embedding.words.weight
        if words is None:
            return F.linear(features, vectors, self.bias)
        return F.linear(features, vectors[words], self.bias[words])
