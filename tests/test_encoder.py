"""Encoders of the library transformers with our attention and dropout, and their fine-tuning."""

import numpy as np
import pytest
import torch
from checkpoints import FAMILIES, make_checkpoint
from transformers import AutoModel

from sentiformer.encoder.attention import ATTENTION
from sentiformer.encoder.network import EncoderClassifier, load_encoder

OURS = set(FAMILIES) - {"mpnet", "deberta-v2"}  # the families that choose their attention by name


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def checkpoint(request, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("checkpoint") / request.param, request.param)


def a_batch(rows=5, length=24):
    rng = np.random.default_rng(0)
    token_ids = torch.from_numpy(rng.integers(10, 60, (rows, length)))
    lengths = torch.tensor([length, 1, 7, length - 1, 12])[:rows]
    return token_ids, torch.arange(length) >= lengths[:, None]


@torch.inference_mode()
def test_outputs_equal_those_of_the_library(checkpoint):
    token_ids, padding = a_batch()
    theirs = AutoModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    ours = load_encoder(checkpoint).eval()
    assert (ours.config._attn_implementation == ATTENTION) == (checkpoint.name in OURS)
    mask = (~padding).long()
    expected = theirs(input_ids=token_ids, attention_mask=mask).last_hidden_state
    found = ours(input_ids=token_ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(found[~padding], expected[~padding], atol=1e-6, rtol=0)


@torch.inference_mode()
def test_padding_and_other_texts_change_nothing(checkpoint):
    torch.manual_seed(0)
    model = EncoderClassifier(load_encoder(checkpoint), 3).eval()
    torch.nn.init.normal_(model.classifier.weight)
    token_ids, padding = a_batch()
    together = model(token_ids, padding)
    for row, length in enumerate((~padding).sum(dim=1).tolist()):
        alone = model(token_ids[row : row + 1, :length], None)
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)
