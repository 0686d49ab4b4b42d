"""The calibration: no prediction changes, no log loss rises, and few texts give no extremes."""

import json

import numpy as np
import pytest
from conftest import RUNTIME, classifier, tiny_params
from scipy.special import log_softmax, softmax

from sentiformer.serving.trained_model import Classifier
from sentiformer.text.corpus import Corpus, read_types
from sentiformer.training.batching import TextBatches
from sentiformer.training.calibration import Calibration, calibrate, fit_calibration

NONE = Calibration()


def made_up(texts, level, slope, classes=3, seed=0):
    """Logits that have the given calibration, the classes drawn from it, and numbers of tokens."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 600, texts)
    logits = rng.normal(0, 4, (texts, classes))
    scaled = Calibration(intercept=level, slope=slope).scale(logits, lengths)
    draws = rng.random((texts, 1)) > softmax(scaled, axis=1).cumsum(axis=1)
    return logits, draws.sum(axis=1).clip(max=classes - 1), lengths


def log_loss(calibration, logits, labels, lengths):
    scaled = calibration.scale(logits, lengths)
    return -log_softmax(scaled, axis=1)[np.arange(len(labels)), labels].mean()


@pytest.mark.parametrize(("level", "slope"), [(0.0, 0.0), (1.0, 0.0), (2.0, -0.3), (-0.5, 0.1)])
def test_the_calibration_that_many_texts_have_is_found(level, slope):
    texts = made_up(20_000, level, slope)
    fitted = fit_calibration(*texts)
    assert fitted.slope == pytest.approx(slope, abs=0.05)
    assert fitted.intercept == pytest.approx(level, abs=0.25)
    assert fit_calibration(*texts) == fitted, "the same bits each time"


def test_a_calibration_of_nothing_changes_nothing():
    logits, _, lengths = made_up(20, 0, 0)
    assert (NONE.scale(logits, lengths) == logits).all()


@pytest.mark.parametrize("texts", [1, 2, 10, 100])
@pytest.mark.parametrize("classes", [2, 20])
@pytest.mark.parametrize("seed", range(5))
def test_the_log_loss_never_rises_and_no_prediction_changes(texts, classes, seed):
    logits, labels, lengths = made_up(texts, 1.0, -0.2, classes, seed)
    fitted = fit_calibration(logits, labels, lengths)
    before, after = (log_loss(each, logits, labels, lengths) for each in (NONE, fitted))
    assert after <= before + 1e-12
    scaled = fitted.scale(logits, lengths)
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize("texts", [1, 10, 30])
@pytest.mark.parametrize("sure", [1.0, 3.0, 30.0])
@pytest.mark.parametrize("right", ["all", "none", "half", "one class"])
def test_few_texts_give_no_extreme_temperature_at_any_length(texts, sure, right):
    rng = np.random.default_rng(0)
    logits = sure * rng.standard_normal((texts, 4))
    labels = {
        "all": logits.argmax(axis=1),
        "none": logits.argmin(axis=1),
        "half": np.where(np.arange(texts) % 2, logits.argmin(axis=1), logits.argmax(axis=1)),
        "one class": np.zeros(texts, dtype=int),
    }[right]
    fitted = fit_calibration(logits, labels, rng.integers(5, 50, texts))
    temperatures = 1 / fitted.scale(np.ones((3, 1)), np.array([0, 20, 5000]))
    assert (temperatures > 0.1).all()
    assert (temperatures < 100).all()


def test_texts_of_one_length_have_one_temperature():
    logits, labels, _ = made_up(500, 1.0, 0.0)
    fitted = fit_calibration(logits, labels, np.full(500, 12))
    assert fitted.slope == pytest.approx(0, abs=1e-6)
    assert fitted.intercept == pytest.approx(1.0, abs=0.2)


def batches_of(data, split, classifier, size):
    corpus = Corpus(data / "tokens" / f"{split}.arrow")
    ids = classifier.vocab.encode(read_types(data / "tokens"))
    return TextBatches(corpus, ids, batch_size=size, max_len=classifier.params.max_len)


def test_the_model_has_the_calibration_of_its_best_weights_on_validation(data):
    model = Classifier(data / "model", RUNTIME)
    calibration = model.config.calibration
    model.config.calibration = NONE
    batches = batches_of(data, "validation", model, 8)
    logits, texts = np.log(model.predict_corpus(batches)), batches.texts
    fitted = fit_calibration(logits, texts.labels, texts.lengths)
    assert calibration.model_dump() == pytest.approx(fitted.model_dump(), abs=1e-4)
    assert calibration != NONE
    written = json.loads((data / "model" / "config.json").read_text())["calibration"]
    assert written == calibration.model_dump()


def test_a_resumed_training_is_calibrated_to_the_same_bits(data):
    first, second = (classifier(tiny_params(), data).training for _ in range(2))
    list(first.run())
    second.restore(*first.save())
    assert calibrate(first).calibration == calibrate(second).calibration


def test_neither_the_batch_nor_the_truncation_decides_the_temperature_of_a_text(data):
    model = Classifier(data / "model", RUNTIME)
    model.config.calibration = Calibration(intercept=3.0, slope=-0.9)
    results = [model.predict_corpus(batches_of(data, "test", model, size)) for size in (1, 7, 64)]
    for result in results[1:]:
        assert result == pytest.approx(results[0], abs=1e-6)
    texts = batches_of(data, "test", model, 7).texts
    assert (texts.lengths > model.params.max_len).any(), "or this test says nothing"
    model.config.calibration = NONE
    logits = np.log(model.predict_corpus(batches_of(data, "test", model, 7)))
    expected = softmax(Calibration(intercept=3.0, slope=-0.9).scale(logits, texts.lengths), axis=1)
    assert results[0] == pytest.approx(expected, abs=1e-6)


def test_a_model_without_a_calibration_has_temperature_1(data):
    model = Classifier(data / "model", RUNTIME)
    assert (
        type(model.config)
        .model_validate({**model.config.model_dump(), "calibration": {}})
        .calibration
        == NONE
    )
    values = model.config.model_dump()
    del values["calibration"]
    assert type(model.config).model_validate(values).calibration == NONE
