"""Pseudo-labels: their files, and that the classifier learns from them."""

import numpy as np
import pytest
import torch
from conftest import RUNTIME, classifier, tiny_params
from test_evaluation import DAMAGES
from test_ngrams import write_texts
from torch.nn import functional as F

from sentiformer.baselines.params import TeachParams
from sentiformer.core.errors import UserError
from sentiformer.core.names import PSEUDO_LABELLED, PSEUDO_LABELS
from sentiformer.serving.teach import teach
from sentiformer.text.corpus import Corpus
from sentiformer.training.batching import TextBatches
from sentiformer.training.inputs import training_key
from sentiformer.training.losses import ClassificationLoss

PROBABILITIES = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)


def label(folder):
    """Let the baseline label the unlabelled texts and spans."""
    teach(TeachParams(by="nb_trigrams"), folder, folder / "teacher", RUNTIME)


def make_setup(folder):
    return classifier(tiny_params(train={"epochs": 8, "patience": 8}), folder)


def pseudo_labels_of(folder):
    texts = Corpus(folder / "teacher" / PSEUDO_LABELLED)
    return texts, np.load(folder / "teacher" / PSEUDO_LABELS)


def test_a_batch_has_the_one_hot_labels_and_the_pseudo_labels(unlabeled_data):
    label(unlabeled_data)
    batches = make_setup(unlabeled_data).training.train
    train = Corpus(unlabeled_data / "tokens" / "train.arrow")
    texts, probabilities = pseudo_labels_of(unlabeled_data)
    expected = np.concatenate([np.eye(2)[train.labels], probabilities])
    assert np.array_equal(batches.texts.lengths, [*train.lengths, *texts.lengths])
    assert np.array_equal(batches.texts[len(train) + 1], texts[1])
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


def test_without_a_teacher_nothing_depends_on_the_baselines(tmp_path):
    teach(TeachParams(by=None), tmp_path / "absent", tmp_path, RUNTIME)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    written = (tmp_path / "config.json").read_text()
    assert written == '{\n  "by": null,\n  "texts": 0,\n  "spans": 0\n}\n'


def test_the_classifier_learns_from_the_teacher(unlabeled_data):
    without = make_setup(unlabeled_data)
    label(unlabeled_data)
    setup = make_setup(unlabeled_data)
    texts, probabilities = pseudo_labels_of(unlabeled_data)
    assert len(setup.training.train.texts) == len(without.training.train.texts) + len(texts)
    names = [one.about["params"]["teach"]["by"] for one in (without, setup)]
    assert names == [None, "nb_trigrams"]
    list(setup.training.run())
    assert setup.training.best().valid_accuracy > 0.7
    inverted = probabilities[:, ::-1]
    np.save(unlabeled_data / "teacher" / PSEUDO_LABELS, inverted)
    other = make_setup(unlabeled_data)
    keys = {training_key(one.about) for one in (without, setup, other)}
    assert len(keys) == 3


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.json", PSEUDO_LABELLED, PSEUDO_LABELS])
def test_a_missing_or_corrupt_file_is_named_in_one_line(unlabeled_data, name, damage):
    label(unlabeled_data)
    DAMAGES[damage](unlabeled_data / "teacher" / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"{name} is {word}.*dvc repro.* teach") as error:
        make_setup(unlabeled_data)
    assert "\n" not in str(error.value)


def test_pseudo_labels_of_other_texts_are_corrupt(unlabeled_data):
    label(unlabeled_data)
    np.save(unlabeled_data / "teacher" / PSEUDO_LABELS, PROBABILITIES)
    with pytest.raises(UserError, match=r"probabilities\.npy is corrupt \(cannot reshape array"):
        make_setup(unlabeled_data)
