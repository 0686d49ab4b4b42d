"""Pseudo-labels: where they come from, and that the classifier learns from them."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import classifier, tiny_params
from test_evaluation import DAMAGES
from test_ngrams import write_texts
from torch.nn import functional as F

from sentiformer.baselines.logistic_regression import fit_baselines
from sentiformer.baselines.params import TeachParams
from sentiformer.core.errors import UserError
from sentiformer.core.pseudo_labels import (
    FILE,
    read_pseudo_labels,
    read_teacher,
    write_pseudo_labels,
)
from sentiformer.text.corpus import Corpus
from sentiformer.training.batching import TextBatches
from sentiformer.training.inputs import training_key
from sentiformer.training.losses import ClassificationLoss

PROBABILITIES = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)


def fit_teacher(folder):
    """Fit the baselines again, with a teacher."""
    params = TeachParams(by="nb_trigrams")
    fit_baselines(params, folder / "tokens", folder / "baseline", folder / "teacher", workers=1)


def make_setup(folder):
    return classifier(tiny_params(train={"epochs": 8, "patience": 8}), folder)


def pseudo_labels_of(folder):
    rows = len(Corpus(folder / "tokens" / "unlabeled.arrow"))
    return read_pseudo_labels(folder / "teacher", (rows, 2))


def test_a_batch_has_the_one_hot_labels_and_the_pseudo_labels(unlabeled_data):
    fit_teacher(unlabeled_data)
    batches = make_setup(unlabeled_data).training.train
    labels = Corpus(unlabeled_data / "tokens" / "train.arrow").labels
    expected = np.concatenate([np.eye(2)[labels], pseudo_labels_of(unlabeled_data)])
    seen = []
    for batch in batches.epoch(1):
        assert batch.labels.dtype == torch.float32
        assert np.array_equal(batch.labels, expected[batch.rows])
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(len(expected)))


def test_the_loss_is_the_cross_entropy_of_the_probabilities(tmp_path):
    class Constant(torch.nn.Module):
        classifier = torch.nn.Linear(1, 2)

        def forward(self, token_ids, padding_mask):
            return torch.tensor([[0.0, 1.0]]).expand(len(token_ids), 2)

    texts = write_texts(tmp_path / "a.arrow", [[1, 2], [3], [4], [5, 6]], np.zeros(4))
    labels = np.array([[0, 1], [1, 0], *PROBABILITIES], dtype=np.float32)
    ids = np.arange(2, 12, dtype=np.int32)
    (batch,) = TextBatches(texts, ids, labels=labels, batch_size=4, max_len=8).epoch(1)
    each = -(batch.labels * F.log_softmax(torch.tensor([0.0, 1.0]), dim=0))
    loss = ClassificationLoss(Constant()).loss(batch, batch)
    assert loss.item() == pytest.approx(each.sum().item() / 4)
    weights = torch.tensor([0.5, 4.0])
    loss = ClassificationLoss(Constant(), weights).loss(batch, batch)
    expected = (weights * each).sum() / (weights * batch.labels).sum()
    assert loss.item() == pytest.approx(expected.item())


def test_the_teacher_is_the_baseline_with_the_c_chosen_on_validation(unlabeled_data):
    fit_teacher(unlabeled_data)
    assert read_teacher(unlabeled_data / "teacher") == "nb_trigrams"
    on_test = pd.read_parquet(unlabeled_data / "baseline" / "nb_trigrams.parquet").to_numpy()
    found = pseudo_labels_of(unlabeled_data)
    assert found == pytest.approx(on_test, abs=1e-6)
    assert found.dtype == np.float32


def test_without_a_teacher_nothing_depends_on_the_baselines(data):
    assert read_teacher(data / "teacher") is None
    assert [path.name for path in (data / "teacher").iterdir()] == ["config.json"]
    assert (data / "teacher" / "config.json").read_text() == '{\n  "by": null\n}\n'


def test_the_classifier_learns_from_the_teacher(unlabeled_data):
    without = make_setup(unlabeled_data)
    fit_teacher(unlabeled_data)
    setup = make_setup(unlabeled_data)
    rows = {
        split: len(Corpus(unlabeled_data / "tokens" / f"{split}.arrow"))
        for split in ("train", "test")
    }
    assert len(setup.training.train.texts) == rows["train"] + rows["test"]
    names = [one.about["params"]["teach"]["by"] for one in (without, setup)]
    assert names == [None, "nb_trigrams"]
    list(setup.training.run())
    assert setup.training.best().valid_accuracy > 0.7
    inverted = pseudo_labels_of(unlabeled_data)[:, ::-1]
    write_pseudo_labels(unlabeled_data / "teacher", "nb_trigrams", inverted)
    other = make_setup(unlabeled_data)
    keys = {training_key(one.about) for one in (without, setup, other)}
    assert len(keys) == 3


def test_a_teacher_without_unlabelled_texts_is_refused(data, tmp_path):
    line = r"teach\.by is nb_trigrams, but there is no unlabelled text; give .* to null$"
    with pytest.raises(UserError, match=line):
        fit_baselines(TeachParams(by="nb_trigrams"), data / "tokens", tmp_path, tmp_path, workers=1)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.json", FILE])
def test_a_missing_or_corrupt_file_is_named_in_one_line(unlabeled_data, name, damage):
    fit_teacher(unlabeled_data)
    DAMAGES[damage](unlabeled_data / "teacher" / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"{name} is {word}.*dvc repro.* baseline") as error:
        make_setup(unlabeled_data)
    assert "\n" not in str(error.value)


def test_a_config_without_a_teacher_key_is_corrupt(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json is corrupt \(it lacks 'by'\)"):
        read_teacher(tmp_path)


def test_pseudo_labels_of_other_texts_are_corrupt(tmp_path):
    write_pseudo_labels(tmp_path, "nb_trigrams", PROBABILITIES)
    with pytest.raises(UserError, match=r"it holds \(2, 2\) values, not \(3, 2\)"):
        read_pseudo_labels(tmp_path, (3, 2))
