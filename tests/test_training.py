"""The loop: it learns, repeats to the bit, resumes to the bit, and stops when it should."""

import math
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
from sentiformer.model.embedding import InputSizes
from sentiformer.text.corpus import Block, Corpus, write_corpus
from sentiformer.training.batching import Batcher
from sentiformer.training.distributed import Group
from sentiformer.training.loop import Training
from sentiformer.training.objectives import Classification, balanced
from sentiformer.training.params import TrainParams
from sentiformer.training.soup import Soup
from sentiformer.training.stepper import cut

MODEL = tiny_params(model={"max_len": 16}).model
TRAIN = TrainParams(
    seed=1,
    epochs=3,
    batch_size=16,
    optimizer="adamw",
    learning_rate=0.01,
    weight_decay=0.01,
    schedule="linear",
    warmup_fraction=0.1,
    clip_norm=1.0,
    word_dropout=0.1,
    patience=3,
    soup=1,
    class_weights=None,
    precision="fp32",
)


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


def make_training(corpora, soup=None, **changes):
    params = TRAIN.model_copy(update=changes)
    device = prepare_device(Runtime(threads=1, device="cpu"), params.precision)
    torch.manual_seed(params.seed)
    model = TransformerClassifier(MODEL, InputSizes(vocab_size=42), num_classes=2)
    ids = np.arange(2, 42, dtype=np.int32)
    settings = {"max_len": 16, "truncation": "head", "seed": params.seed}
    settings |= {"batch_size": params.batch_size, "word_dropout": params.word_dropout}
    batchers = {split: Batcher(corpus, ids, **settings) for split, corpus in corpora.items()}
    weights = None
    if params.class_weights == "balanced":
        weights = balanced(corpora["train"].labels)
    return Training(
        Classification(model, weights),
        params,
        name="train",
        patience=params.patience,
        **batchers,
        device=device,
        group=Group(0, 1, device.device),
        soup=soup,
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


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adamw", "muon"])
def test_with_any_optimizer_it_resumes_to_the_same_bits(corpora, optimizer):
    def make():
        return make_training(corpora, optimizer=optimizer, epochs=1)

    list((finished := make()).run())
    assert_ends_alike(finished, make, 1)


def assert_ends_alike(finished, make, stop_after):
    """A training stopped after some events, and one that goes on from there, end as `finished`."""
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


def test_the_model_is_that_of_the_best_epoch_and_patience_counts_from_there(corpora, monkeypatch):
    training = make_training(corpora, epochs=9, patience=2)
    judged = iter([(0.6, 0.7), (0.5, 0.9), (0.4, 0.9), (0.5, 0.9), (0.3, 0.8)])  # loss, accuracy
    monkeypatch.setattr(training, "judge", lambda _: next(judged))
    ends = [training._weights() for event in training.run() if isinstance(event, EpochEvent)]
    assert training.best().epoch == 3, "of those that are right as often, the one of least loss"
    assert same(training.best_weights(), ends[2])
    assert len(ends) == 5, "two without a new best"


@pytest.fixture(scope="module")
def soup(corpora):
    """Three trainings of a soup, the events of each, and the weights with which each ended."""
    trainings, events, ends, mean = [], [], [], {}
    for number in range(3):
        training = make_training(corpora, soup=Soup(number, mean), epochs=2, patience=1)
        of_training = training.run()
        events.append([next(of_training) for _ in range(7)])
        ends.append(training._weights())
        events[-1] += of_training
        mean = training.best_weights()
        trainings.append(training)
    return trainings, events, ends


def test_a_soup_is_the_mean_of_trainings_with_the_same_first_weights(corpora, soup):
    trainings, events, ends = soup
    alone = make_training(corpora, epochs=2)
    assert events[0] == list(alone.run())
    assert same(alone._weights(), ends[0])
    assert not any(same(ends[0], end) for end in ends[1:]), "other orders, other dropout"
    for name, weight in trainings[-1].model.state_dict().items():
        mean = torch.stack([end[name] for end in ends]).double().mean(dim=0)
        torch.testing.assert_close(weight.double(), mean, atol=1e-6, rtol=0)
    assert same(weights_of(trainings[-1]), trainings[-1]._weights()), "never one of them"
    assert trainings[-1].best().valid_accuracy > 0.9


@pytest.mark.parametrize("stop_after", [1, 4, 5, 7])
def test_a_training_of_a_soup_resumed_ends_in_the_same_bits(corpora, soup, stop_after):
    finished = soup[0][1]
    assert_ends_alike(
        finished, lambda: make_training(corpora, soup=finished.soup, epochs=2), stop_after
    )


def test_each_training_of_a_soup_has_all_epochs_and_the_same_rates(soup):
    trainings = soup[0]
    rates = [[event.learning_rate for event in training.steps] for training in trainings]
    assert rates[0] == rates[1] == rates[2]
    epochs = [event.epoch for training in trainings for event in training.epochs]
    assert epochs == [1, 2, 3, 4, 5, 6], "patience stops none, and they are counted on"
    steps = [event.step for training in trainings for event in training.steps]
    assert steps == sorted(steps)
    assert steps[-1] == 3 * trainings[0].total_steps


def test_divergence_stops_with_one_line(corpora):
    training = make_training(corpora, learning_rate=1e4, clip_norm=1e9, warmup_fraction=0.0)
    with pytest.raises(UserError, match=r"diverged; lower train.learning_rate \(10000.0\)"):
        list(training.run())


def test_a_few_texts_that_are_wrong_are_no_divergence(corpora):
    training = make_training(corpora, batch_size=4)
    wrong, norm = torch.tensor(2.5), torch.tensor(1.0)  # guessing has 0.69
    for _ in range(3):
        assert training._report(1, wrong.repeat(10), norm, 9).loss == 2.5
    with pytest.raises(UserError, match=r"the loss is 2.5 at step 0: training diverged"):
        training._report(1, wrong.repeat(2), norm, 9)
    training = make_training(corpora, batch_size=4)
    with pytest.raises(UserError, match=r"the loss is 25 at step 0: training diverged"):
        training._report(1, 10 * wrong.repeat(1), norm, 9)


def test_a_loss_that_is_no_number_stops_with_one_line(corpora):
    training = make_training(corpora)
    training.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(UserError, match="the loss is nan at step 10: training diverged"):
        list(training.run())


def test_weights_that_the_last_step_makes_no_numbers_stop_with_one_line(corpora):
    training = make_training(corpora, epochs=1)
    events = training.run()
    while training.steps_done < training.total_steps:
        next(events)
    training.model.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(UserError, match=r"the loss is nan at step \d+: training diverged"):
        list(events)
    assert not training.epochs


def test_gradients_are_clipped_before_the_step(corpora):
    training = make_training(corpora, clip_norm=1e-3)
    batch = next(training.train.epoch(1))
    _, norm = training.stepper.step(batch, 0, 0.01)
    clipped = torch.cat([p.grad.flatten() for p in training.model.parameters()]).norm()
    assert norm > 1e-3
    assert clipped.item() == pytest.approx(1e-3, rel=1e-2)


def test_biases_and_norms_do_not_decay(corpora):
    training = make_training(corpora, weight_decay=0.5)
    decay = {
        id(p): g["weight_decay"]
        for g in training.stepper.optimizer.param_groups
        for p in g["params"]
    }
    for name, weight in training.model.named_parameters():
        is_matrix = name.endswith("weight") and "norm" not in name
        assert decay[id(weight)] == (0.5 if is_matrix else 0.0), name


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
    assert training.stepper.parts == 4
    assert capsys.readouterr().out.count("a batch does not fit into memory") == 2
    for event, expected in zip(events, finished[1], strict=True):
        assert asdict(event) == pytest.approx(asdict(expected), abs=1e-5)
    again = make_training(corpora)
    again.restore(*training.save())
    assert again.stepper.parts == 4, "a resumed training does not try in vain again"


class Repeating:
    """A recorder that computes each batch but the first as a GPU would, if it has the memory."""

    def __init__(self, training, steps=math.inf):
        self.training, self.seen, self.steps = training, 0, steps

    def replay(self, batch):
        self.seen += 1
        if self.seen > self.steps:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return None if self.seen == 1 else self.training.stepper._compute(batch)


@pytest.mark.parametrize("class_weights", [None, "balanced"])
def test_recorded_steps_have_the_bits_of_others(corpora, class_weights):
    trainings = [make_training(corpora, epochs=1, class_weights=class_weights) for _ in range(2)]
    trainings[0].stepper.recorder = Repeating(trainings[0])
    events = [list(training.run()) for training in trainings]
    assert trainings[0].stepper.recorder.seen == len(trainings[0].train)
    assert events[0] == events[1]
    assert all(map(torch.equal, *(training.model.parameters() for training in trainings)))


def test_recordings_go_before_a_batch_is_computed_in_parts(corpora, monkeypatch, capsys):
    trainings = [make_training(corpora, epochs=1) for _ in range(3)]
    trainings[0].stepper.recorder = Repeating(trainings[0], steps=5)
    forward, recorder = TransformerClassifier.forward, Repeating(trainings[1], steps=0)
    trainings[1].stepper.recorder = recorder

    def limited(model, *rest):
        if trainings[1].stepper.recorder is not None and model is trainings[1].model:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(model, *rest)

    monkeypatch.setattr(recorder, "replay", lambda batch: None)
    monkeypatch.setattr(TransformerClassifier, "forward", limited)
    events = [list(training.run()) for training in trainings]
    assert [training.stepper.recorder for training in trainings] == [None] * 3
    assert [training.stepper.parts for training in trainings] == [1] * 3
    assert events[0] == events[1] == events[2]
    assert "does not fit" not in capsys.readouterr().out


def test_a_text_that_does_not_fit_alone_is_an_error(corpora, monkeypatch):
    def never(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TransformerClassifier, "forward", never)
    with pytest.raises(torch.OutOfMemoryError):
        next(make_training(corpora).run())


@pytest.mark.parametrize("rows", [slice(0, 10, 1), slice(1, 10, 3), slice(2, 2, 1)])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_parts_hold_all_rows_in_order(rows, parts):
    numbers = range(10)
    pieces = cut(rows, parts)
    assert [number for piece in pieces for number in numbers[piece]] == list(numbers[rows])


def test_balanced_weights_make_all_classes_count_alike():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = balanced(labels)
    assert (weights.numpy() * np.bincount(labels)).tolist() == pytest.approx([10 / 3] * 3)


def test_weighted_loss_is_the_weighted_mean_however_it_is_shared_out(corpora):
    losses = []
    for parts in (1, 3):
        training = make_training(corpora, class_weights="balanced")
        training.objective.weights = torch.tensor([0.5, 4.0])
        training.stepper.parts = parts
        batch = next(training.train.epoch(1))
        training.stepper._seed = TRAIN.seed * 1_000_003
        losses.append(training.stepper._gradients(batch).item())
        weight = training.objective.weights[batch.labels]
        torch.manual_seed(TRAIN.seed * 1_000_003)
        logits = training.model(batch.token_ids, batch.padding_mask)
        each = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        expected = (weight * each).sum() / weight.sum()
        assert losses[-1] == pytest.approx(expected.item(), abs=1e-6)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_sparse_gradients_train_as_dense_ones_do(corpora):
    """Clipped, too; in parts they add up."""
    changes = {"optimizer": "lazy_adamw", "clip_norm": 0.5, "epochs": 1}
    trainings = [make_training(corpora, **changes) for _ in range(2)]
    trainings[0].stepper.parts = 2
    for module in trainings[1].model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.sparse = False
    events = [[asdict(event) for event in training.run()] for training in trainings]
    for event, expected in zip(*events, strict=True):
        assert event == pytest.approx(expected, abs=1e-5)
    assert any(event.get("gradient_norm", 0) > 0.5 for event in events[0])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lazy_adamw", "muon"])
def test_bf16_learns_as_well(corpora, optimizer):
    training = make_training(corpora, precision="bf16", optimizer=optimizer)
    list(training.run())
    assert training.best().valid_accuracy > 0.9
