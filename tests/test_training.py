"""The loop: it learns, repeats to the bit, resumes to the bit, and stops when it should."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import tiny_params

from sentiformer.core.device import prepare_device
from sentiformer.core.errors import UserError
from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.core.runtime import Runtime
from sentiformer.model.classifier import TransformerClassifier
from sentiformer.model.params import InputSizes
from sentiformer.text.corpus import Block, Corpus, write_corpus
from sentiformer.training import optimizers
from sentiformer.training.batching import TextBatches
from sentiformer.training.distributed import Group
from sentiformer.training.loop import Settings, Training
from sentiformer.training.losses import ClassificationLoss, balanced_weights
from sentiformer.training.params import TrainParams
from sentiformer.training.step import divide

MODEL = tiny_params(model={"max_len": 16}).model
TRAIN = TrainParams(
    seed=1,
    epochs=3,
    patience=3,
    batch_size=16,
    optimizer="adam",
    learning_rate=0.01,
    word_dropout=0.1,
    class_weights=None,
    precision="fp32",
)
SEED = 1_000_003  # of the first step


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Texts of class 1 hold more types of the upper half than those of class 0."""
    folder, rng = tmp_path_factory.mktemp("tokens"), np.random.default_rng(0)
    made = {}
    for split, texts in (("train", 400), ("validation", 100)):
        labels = rng.integers(0, 2, texts)
        lengths = rng.integers(3, 20, texts)
        upper = rng.random(lengths.sum()) < np.repeat(np.where(labels, 0.8, 0.2), lengths)
        block = Block(rng.integers(0, 20, lengths.sum()) + 20 * upper, lengths, labels)
        write_corpus(folder / f"{split}.arrow", [block])
        made[split] = Corpus(folder / f"{split}.arrow")
    return made


def make_training(corpora, kind=None, least_steps=0, **changes):
    params = TRAIN.model_copy(update=changes)
    device = prepare_device(Runtime(threads=1, device="cpu"), params.precision)
    torch.manual_seed(params.seed)
    model = TransformerClassifier(MODEL, InputSizes(vocab_size=42), num_classes=2)
    ids = np.arange(2, 42, dtype=np.int32)
    settings = {"max_len": 16, "seed": params.seed, "batch_size": params.batch_size}
    settings |= {"word_dropout": params.word_dropout}
    batches = {split: TextBatches(corpus, ids, **settings) for split, corpus in corpora.items()}
    weights = None
    if params.class_weights == "balanced":
        weights = balanced_weights(corpora["train"].labels)
    return Training(
        ClassificationLoss(model, weights),
        Settings(
            name="train",
            seed=params.seed,
            epochs=params.epochs,
            patience=params.patience,
            batch_size=params.batch_size,
            optimizer=kind or params.optimizer,
            learning_rate=params.learning_rate,
            least_steps=least_steps,
        ),
        **batches,
        device=device,
        group=Group(0, 1, device.device),
    )


def weights_of(training):
    return {name: tensor.clone() for name, tensor in training.best_weights().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def finished(corpora):
    training = make_training(corpora)
    events = list(training.run())
    return training, events


def test_it_learns(finished):
    training, events = finished
    assert training.best().valid_accuracy > 0.9
    assert events[-1].train_loss < events[0].loss


def test_same_seed_same_bits_and_another_seed_others(corpora, finished):
    again, other = make_training(corpora), make_training(corpora, seed=2)
    assert list(again.run()) == finished[1]
    assert same(weights_of(again), weights_of(finished[0]))
    list(other.run())
    assert not same(weights_of(other), weights_of(finished[0]))


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5, 8])
def test_resumed_at_any_event_it_ends_in_the_same_bits(corpora, finished, stop_after):
    assert_ends_alike(finished[0], lambda: make_training(corpora), stop_after)


@pytest.mark.parametrize("kind", ["lazy_adam", "muon"])
def test_with_any_optimizer_it_resumes_to_the_same_bits(corpora, kind):
    def make():
        return make_training(corpora, kind, epochs=1)

    list((finished := make()).run())
    assert_ends_alike(finished, make, 1)


def assert_ends_alike(finished, make, stop_after):
    """A training that is stopped and resumed ends as `finished`, which was not."""
    run = (first := make()).run()
    for _ in range(stop_after):
        next(run)
    tensors, state = first.save()
    saved = {name: tensor.clone() for name, tensor in tensors.items()}
    second = make()
    second.restore(saved, state)
    torch.manual_seed(999)  # what the process drew before does not matter
    list(second.run())
    assert same(weights_of(second), weights_of(finished))
    assert second.steps == finished.steps
    assert second.epochs == finished.epochs


def test_restoring_a_finished_training_trains_no_more(corpora, finished):
    again = make_training(corpora)
    again.restore(*finished[0].save())
    assert list(again.run()) == []
    assert same(weights_of(again), weights_of(finished[0]))


def test_events_account_for_every_step_and_token(corpora, finished):
    training, events = finished
    steps = [event for event in events if isinstance(event, StepEvent)]
    assert sum(event.steps for event in steps) == training.total_steps
    one_epoch = np.minimum(corpora["train"].lengths, 16).sum()
    assert sum(event.tokens for event in steps) == TRAIN.epochs * one_epoch


def test_the_best_epoch_gives_the_model_and_patience_ends_the_training(corpora, monkeypatch):
    training = make_training(corpora, epochs=9, patience=2)
    results = iter([(0.6, 0.7), (0.5, 0.9), (0.4, 0.9), (0.5, 0.9), (0.3, 0.8)])  # loss, accuracy
    monkeypatch.setattr(training, "evaluate", lambda _: next(results))
    ends = []
    for event in training.run():
        if isinstance(event, EpochEvent):
            weights = training.model.state_dict()
            ends.append({name: tensor.clone() for name, tensor in weights.items()})
    assert training.best().epoch == 3, "of equal accuracies, the one with the lowest loss"
    assert same(training.best_weights(), ends[2])
    assert len(ends) == 5, "two epochs without a better one"


@pytest.mark.parametrize(
    ("least", "epochs"), [(0, 3), (1, 3), (75, 3), (76, 4), (100, 4), (101, 5)]
)
def test_epochs_are_added_until_there_are_enough_steps(corpora, least, epochs):
    training = make_training(corpora, least_steps=least)
    assert len(training.train) == 25, "400 texts in batches of 16"
    rates = [event.learning_rate for event in training.run() if isinstance(event, StepEvent)]
    assert training.step == training.total_steps == 25 * epochs
    assert len(training.epochs) == training.total_epochs == epochs
    assert rates[-1] == pytest.approx(TRAIN.learning_rate / (0.9 * training.step), rel=0.1)


@pytest.mark.parametrize(("least", "ends"), [(0, 2), (50, 2), (51, 3), (130, 6), (226, 10)])
def test_patience_ends_no_training_before_it_has_enough_steps(corpora, monkeypatch, least, ends):
    training = make_training(corpora, epochs=9, patience=1, least_steps=least)
    results = iter([(0.5, 0.9)] + 9 * [(0.6, 0.8)])  # loss, accuracy
    monkeypatch.setattr(training, "evaluate", lambda _: next(results))
    list(training.run())
    assert len(training.epochs) == ends
    assert training.best().epoch == 1


def test_a_training_of_few_texts_resumes_to_the_same_bits(corpora):
    def make():
        return make_training(corpora, epochs=1, patience=1, least_steps=60)

    list((finished := make()).run())
    assert len(finished.epochs) == 3
    assert_ends_alike(finished, make, 5)


def test_divergence_stops_with_one_line(corpora):
    training = make_training(corpora, learning_rate=1e4)
    with pytest.raises(UserError, match=r"diverged; lower train.learning_rate \(10000.0\)"):
        list(training.run())


def test_a_text_that_is_read_again_does_not_count_as_another(corpora):
    training = make_training(corpora, batch_size=32)
    training.train._lengths = training.train._lengths[:6]
    wrong, norm = torch.tensor(2.5), torch.tensor(1.0)
    for _ in range(21):  # 6 texts each: fewer than 128
        training._report(1, wrong.repeat(10), 0.1, norm, 9)
    with pytest.raises(UserError, match="training diverged"):
        training._report(1, wrong.repeat(10), 0.1, norm, 9)


def test_a_high_loss_of_a_few_texts_is_no_divergence(corpora):
    training = make_training(corpora, batch_size=4)
    wrong, norm = torch.tensor(2.5), torch.tensor(1.0)  # equal probabilities have 0.69
    for _ in range(3):
        assert training._report(1, wrong.repeat(10), 0.1, norm, 9).loss == 2.5
    with pytest.raises(UserError, match=r"the loss is 2.5 at step 0: training diverged"):
        training._report(1, wrong.repeat(2), 0.1, norm, 9)
    training = make_training(corpora, batch_size=4)
    with pytest.raises(UserError, match=r"the loss is 25 at step 0: training diverged"):
        training._report(1, 10 * wrong.repeat(1), 0.1, norm, 9)


def test_a_loss_of_nan_stops_with_one_line(corpora):
    training = make_training(corpora)
    training.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(UserError, match="the loss is nan at step 10: training diverged"):
        list(training.run())


def test_weights_of_nan_after_the_last_step_stop_with_one_line(corpora):
    training = make_training(corpora, epochs=1)
    events = training.run()
    while training.step < training.total_steps:
        next(events)
    training.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"the loss is nan at step \d+: training diverged"):
        list(events)
    assert not training.epochs


def test_gradients_are_clipped_before_the_step(corpora, monkeypatch):
    monkeypatch.setattr(optimizers, "MAX_NORM", 1e-3)
    training = make_training(corpora)
    _, norm = training.update(next(training.train.epoch(1)), SEED)
    clipped = torch.cat([p.grad.flatten() for p in training.model.parameters()]).norm()
    assert norm > 1e-3
    assert clipped.item() == pytest.approx(1e-3, rel=1e-2)


def test_a_batch_that_does_not_fit_is_computed_in_parts_with_the_same_result(
    corpora, finished, monkeypatch, capsys
):
    training, forward, most = make_training(corpora), TransformerClassifier.forward, 4

    def limited(model, token_ids, padding_mask):
        if model.training and len(token_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(model, token_ids, padding_mask)

    monkeypatch.setattr(TransformerClassifier, "forward", limited)
    events = list(training.run())
    assert training.update.parts == 4
    assert capsys.readouterr().out.count("a batch does not fit into memory") == 2
    for event, expected in zip(events, finished[1], strict=True):
        assert asdict(event) == pytest.approx(asdict(expected), abs=1e-5)
    again = make_training(corpora)
    again.restore(*training.save())
    assert again.update.parts == 4, "a resumed training begins with as many parts"


@pytest.mark.parametrize("class_weights", [None, "balanced"])
def test_the_step_that_a_gpu_records_gives_the_same_bits(corpora, class_weights):
    trainings = [make_training(corpora, epochs=1, class_weights=class_weights) for _ in range(2)]
    step = trainings[1].update

    def recorded(batch, seed):
        torch.manual_seed(seed)
        return step.on_device(batch)

    trainings[1].update = recorded
    events = [list(training.run()) for training in trainings]
    assert events[0] == events[1]
    assert all(map(torch.equal, *(training.model.parameters() for training in trainings)))


def test_a_text_that_does_not_fit_alone_is_an_error(corpora, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TransformerClassifier, "forward", never)
    with pytest.raises(torch.OutOfMemoryError):
        next(make_training(corpora).run())


@pytest.mark.parametrize("rows", [slice(0, 10, 1), slice(1, 10, 3), slice(2, 2, 1)])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_parts_have_all_rows_in_order(rows, parts):
    numbers = range(10)
    pieces = divide(rows, parts)
    assert [number for piece in pieces for number in numbers[piece]] == list(numbers[rows])


def test_balanced_weights_make_all_classes_count_alike():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = balanced_weights(labels)
    assert (weights.numpy() * np.bincount(labels)).tolist() == pytest.approx([10 / 3] * 3)


def test_weighted_loss_is_the_weighted_mean_however_a_batch_is_divided(corpora):
    losses = []
    for parts in (1, 3):
        training = make_training(corpora, class_weights="balanced")
        training.loss.weights = torch.tensor([0.5, 4.0])
        training.update.parts = parts
        batch = next(training.train.epoch(1))
        weight = training.loss.weights[batch.labels]
        torch.manual_seed(SEED)
        logits = training.model(batch.token_ids, batch.padding_mask)
        each = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        expected = (weight * each).sum() / weight.sum()
        losses.append(training.update(batch, SEED)[0].item())
        assert losses[-1] == pytest.approx(expected.item(), abs=1e-6)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_sparse_gradients_are_the_same_in_parts(corpora):
    trainings = [make_training(corpora, optimizer="lazy_adam", epochs=1) for _ in range(2)]
    trainings[0].update.parts = 2
    events = [[asdict(event) for event in training.run()] for training in trainings]
    for event, expected in zip(*events, strict=True):
        assert event == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["adam", "lazy_adam", "muon"])
def test_bf16_learns_as_well(corpora, kind):
    training = make_training(corpora, kind, precision="bf16")
    list(training.run())
    assert training.best().valid_accuracy > 0.9
