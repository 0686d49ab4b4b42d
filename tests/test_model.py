"""The model against the written formulas, against torch's own layers, and its promises."""

import math

import pytest
import torch
from torch import nn

from sentiformer.model.classifier import (
    Encoder,
    EncoderLayer,
    TransformerClassifier,
    mean_of_tokens,
)
from sentiformer.model.dropout import Dropout, Share, TokenDropout
from sentiformer.model.embedding import (
    InputSizes,
    NgramEmbedding,
    RegionEmbedding,
    sinusoidal_positions,
)
from sentiformer.model.params import ModelParams
from sentiformer.text.vocab import PAD

# Sizes are unlike primes where they can be, so that a swapped axis fails.
BATCH, LENGTH, HEADS, HEAD_SIZE, WORDS, CLASSES = 3, 7, 2, 5, 31, 3
PARAMS = ModelParams(
    d_model=HEADS * HEAD_SIZE,
    num_heads=HEADS,
    num_layers=2,
    d_ff=23,
    dropout=0.5,
    token_dropout=0.0,
    max_len=11,
    truncation="head",
    norm="post",
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def padding_mask() -> torch.Tensor:
    lengths = torch.tensor([LENGTH, 4, 1])
    return torch.arange(LENGTH) >= lengths[:, None]


def make_classifier(**ngrams: int) -> TransformerClassifier:
    inputs = InputSizes(vocab_size=WORDS, **ngrams)
    return TransformerClassifier(PARAMS, inputs, num_classes=CLASSES).eval()


@pytest.fixture
def model() -> TransformerClassifier:
    return make_classifier()


def test_a_known_pair_has_a_vector_at_its_second_word_and_an_unknown_one_none():
    layer = NgramEmbedding(3, WORDS, 4)
    layer.keys.copy_(torch.tensor([2 * WORDS + 3, 3 * WORDS + 2, 3 * WORDS + 3]))
    vectors = layer.embedding.weight.detach()
    token_ids = torch.tensor([[3, 2, 3, 3, WORDS - 1], [2, 4, 3, 0, 0]])
    numbers = layer.numbers(token_ids, token_ids)
    assert numbers.tolist() == [[0, 2, 1, 3, 0], [0, 0, 0, 0, 0]]
    assert torch.equal(layer(numbers), vectors[numbers])
    assert not vectors[0].any()
    one = torch.tensor([[5]])
    assert layer.numbers(one, one).tolist() == [[0]]
    assert layer(layer.numbers(one, one)).shape == (1, 1, 4)


def test_a_triple_goes_on_from_a_known_pair():
    pairs, triples = NgramEmbedding(2, WORDS, 4), NgramEmbedding(2, WORDS, 4)
    pairs.keys.copy_(torch.tensor([2 * WORDS + 3, 4 * WORDS + 3]))
    triples.keys.copy_(torch.tensor([1 * WORDS + 4, 2 * WORDS + 4]))  # 2 3 4 and 4 3 4
    token_ids = torch.tensor([[2, 3, 4, 3, 4, 5, 3, 4]])
    numbers = triples.numbers(pairs.numbers(token_ids, token_ids), token_ids)
    assert numbers.tolist() == [[0, 0, 1, 0, 2, 0, 0, 0]]


def test_the_encoder_adds_the_vectors_of_ngrams_to_those_of_words():
    model = make_classifier(pairs=2, triples=1)
    encoder = model.encoder
    encoder.pairs.keys.copy_(torch.tensor([2 * WORDS + 3, 4 * WORDS + 3]))
    encoder.triples.keys.copy_(torch.tensor([2 * WORDS + 6]))  # 4 3 6
    other = make_classifier()
    other.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():  # as words of their own
        words = other.encoder.embedding.weight
        words[9] = encoder.embedding.weight[3] + encoder.pairs.embedding.weight[2]
        words[8] = encoder.embedding.weight[6] + encoder.triples.embedding.weight[1]
    ngrams, as_words = torch.tensor([[5, 4, 3, 6]]), torch.tensor([[5, 4, 9, 8]])
    torch.testing.assert_close(model(ngrams, None), other(as_words, None))
    assert not torch.allclose(model(ngrams, None), other(ngrams, None))


def test_a_region_is_the_direction_of_what_the_five_words_around_a_token_add_up_to():
    layer = RegionEmbedding(WORDS, 6, 4)
    layer.vectors.normal_()[PAD] = 0
    token_ids = torch.tensor([[5, 4, 3, 6, 9, 2, 7], [8, 3, 2, PAD, PAD, PAD, PAD]])
    found = layer(token_ids)
    for row, place, words in ((0, 3, [4, 3, 6, 9, 2]), (0, 0, [5, 4, 3]), (1, 2, [8, 3, 2])):
        total = layer.vectors[words].sum(dim=0).clamp(min=0)
        region = 0.3 * 6**0.5 * total / total.norm()
        torch.testing.assert_close(found[row, place], layer.project(region))
    kept = torch.tensor([[4, 0], [1, 2]])
    torch.testing.assert_close(layer(token_ids, kept), found.take_along_dim(kept[..., None], dim=1))
    found.sum().backward()
    assert [name for name, _ in layer.named_parameters()] == ["project.weight", "project.bias"]
    assert "vectors" in layer.state_dict(), "it travels with the weights"


def test_the_encoder_adds_regions_of_all_tokens_to_those_that_are_kept():
    model = make_classifier(pairs=2, regions=6)
    layer = model.encoder.regions
    layer.vectors.normal_()[PAD] = 0
    one, other = torch.tensor([[5, 4, 3, 6]]), torch.tensor([[5, 4, 3, 7]])
    far, near = torch.tensor([[0]]), torch.tensor([[1]])
    assert torch.equal(model.encoder(one, None, kept=far), model.encoder(other, None, kept=far))
    changed = model.encoder(one, None, kept=near), model.encoder(other, None, kept=near)
    assert not torch.allclose(*changed), "a word that is dropped still stands there"
    with torch.no_grad():
        layer.project.weight.zero_()
    plain = make_classifier(pairs=2)
    plain.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(model(one, None), plain(one, None))


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_layer_equals_that_of_torch_with_the_same_weights(padding_mask, norm):
    ours = EncoderLayer(PARAMS.model_copy(update={"norm": norm})).eval()
    theirs = nn.TransformerEncoderLayer(
        PARAMS.d_model,
        HEADS,
        PARAMS.d_ff,
        activation="relu",
        batch_first=True,
        norm_first=norm == "pre",
    )
    pairs = {
        "self_attn.in_proj_weight": ours.attention.query_key_value.weight,
        "self_attn.in_proj_bias": ours.attention.query_key_value.bias,
        "self_attn.out_proj.weight": ours.attention.output.weight,
        "self_attn.out_proj.bias": ours.attention.output.bias,
        "linear1.weight": ours.feed_forward.expand.weight,
        "linear1.bias": ours.feed_forward.expand.bias,
        "linear2.weight": ours.feed_forward.contract.weight,
        "linear2.bias": ours.feed_forward.contract.bias,
        "norm1.weight": ours.attention_norm.weight,
        "norm1.bias": ours.attention_norm.bias,
        "norm2.weight": ours.feed_forward_norm.weight,
        "norm2.bias": ours.feed_forward_norm.bias,
    }
    for tensor in pairs.values():  # norms and biases at their first values would hide mistakes
        nn.init.normal_(tensor)
    theirs.load_state_dict(pairs)
    hidden = torch.randn(BATCH, LENGTH, PARAMS.d_model)
    expected = theirs.eval()(hidden, src_key_padding_mask=padding_mask)
    tokens = ~padding_mask
    torch.testing.assert_close(ours(hidden, padding_mask)[tokens], expected[tokens])


def test_what_layers_without_a_norm_behind_them_give_is_normed_at_the_end():
    encoder = Encoder(
        PARAMS.model_copy(update={"norm": "pre"}), InputSizes(vocab_size=WORDS)
    ).eval()
    hidden = encoder(torch.randint(2, WORDS, (BATCH, LENGTH)), None)
    torch.testing.assert_close(hidden.mean(dim=2), torch.zeros(BATCH, LENGTH), atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden.var(dim=2, correction=0), torch.ones(BATCH, LENGTH))


def test_positions_are_those_of_the_formula():
    table = sinusoidal_positions(13, 6)
    for position in (0, 1, 12):
        for pair in range(3):
            angle = position / 10_000 ** (2 * pair / 6)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_order_of_words_matters(model):
    one = torch.tensor([[2, 3, 4, 5]])
    no_padding = torch.zeros(1, 4, dtype=torch.bool)
    assert not torch.allclose(model(one, no_padding), model(one.flip(1), no_padding), atol=1e-4)


def test_mean_leaves_padding_out(padding_mask):
    hidden = torch.randn(BATCH, LENGTH, 5)
    by_hand = [row[~mask].mean(dim=0) for row, mask in zip(hidden, padding_mask, strict=True)]
    torch.testing.assert_close(mean_of_tokens(hidden, padding_mask), torch.stack(by_hand))


def test_padding_changes_no_logit(model, padding_mask):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH)).masked_fill(padding_mask, PAD)
    together = model(token_ids, padding_mask)
    for row in range(BATCH):
        length = int((~padding_mask[row]).sum())
        alone = model(token_ids[row : row + 1, :length], padding_mask[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


def test_what_stands_in_the_padding_is_never_read(model, padding_mask):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    other = token_ids.where(~padding_mask, (token_ids + 1) % WORDS)
    torch.testing.assert_close(
        model(token_ids, padding_mask), model(other, padding_mask), atol=1e-5, rtol=0
    )


def test_one_logit_a_class(model, padding_mask):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    assert model(token_ids, padding_mask).shape == (BATCH, CLASSES)


def test_every_weight_gets_a_gradient_but_that_of_padding(model, padding_mask):
    token_ids = torch.arange(BATCH * LENGTH).view(BATCH, LENGTH) % WORDS
    model(token_ids.masked_fill(padding_mask, PAD), padding_mask).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
    assert model.encoder.embedding.weight.grad[PAD].abs().sum() == 0


@pytest.fixture(params=[False, True], ids=["as it is", "compiled"])
def _compiling(request, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: request.param)


@pytest.mark.usefixtures("_compiling")
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(probability):
    drop, ones = Dropout(probability), torch.ones(1001, 997)
    dropped = drop(ones)
    assert (dropped == 0).float().mean().item() == pytest.approx(probability, abs=0.004)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.005)
    assert drop.eval()(ones) is ones


def test_of_all_but_everything_dropout_leaves_what_a_byte_can_say():
    kept = Dropout(0.999)(torch.ones(99_999))
    assert kept.isfinite().all()
    assert kept.max() == 256


@pytest.mark.usefixtures("_compiling")
def test_dropout_repeats_with_its_seed_and_varies_without():
    drop, ones = Dropout(0.5), torch.ones(999)
    torch.manual_seed(7)
    first, second = drop(ones), drop(ones)
    torch.manual_seed(7)
    assert torch.equal(drop(ones), first)
    assert not torch.equal(first, second)


@pytest.mark.usefixtures("_compiling")
def test_dropout_of_a_share_is_that_of_the_whole_batch():
    drop, hidden = Dropout(0.5), torch.randn(5, 7, 3)
    torch.manual_seed(7)
    whole = drop(hidden)
    for rows in (slice(0, 5, 2), slice(1, 5, 2), slice(3, 5, 1)):
        torch.manual_seed(7)
        assert torch.equal(drop(hidden[rows], Share(rows, 5)), whole[rows])


def test_token_dropout_keeps_a_share_of_each_text_and_no_padding():
    drop, lengths = TokenDropout(0.6), torch.tensor([100, 50, 7, 1])
    padding = torch.arange(100) >= lengths[:, None]
    kept, is_padding = drop(torch.zeros(4, 100), padding)
    assert is_padding.shape == kept.shape == (4, 40)
    assert (~is_padding).sum(dim=1).tolist() == [40, 20, 3, 1]
    for row, length in enumerate(lengths.tolist()):
        places = kept[row][~is_padding[row]].tolist()
        assert len(set(places)) == len(places)
        assert max(places) < length
    everything, none = drop(torch.zeros(200, 100), None)
    assert none is None
    often = torch.bincount(everything.flatten(), minlength=100)
    assert often.sum() == 200 * 40
    assert often.min() > 40
    assert drop.eval()(torch.zeros(4, 100), padding) == (None, padding)


def test_token_dropout_of_a_share_is_that_of_the_whole_batch():
    drop, token_ids = TokenDropout(0.5), torch.zeros(5, 24)
    padding = torch.arange(24) >= torch.tensor([24, 3, 9, 1, 20])[:, None]
    torch.manual_seed(7)
    whole = drop(token_ids, padding)
    for rows in (slice(0, 5, 2), slice(1, 5, 2)):
        torch.manual_seed(7)
        part = drop(token_ids[rows], padding[rows], Share(rows, 5))
        assert torch.equal(part[0], whole[0][rows])
        assert torch.equal(part[1], whole[1][rows])


def test_tokens_that_are_kept_keep_their_positions_and_ngrams_and_others_do_not_count():
    model = make_classifier(pairs=200, triples=200 * WORDS)
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    pairs, triples = model.encoder.pairs, model.encoder.triples
    pairs.keys.copy_(torch.arange(200) + 2 * WORDS)  # those that begin with few words
    triples.keys.copy_(torch.arange(200 * WORDS) + WORDS)  # whatever follows these
    numbers = pairs.numbers(token_ids, token_ids)
    assert numbers.any()
    assert triples.numbers(numbers, token_ids).any()
    everything = torch.stack([torch.randperm(LENGTH) for _ in range(BATCH)])
    whole = model.encoder(token_ids, None)
    shuffled = model.encoder(token_ids, None, kept=everything)
    torch.testing.assert_close(shuffled, whole.take_along_dim(everything.unsqueeze(-1), dim=1))
    some, changed = everything[:, :4], token_ids.clone()
    for row, places in enumerate(everything[:, 4:].tolist()):
        for place in places:
            if not {place + 1, place + 2} & set(some[row].tolist()):  # in no n-gram of one kept
                changed[row, place] = 2 + (token_ids[row, place] - 1) % (WORDS - 2)
    assert not torch.equal(changed, token_ids)
    torch.testing.assert_close(
        model.encoder(token_ids, None, kept=some), model.encoder(changed, None, kept=some)
    )


def test_a_classifier_drops_tokens_while_it_trains_alone():
    size = PARAMS.model_copy(update={"dropout": 0.0, "token_dropout": 0.5, "max_len": 48})
    model = TransformerClassifier(size, InputSizes(vocab_size=WORDS), num_classes=CLASSES)
    token_ids = torch.randint(2, WORDS, (BATCH, 48))
    padding = torch.arange(48) >= torch.tensor([48, 20, 1])[:, None]
    first, second = model(token_ids, padding), model(token_ids, padding)
    assert not torch.isclose(first[:2], second[:2]).any()
    torch.testing.assert_close(first[2], second[2])  # its only token is kept
    model.eval()
    torch.testing.assert_close(model(token_ids, padding)[0], model(token_ids[:1], None)[0])


def test_no_padding_is_the_same_as_a_mask_that_hides_nothing(model):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    nothing = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    torch.testing.assert_close(model(token_ids, None), model(token_ids, nothing))


def test_dropout_is_undone_in_the_gradient():
    hidden = torch.randn(50, requires_grad=True)
    dropped = Dropout(0.5)(hidden)
    dropped.sum().backward()
    torch.testing.assert_close(hidden.grad * hidden, dropped)


def test_model_is_deterministic_when_judging(model, padding_mask):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    assert torch.equal(model(token_ids, padding_mask), model(token_ids, padding_mask))
