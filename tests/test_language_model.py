"""Masked language modelling: which words are masked, the loss, and the texts it learns from."""

import csv
import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import RUNTIME, NoTracker, classifier, language_model, tiny_params, train
from safetensors.torch import load_file, save_file

from sentiformer.core.errors import UserError
from sentiformer.core.names import PRETRAINING_SPLITS
from sentiformer.model.dropout import part_of_batch
from sentiformer.model.language_model import MaskedLanguageModel
from sentiformer.model.params import InputSizes
from sentiformer.text.corpus import Block, Corpus, write_corpus
from sentiformer.text.vocab import UNKNOWN, count_words
from sentiformer.training import language_modeling, masked_words
from sentiformer.training.checkpoint import Checkpoint
from sentiformer.training.inputs import Inputs
from sentiformer.training.masked_words import MASKED_FRACTION, NOT_MASKED, MaskedWordLoss, Windows
from sentiformer.training.pretrain import pretrain
from sentiformer.training.run import run_with_checkpoints

SIZE = tiny_params(model={"d_model": 8, "d_ff": 16, "dropout": 0.0, "max_len": 8}).model
WORDS = 40


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Two splits as one corpus, for small windows.

    Each token has a type id of its own, and some texts are empty.
    """
    monkeypatch.setattr(masked_words, "WINDOW", 8)
    monkeypatch.setattr(masked_words, "BATCH_WINDOWS", 4)
    paths, begin = [tmp_path / "one.arrow", tmp_path / "two.arrow"], 0
    for path, lengths in zip(paths, ([20, 0, 8, 1], [0, 9, 17]), strict=True):
        ids = np.arange(begin, begin + sum(lengths))
        begin += sum(lengths)
        write_corpus(path, [Block(ids, np.array(lengths), np.zeros(len(lengths)))])
    return Corpus(*paths)


def windows(corpus, seed=1):
    return Windows(corpus, np.arange(2, 57, dtype=np.int32), seed)


def unmasked(batch):
    """The words of each window before masking."""
    given = batch.token_ids.gather(1, batch.places)
    words = given.where(batch.labels == NOT_MASKED, batch.labels)
    words = batch.token_ids.scatter(1, batch.places, words)
    padding = torch.zeros_like(words, dtype=torch.bool)
    padding = padding if batch.padding_mask is None else batch.padding_mask
    return [row[~mask].tolist() for row, mask in zip(words, padding, strict=True)]


def test_an_epoch_holds_every_token_once_in_windows_of_one_text(corpus):
    made = windows(corpus)
    batches = list(made.epoch(1))
    assert len(batches) == len(made)
    pieces = [piece for batch in batches for piece in unmasked(batch)]
    assert sorted(word for piece in pieces for word in piece) == list(range(2, 57))
    ends = {2 + end for end in np.cumsum([20, 8, 1, 9, 17])}
    for piece in pieces:
        assert 0 < len(piece) <= 8
        assert piece == list(range(piece[0], piece[-1] + 1)), "a run of tokens"
        assert not ends & set(piece[1:]), "that ends with its text"


def test_masked_words_are_unknown_in_the_input_and_the_labels(corpus):
    batches = [batch for epoch in range(50) for batch in windows(corpus).epoch(epoch)]
    for batch in batches:
        given = batch.token_ids.gather(1, batch.places)
        assert torch.equal(given == UNKNOWN, batch.labels != NOT_MASKED)
        lengths = [len(words) for words in unmasked(batch)]
        masked = [math.ceil(length * MASKED_FRACTION) for length in lengths]
        assert (batch.token_ids == UNKNOWN).sum(dim=1).tolist() == masked, "no other is unknown"
    places = {place for batch in batches for place in batch.places.flatten().tolist()}
    assert places == set(range(8))


@pytest.mark.parametrize("length", [100, 103])
def test_padding_does_not_change_the_number_of_masked_words(tmp_path, length):
    ids = np.arange(100 + length, dtype=np.int32)
    lengths = np.array([100, length])
    write_corpus(tmp_path / "a.arrow", [Block(ids, lengths, np.zeros(2))])
    (batch,) = Windows(Corpus(tmp_path / "a.arrow"), ids + 2, 1).epoch(1)
    masked = (batch.labels != NOT_MASKED).sum(dim=1).tolist()
    assert sorted(masked) == [15, 15 if length == 100 else 16]


def test_unknown_words_and_padding_are_never_masked(corpus):
    ids = np.full(55, UNKNOWN, dtype=np.int32)
    for batch in Windows(corpus, ids, 1).epoch(1):
        assert (batch.labels == NOT_MASKED).all()


def test_batches_depend_on_seed_and_epoch_alone_and_can_be_skipped(corpus):
    def ids(epoch=1, skip=0, seed=1):
        return [b.token_ids.tolist() for b in windows(corpus, seed=seed).epoch(epoch, skip=skip)]

    assert ids() == ids()
    assert ids()[2:] == ids(skip=2)
    assert ids() != ids(seed=2)
    assert ids() != ids(epoch=2)


def test_evaluation_masks_the_same_words_each_time(corpus):
    first, second = (list(windows(corpus, seed=seed).in_order_of_length()) for seed in (1, 2))
    assert [b.labels.tolist() for b in first] == [b.labels.tolist() for b in second]


def make_loss():
    torch.manual_seed(0)
    model = MaskedLanguageModel(SIZE, InputSizes(vocab_size=WORDS))
    torch.nn.init.normal_(model.bias)
    return MaskedWordLoss(model, np.array([0, 0, *range(1, WORDS - 1)]))


def full_loss(masked_loss, batch):
    """The sum over the masked words; the softmax is over all words except the special tokens."""
    masked = batch.labels != NOT_MASKED
    features = masked_loss.model(batch.token_ids, batch.padding_mask, batch.places)
    logits = masked_loss.model.logits(features[masked])
    logits[:, :2] = -math.inf
    return torch.nn.functional.cross_entropy(logits, batch.labels[masked], reduction="sum").item()


def batch_of(corpus):
    ids = (np.arange(55, dtype=np.int32) % (WORDS - 2)) + 2
    return next(Windows(corpus, ids, 1).epoch(1))


def loss_of(masked_loss, batch, rows=slice(None)):
    rows = slice(*rows.indices(len(batch.rows)))
    with part_of_batch(rows, len(batch.rows)):
        return masked_loss.loss(batch.take(rows), batch)


def test_the_sampled_loss_is_near_that_of_all_words(corpus, monkeypatch):
    monkeypatch.setattr(masked_words, "NEGATIVES", 200_000)
    masked_loss, batch = make_loss(), batch_of(corpus)
    masked = (batch.labels != NOT_MASKED).sum()
    expected = full_loss(masked_loss, batch) / masked
    assert loss_of(masked_loss, batch).item() == pytest.approx(expected.item(), rel=0.02)


def test_evaluation_is_over_all_words(corpus):
    masked_loss, batch = make_loss(), batch_of(corpus)
    loss, right, count = masked_loss.evaluate(batch).tolist()
    assert count == (batch.labels != NOT_MASKED).sum()
    assert 0 <= right <= count
    assert loss == pytest.approx(full_loss(masked_loss, batch))


def test_every_weight_gets_a_gradient(corpus):
    masked_loss = make_loss()
    loss_of(masked_loss, batch_of(corpus)).backward()
    for name, weight in masked_loss.model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


def test_shares_of_a_batch_add_up_to_its_loss(corpus):
    masked_loss, batch = make_loss(), batch_of(corpus)
    losses = []
    for rows in (slice(None), slice(0, None, 2), slice(1, None, 2)):
        torch.manual_seed(1)
        losses.append(loss_of(masked_loss, batch, rows).item())
    assert losses[0] == pytest.approx(losses[1] + losses[2], abs=1e-5)


def test_a_batch_without_a_masked_word_has_loss_0(corpus):
    masked_loss, batch = make_loss(), batch_of(corpus)
    nothing = batch._replace(labels=torch.full_like(batch.labels, NOT_MASKED))
    assert loss_of(masked_loss, nothing).item() == 0


def test_counts_of_words_leave_special_tokens_out(corpus):
    ids = np.array([UNKNOWN, 2, 2, *[3] * 52], dtype=np.int32)
    assert count_words(corpus, ids, 5).tolist() == [0, 0, 2, 52, 0]


def pretraining(data, **changes):
    return language_model(tiny_params(pretrain=changes), data)


def test_it_learns_which_words_occur_where(data, monkeypatch):
    monkeypatch.setattr(language_modeling, "LEARNING_RATE", 0.01)
    monkeypatch.setattr(masked_words, "BATCH_WINDOWS", 16)
    events = list(pretraining(data, epochs=3).training.run())
    losses = [event.valid_loss for event in events if hasattr(event, "valid_loss")]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * math.log(60)


def test_the_epoch_with_the_lowest_perplexity_is_kept(data, tmp_path, monkeypatch):
    setup = pretraining(data, epochs=3)
    results = iter([(3.0, 0.1), (2.0, 0.2), (2.5, 0.3)])  # loss, accuracy
    monkeypatch.setattr(setup.training, "evaluate", lambda _: next(results))
    train(setup, tmp_path / "data" / "pretrained")
    assert setup.training.best().epoch == 2
    written = json.loads((tmp_path / "data/pretrained/metrics.json").read_text())
    assert written == {"perplexity": pytest.approx(math.exp(2), abs=1e-5), "accuracy": 0.2}


def test_a_pretraining_of_0_epochs_imports_no_torch():
    code = "import sys, pipeline.pretrain; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_reads_no_test_text_and_learns_from_train_alone(data, tmp_path):
    """Without the file of test the bits are the same, and the tokens are those of train."""
    assert set(PRETRAINING_SPLITS) == {"train", "unlabeled"}
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "tokens" / "test.arrow").unlink()
    training = pretraining(folder).training
    list(training.run())
    weights = training.best_weights()
    expected = load_file(data / "pretrained" / "model.safetensors")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    train = Corpus(data / "tokens" / "train.arrow")
    assert sum(event.tokens for event in training.steps) == train.lengths.sum()


def test_a_validation_without_a_known_word_is_one_line(data, tmp_path):
    tokens = shutil.copytree(data, tmp_path / "data") / "tokens"
    ids = Inputs(data).ids_of_types
    unknown = np.flatnonzero(ids == UNKNOWN)
    write_corpus(
        tokens / "validation.arrow", [Block(unknown, np.array([len(unknown)]), np.array([0]))]
    )
    with pytest.raises(
        UserError, match=r"no text of validation has .* 60 words.*max_size"
    ) as error:
        pretraining(tokens.parent)
    assert "\n" not in str(error.value)


def test_unused_parameters_do_not_change_its_config(data):
    setups = [
        language_model(tiny_params(model=changes), data)
        for changes in ({}, {"token_dropout": 0.1, "dropout": 0.3, "max_len": 9})
    ]
    assert setups[0].about == setups[1].about


def test_stopped_it_resumes_to_the_same_bits(data, tmp_path):
    checkpoint = Checkpoint(tmp_path, "pretrain", "key")
    events = run_with_checkpoints(pretraining(data).training, checkpoint, seconds=0)
    for _ in range(2):
        next(events)
    events.close()
    training = pretraining(data).training
    list(run_with_checkpoints(training, checkpoint, seconds=0))
    expected = load_file(data / "pretrained" / "model.safetensors")
    weights = training.best_weights()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def first_weights(data):
    return classifier(tiny_params(), data).training.model.state_dict()


def test_a_classifier_begins_with_the_language_model(data, tmp_path):
    weights = first_weights(data)
    expected = load_file(data / "pretrained" / "model.safetensors")
    shared = [name for name in expected if name.startswith("encoder.")]
    assert len(shared) > 5
    assert all(torch.equal(weights[name], expected[name]) for name in shared)


def test_without_a_language_model_it_begins_with_word_vectors_and_without_those_at_random(
    data, tmp_path
):
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "pretrained" / "config.json").write_text('{"params": {"pretrain": {"epochs": 0}}}')
    vectors = load_file(folder / "word_vectors" / "word_vectors.safetensors")
    weights = first_weights(folder)
    assert torch.equal(weights["encoder.embedding.words.weight"], vectors["words"])
    for kind, one, many in (("bigrams", "pair", "pairs"), ("trigrams", "triple", "triples")):
        assert torch.equal(weights[f"encoder.embedding.{kind}.keys"], vectors[f"{one}_keys"])
        assert torch.equal(weights[f"encoder.embedding.{kind}.weight"][1:], vectors[many])
        assert not weights[f"encoder.embedding.{kind}.weight"][0].any(), "unknown: adds nothing"
    (folder / "word_vectors" / "config.json").write_text(
        '{"params": {"word_vectors": {"window": 0}}, "pairs": 0, "triples": 0}'
    )
    weights = first_weights(folder)
    assert not torch.equal(weights["encoder.embedding.words.weight"], vectors["words"])
    assert not any("grams" in name for name in weights)


def test_a_language_model_of_another_size_is_one_line(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data")
    path = folder / "pretrained" / "model.safetensors"
    weights = load_file(path)
    save_file({name: t for name, t in weights.items() if "layers" not in name}, path)
    with pytest.raises(UserError, match=r"pretrained/model.safetensors .*pretrain") as error:
        first_weights(folder)
    assert "\n" not in str(error.value)


def test_perplexities_are_written_for_dvc_and_none_where_there_is_no_epoch(data, tmp_path):
    lines = (data / "pretrained" / "perplexity.csv").read_text().splitlines()
    (row,) = csv.DictReader(lines)
    about = json.loads((data / "pretrained" / "config.json").read_text())
    assert float(row["perplexity"]) == pytest.approx(math.exp(about["best"]["valid_loss"]))
    params = tiny_params(pretrain={"epochs": 0})
    output = tmp_path / "pretrained"
    pretrain(params.model, params.pretrain, "auto", RUNTIME, output=output, tracker=NoTracker())
    names = {path.name for path in (tmp_path / "pretrained").iterdir()}
    names_of_tables = {"metrics.json", "perplexity.csv", "steps.csv"}
    assert names == {"config.json", "files.json", *names_of_tables}
    assert (tmp_path / "pretrained" / "perplexity.csv").read_text() == "epoch,perplexity\n"
    assert not (tmp_path / "checkpoints").exists()
