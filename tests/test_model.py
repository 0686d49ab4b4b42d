"""The model against the written formulas and torch's own layers; padding, dropout, n-grams."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sentiformer.core.word_vectors import Vectors
from sentiformer.model.classifier import TransformerClassifier, mean_of_tokens
from sentiformer.model.dropout import Dropout, TokenDropout, part_of_batch
from sentiformer.model.embedding import (
    InputEmbedding,
    NgramEmbedding,
    sinusoidal_positions,
)
from sentiformer.model.encoder import Encoder, EncoderLayer
from sentiformer.model.params import InputSizes, ModelParams
from sentiformer.text.vocab import PAD

# The sizes differ and are mostly primes, so that a swapped axis fails.
BATCH, LENGTH, HEADS, HEAD_SIZE, WORDS, CLASSES = 3, 7, 2, 5, 31, 3
PARAMS = ModelParams(
    d_model=HEADS * HEAD_SIZE,
    num_heads=HEADS,
    num_layers=2,
    d_ff=23,
    dropout=0.5,
    token_dropout=0.0,
    max_len=11,
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


def test_a_known_bigram_has_a_vector_at_its_second_word_and_an_unknown_one_has_zeros():
    layer = NgramEmbedding(3, WORDS, 4)
    layer.keys.copy_(torch.tensor([2 * WORDS + 3, 3 * WORDS + 2, 3 * WORDS + 3]))
    token_ids = torch.tensor([[3, 2, 3, 3, WORDS - 1], [2, 4, 3, 0, 0]])
    numbers = layer.numbers(token_ids, token_ids)
    assert numbers.tolist() == [[0, 2, 1, 3, 0], [0, 0, 0, 0, 0]]
    assert torch.equal(layer(numbers), layer.weight[numbers])
    assert layer.weight[1:].all(dim=1).all()
    assert not layer.weight[0].any()
    one_word = torch.tensor([[5]])
    assert layer.numbers(one_word, one_word).tolist() == [[0]]


def test_a_trigram_continues_a_known_bigram():
    bigrams, trigrams = NgramEmbedding(2, WORDS, 4), NgramEmbedding(2, WORDS, 4)
    bigrams.keys.copy_(torch.tensor([2 * WORDS + 3, 4 * WORDS + 3]))
    trigrams.keys.copy_(torch.tensor([1 * WORDS + 4, 2 * WORDS + 4]))  # 2 3 4 and 4 3 4
    token_ids = torch.tensor([[2, 3, 4, 3, 4, 5, 3, 4]])
    numbers = trigrams.numbers(bigrams.numbers(token_ids, token_ids), token_ids)
    assert numbers.tolist() == [[0, 0, 1, 0, 2, 0, 0, 0]]


def test_before_any_vectors_are_loaded_no_ngram_is_known():
    layer, token_ids = NgramEmbedding(2 * WORDS**2, WORDS, 1), torch.arange(WORDS)[None]
    assert not layer.numbers(token_ids, token_ids).any()


def test_initial_vectors_have_deviation_1_after_scaling_and_padding_and_unknown_have_zeros():
    embedding = make_classifier(pairs=900, triples=900).encoder.embedding
    for table in (embedding.words, embedding.bigrams, embedding.trigrams):
        assert not table.weight[0].any()
        deviation = (table.weight[1:] * embedding.scale).std().item()
        assert deviation == pytest.approx(1, abs=0.2)


def test_the_embedding_adds_the_vectors_of_ngrams_to_those_of_words():
    embedding = InputEmbedding(PARAMS, InputSizes(vocab_size=WORDS, pairs=2, triples=1))
    words, pairs, triples = (torch.randn(n, PARAMS.d_model).numpy() for n in (WORDS, 2, 1))
    keys = torch.tensor([2 * WORDS + 3, 4 * WORDS + 3]), torch.tensor([2 * WORDS + 6])  # 4 3 6
    names = {"words": words, "pairs": pairs, "pair_keys": keys[0].numpy()}
    names |= {"triples": triples, "triple_keys": keys[1].numpy()}
    others = {name: None for name in Vectors._fields if name not in names}
    embedding.load_vectors(Vectors(**names, **others))
    vectors = words[[5, 4, 3, 6]]
    vectors[2] += pairs[1]
    vectors[3] += triples[0]
    expected = torch.from_numpy(vectors) * PARAMS.d_model**0.5
    expected += sinusoidal_positions(4, PARAMS.d_model)
    torch.testing.assert_close(embedding(torch.tensor([[5, 4, 3, 6]]))[0], expected)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_layer_equals_the_layer_of_torch_with_the_same_weights(padding_mask, norm):
    ours = EncoderLayer(PARAMS.model_copy(update={"norm": norm})).eval()
    theirs = nn.TransformerEncoderLayer(
        PARAMS.d_model,
        HEADS,
        PARAMS.d_ff,
        activation="relu",
        batch_first=True,
        norm_first=norm == "pre",
    )
    weights = {
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
    for tensor in weights.values():  # norms and biases at their initial values would hide mistakes
        nn.init.normal_(tensor)
    theirs.load_state_dict(weights)
    hidden = torch.randn(BATCH, LENGTH, PARAMS.d_model)
    expected = theirs.eval()(hidden, src_key_padding_mask=padding_mask)
    tokens = ~padding_mask
    torch.testing.assert_close(ours(hidden, padding_mask)[tokens], expected[tokens])


def test_with_norm_pre_the_output_of_the_last_layer_is_normed():
    encoder = Encoder(
        PARAMS.model_copy(update={"norm": "pre"}), InputSizes(vocab_size=WORDS)
    ).eval()
    hidden = encoder(torch.randint(2, WORDS, (BATCH, LENGTH)), None)
    torch.testing.assert_close(hidden.mean(dim=2), torch.zeros(BATCH, LENGTH), atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden.var(dim=2, correction=0), torch.ones(BATCH, LENGTH))


def test_positions_equal_the_formula():
    table = sinusoidal_positions(13, 6)
    for position in (0, 1, 12):
        for i in range(3):
            angle = position / 10_000 ** (2 * i / 6)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_the_order_of_words_changes_the_logits(model):
    one = torch.tensor([[2, 3, 4, 5]])
    no_padding = torch.zeros(1, 4, dtype=torch.bool)
    assert not torch.allclose(model(one, no_padding), model(one.flip(1), no_padding), atol=1e-4)


def test_the_mean_leaves_padding_out(padding_mask):
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


def test_the_token_ids_of_padding_are_never_read(model, padding_mask):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    other = token_ids.where(~padding_mask, (token_ids + 1) % WORDS)
    torch.testing.assert_close(
        model(token_ids, padding_mask), model(other, padding_mask), atol=1e-5, rtol=0
    )


def test_there_is_one_logit_for_each_class(model, padding_mask):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    assert model(token_ids, padding_mask).shape == (BATCH, CLASSES)


def test_every_weight_gets_a_gradient_except_the_vector_of_padding(model, padding_mask):
    token_ids = torch.arange(BATCH * LENGTH).view(BATCH, LENGTH) % WORDS
    model(token_ids.masked_fill(padding_mask, PAD), padding_mask).square().sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
    assert model.encoder.embedding.words.weight.grad[PAD].abs().sum() == 0


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_drops_the_given_fraction_and_keeps_the_mean(probability):
    drop, ones = Dropout(probability), torch.ones(1001, 997)
    dropped = drop(ones)
    assert (dropped == 0).float().mean().item() == pytest.approx(probability, abs=0.004)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.005)
    assert drop.eval()(ones) is ones


def test_a_probability_near_1_is_rounded_to_255_of_256():
    kept = Dropout(0.999)(torch.ones(99_999))
    assert kept.isfinite().all()
    assert kept.max() == 256


def test_dropout_repeats_with_the_same_seed_and_varies_otherwise():
    drop, ones = Dropout(0.5), torch.ones(999)
    torch.manual_seed(7)
    first, second = drop(ones), drop(ones)
    torch.manual_seed(7)
    assert torch.equal(drop(ones), first)
    assert not torch.equal(first, second)


def test_dropout_of_a_part_equals_dropout_of_the_whole_batch():
    drop, hidden = Dropout(0.5), torch.randn(5, 7, 3)
    torch.manual_seed(7)
    whole = drop(hidden)
    for rows in (slice(0, 5, 2), slice(1, 5, 2), slice(3, 5, 1)):
        torch.manual_seed(7)
        with part_of_batch(rows, 5):
            assert torch.equal(drop(hidden[rows]), whole[rows])


def test_a_part_holds_for_its_thread_and_ends_with_its_context():
    drop, hidden = Dropout(0.5), torch.ones(2, 3)

    def fail_in_a_part():
        with part_of_batch(slice(0, 2), 7):
            assert ThreadPoolExecutor(1).submit(drop, hidden[:1]).result().shape == (1, 3)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_a_part()
    assert drop(hidden[:1]).shape == (1, 3), "the rows of a part would be two"


def test_token_dropout_keeps_the_same_fraction_of_each_text_and_no_padding():
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


def test_token_dropout_of_a_part_equals_token_dropout_of_the_whole_batch():
    drop, token_ids = TokenDropout(0.5), torch.zeros(5, 24)
    padding = torch.arange(24) >= torch.tensor([24, 3, 9, 1, 20])[:, None]
    torch.manual_seed(7)
    whole = drop(token_ids, padding)
    for rows in (slice(0, 5, 2), slice(1, 5, 2)):
        torch.manual_seed(7)
        with part_of_batch(rows, 5):
            part = drop(token_ids[rows], padding[rows])
        assert torch.equal(part[0], whole[0][rows])
        assert torch.equal(part[1], whole[1][rows])


def test_kept_tokens_keep_their_positions_and_ngrams_and_other_tokens_have_no_effect():
    model = make_classifier(pairs=200, triples=200 * WORDS)
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    bigrams, trigrams = model.encoder.embedding.bigrams, model.encoder.embedding.trigrams
    bigrams.keys.copy_(torch.arange(200) + 2 * WORDS)  # those that begin with words 2 to 8
    trigrams.keys.copy_(torch.arange(200 * WORDS) + WORDS)  # any word after these
    numbers = bigrams.numbers(token_ids, token_ids)
    assert numbers.any()
    assert trigrams.numbers(numbers, token_ids).any()
    everything = torch.stack([torch.randperm(LENGTH) for _ in range(BATCH)])
    whole = model.encoder(token_ids, None)
    shuffled = model.encoder(token_ids, None, kept=everything)
    torch.testing.assert_close(shuffled, whole.take_along_dim(everything.unsqueeze(-1), dim=1))
    some, changed = everything[:, :4], token_ids.clone()
    for row, places in enumerate(everything[:, 4:].tolist()):
        for place in places:
            if not {place + 1, place + 2} & set(some[row].tolist()):  # in no kept n-gram
                changed[row, place] = 2 + (token_ids[row, place] - 1) % (WORDS - 2)
    assert not torch.equal(changed, token_ids)
    torch.testing.assert_close(
        model.encoder(token_ids, None, kept=some), model.encoder(changed, None, kept=some)
    )


def test_a_classifier_drops_tokens_only_in_training():
    size = PARAMS.model_copy(update={"dropout": 0.0, "token_dropout": 0.5, "max_len": 48})
    model = TransformerClassifier(size, InputSizes(vocab_size=WORDS), num_classes=CLASSES)
    token_ids = torch.randint(2, WORDS, (BATCH, 48))
    padding = torch.arange(48) >= torch.tensor([48, 20, 1])[:, None]
    first, second = model(token_ids, padding), model(token_ids, padding)
    assert not torch.isclose(first[:2], second[:2]).any()
    torch.testing.assert_close(first[2], second[2])  # its only token is kept
    model.eval()
    torch.testing.assert_close(model(token_ids, padding)[0], model(token_ids[:1], None)[0])


def test_no_padding_mask_equals_a_mask_without_padding(model):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    no_padding = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    torch.testing.assert_close(model(token_ids, None), model(token_ids, no_padding))


def test_the_gradient_is_dropped_and_scaled_like_the_activation():
    hidden = torch.randn(50, requires_grad=True)
    dropped = Dropout(0.5)(hidden)
    dropped.sum().backward()
    torch.testing.assert_close(hidden.grad * hidden, dropped)


def test_the_model_is_deterministic_outside_training(model, padding_mask):
    token_ids = torch.randint(2, WORDS, (BATCH, LENGTH))
    assert torch.equal(model(token_ids, padding_mask), model(token_ids, padding_mask))


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_dropout_follows_attention_and_feed_forward(norm):
    layer = EncoderLayer(PARAMS.model_copy(update={"norm": norm}))
    dropped = []
    layer.dropout.register_forward_hook(lambda module, inputs, output: dropped.append(output))
    layer(torch.randn(2, 5, PARAMS.d_model), None)
    assert len(dropped) == 2
