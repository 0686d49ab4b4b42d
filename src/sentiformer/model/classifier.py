"""The Transformer as a text classifier.

Shapes: B texts in a batch, T tokens in the longest text, D = d_model, C classes.
`padding_mask` is (B, T) and True at padding. None means that there is no padding.
"""

from torch import Tensor, nn

from sentiformer.model.dropout import TokenDropout
from sentiformer.model.encoder import Encoder, init_weights
from sentiformer.model.params import InputSizes, ModelParams


class TextClassifier(nn.Module):
    """A network of (B, T) token ids and their padding mask to (B, C) logits."""

    classifier: nn.Linear  # its last layer


class TransformerClassifier(TextClassifier):
    """Encoder, mean over the tokens, and a linear map to one logit for each class."""

    def __init__(self, params: ModelParams, inputs: InputSizes, *, num_classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(params, inputs)
        self.token_dropout = TokenDropout(params.token_dropout)
        self.classifier = nn.Linear(params.d_model, num_classes)
        init_weights(self)

    def forward(self, token_ids: Tensor, padding_mask: Tensor | None) -> Tensor:
        """(B, T) token ids and their padding mask to (B, C) logits."""
        kept, padding_mask = self.token_dropout(token_ids, padding_mask)
        hidden = self.encoder(token_ids, padding_mask, kept)
        return self.classifier(mean_of_tokens(hidden, padding_mask))


def mean_of_tokens(hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
    """Return the mean over the tokens of each text, (B, D); padding is left out of it."""
    if padding_mask is None:
        return hidden.mean(dim=1)
    is_token = (~padding_mask).unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * is_token).sum(dim=1) / is_token.sum(dim=1)
