"""The attention of a network on a text, to look at. It does not explain a prediction.

Attention says which vectors a layer mixes, but not what the result decides (Jain & Wallace 2019).
"""

from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from sentiformer.serving.explain import owners
from sentiformer.serving.predictor import Prediction, replace_surrogates
from sentiformer.serving.token_spans import as_written, token_spans, without_line_breaks
from sentiformer.serving.trained_model import AnyClassifier, FinetunedClassifier


class Attention(BaseModel):
    """The attention that each token of a text receives.

    Attributes:
        tokens: in the spelling of the text.
        spaces: whether white space follows each token.
        shares: of the attention, the mean over layers, heads and attending tokens; their sum is 1.
            Tokens that are not read, and an encoder's tokens at start and end, have none.
        prediction: the class of the text, and its probabilities.
    """

    tokens: list[str]
    spaces: list[bool]
    shares: list[float]
    prediction: Prediction


@torch.no_grad()
def attention(
    classifier: AnyClassifier[Any], text: str | None, tokens: list[str], prediction: Prediction
) -> Attention:
    """Look at the attention on a text; `tokens` are spaCy's. The n-gram model has none."""
    line = without_line_breaks(replace_surrogates(text or ""))
    spans = token_spans(line, tokens)
    written, spaces = as_written(line, spans)
    if not tokens:
        return Attention(tokens=[], spaces=[], shares=[], prediction=prediction)
    (ids,), _ = classifier.read([line], [tokens])
    read = _of_encoder if isinstance(classifier, FinetunedClassifier) else _of_transformer
    layers = read(classifier, torch.from_numpy(ids).long().to(classifier.device)[None])
    received = torch.cat(layers).double().mean(dim=(0, 1, 2)).cpu().numpy()
    shares = received @ owners(classifier, line, spans)
    shares = (shares / shares.sum()).tolist()
    return Attention(tokens=written, spaces=spaces, shares=shares, prediction=prediction)


def _of_transformer(classifier: Any, ids: Tensor) -> list[Tensor]:
    """The attention weights of each layer, (1, H, T, T)."""
    found: list[Tensor] = []
    encoder = classifier.model.encoder
    hidden = encoder.embedding(ids)
    for layer in encoder.layers:
        attention = layer.attention
        read = layer.attention_norm(hidden) if layer.norm_first else hidden
        query, key, _ = attention.query_key_value(read).chunk(3, dim=-1)
        heads = [t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (query, key)]
        scores = heads[0] @ heads[1].mT / heads[0].shape[-1] ** 0.5
        found.append(scores.softmax(dim=-1))
        hidden = layer(hidden, None)
    return found


def _of_encoder(classifier: Any, ids: Tensor) -> list[Tensor]:
    """The same of an encoder, which computes them only in its own, slower attention."""
    encoder = classifier.model.encoder
    usual = encoder.config._attn_implementation
    encoder.set_attn_implementation("eager")
    try:
        found = encoder(input_ids=ids, output_attentions=True).attentions
    finally:
        encoder.set_attn_implementation(usual)
    return list(found)
