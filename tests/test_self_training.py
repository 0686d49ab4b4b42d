"""Texts that a teacher labels: whose labels they are, and that the classifier learns from them."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RUNTIME, tiny_params, training_job
from test_baselines import fit_folder
from test_evaluation import DAMAGES
from test_ngrams import write_texts
from torch.nn import functional as F

from sentiformer.baselines.teaching import teach as stage_teach
from sentiformer.baselines.text_vectors import label_by_text_vectors
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, sha256
from sentiformer.core.timings import kept_seconds
from sentiformer.text.corpus import Corpus
from sentiformer.text.pseudo_labels import (
    TaughtTexts,
    read_probabilities,
    teacher_of,
    write_probabilities,
)
from sentiformer.training.batching import Batcher
from sentiformer.training.objectives import Classification

PROBABILITIES = np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32)


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    """Times are kept in the project."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture
def taught(tmp_path):
    labeled = write_texts(tmp_path / "train.arrow", [[1, 2], [3]], np.array([1, 0]))
    unlabeled = write_texts(tmp_path / "unlabeled.arrow", [[4], [5, 6, 7]], np.array([-1, -1]))
    return TaughtTexts(labeled, unlabeled, PROBABILITIES)


def teach(folder, by="nb_trigrams"):
    """Fit the baselines anew, and have the unlabelled texts labelled."""
    shutil.rmtree(folder / "baseline")
    fit_folder(folder, folder / "baseline", by=by)
    label(folder, by)


def label(folder, by):
    """Have the unlabelled texts labelled."""
    stage_teach(params_of(by).teach, RUNTIME, data=folder)


def params_of(by):
    return tiny_params(train={"epochs": 8}, teach={"by": by})


def make_job(folder):
    return training_job(
        params_of("nobody"), RUNTIME, data=folder, checkpoints=folder / "checkpoints"
    )


def labels_of(folder):
    rows = len(Corpus(folder.parent / "tokens" / "unlabeled.arrow"))
    return read_probabilities(folder, (rows, 2), made_by="teach")


def test_labelled_texts_come_first_with_certain_labels(taught):
    assert len(taught) == 4
    assert taught.lengths.tolist() == [2, 1, 1, 3]
    assert [taught[number].tolist() for number in range(4)] == [[1, 2], [3], [4], [5, 6, 7]]
    assert taught.labels.tolist() == [[0, 1], [1, 0], *PROBABILITIES.tolist()]


def test_a_batch_of_them_holds_probabilities(taught):
    ids = np.arange(2, 12, dtype=np.int32)
    batcher = Batcher(taught, ids, batch_size=3, max_len=8, truncation="head")
    batches = list(batcher.epoch(1))
    assert sum(len(batch.rows) for batch in batches) == 4
    for batch in batches:
        assert batch.labels.dtype == torch.float32
        assert batch.labels.tolist() == taught.labels[batch.rows].tolist()


def test_the_loss_is_the_cross_entropy_of_the_probabilities(taught):
    class Constant(torch.nn.Module):
        classifier = torch.nn.Linear(1, 2)

        def forward(self, token_ids, padding_mask):
            return torch.tensor([[0.0, 1.0]]).expand(len(token_ids), 2)

    ids = np.arange(2, 12, dtype=np.int32)
    (batch,) = Batcher(taught, ids, batch_size=4, max_len=8, truncation="head").epoch(1)
    each = -(batch.labels * F.log_softmax(torch.tensor([0.0, 1.0]), dim=0))
    loss = Classification(Constant()).loss(batch, batch)
    assert loss.item() == pytest.approx(each.sum().item() / 4)
    weights = torch.tensor([0.5, 4.0])
    loss = Classification(Constant(), weights).loss(batch, batch)
    expected = (weights * each).sum() / (weights * batch.labels).sum()
    assert loss.item() == pytest.approx(expected.item())


def test_the_teacher_is_the_baseline_with_the_c_that_validation_chose(unlabeled_data):
    teach(unlabeled_data)
    assert teacher_of(unlabeled_data / "teacher") == "nb_trigrams"
    on_test = pd.read_parquet(unlabeled_data / "baseline" / "nb_trigrams.parquet").to_numpy()
    found = labels_of(unlabeled_data / "teacher")
    assert found == pytest.approx(on_test, abs=1e-6)
    assert found.dtype == np.float32


def test_vectors_of_texts_teach(unlabeled_data):
    teach(unlabeled_data, "text_vectors")
    found = labels_of(unlabeled_data / "teacher")
    actual = Corpus(unlabeled_data / "tokens" / "test.arrow").labels
    assert found.sum(axis=1) == pytest.approx(np.ones(len(found)), abs=1e-6)
    assert (found.argmax(axis=1) == actual).mean() > 0.7
    about = read_json(unlabeled_data / "teacher" / "config.json", made_by="teach")
    assert about["environment"]["threads"] == RUNTIME.threads, "the bits may depend on it"
    compiling = RUNTIME.model_copy(update={"compile": True})
    environment = label_by_text_vectors(unlabeled_data / "tokens", compiling).environment
    assert environment == about["environment"], "nothing there compiles"
    labels = sha256(unlabeled_data / "teacher" / "unlabeled.npy")
    assert kept_seconds("teach", labels)["teacher"] > 0


def test_both_teach_by_the_mean_of_their_probabilities(unlabeled_data):
    given = []
    for by in ("nb_trigrams", "text_vectors", "both"):
        teach(unlabeled_data, by)
        given.append(labels_of(unlabeled_data / "teacher"))
    assert given[2] == pytest.approx((given[0] + given[1]) / 2, abs=1e-6)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_vectors_of_texts_are_learnt_without_the_splits_that_judge(unlabeled_data, split):
    teach(unlabeled_data, "text_vectors")
    expected = labels_of(unlabeled_data / "teacher")
    (unlabeled_data / "tokens" / f"{split}.arrow").unlink()
    label(unlabeled_data, "text_vectors")
    assert (labels_of(unlabeled_data / "teacher") == expected).all()


def test_the_classifier_learns_from_the_teacher(unlabeled_data):
    without = make_job(unlabeled_data)
    teach(unlabeled_data)
    job = make_job(unlabeled_data)
    rows = {
        split: len(Corpus(unlabeled_data / "tokens" / f"{split}.arrow"))
        for split in ("train", "test")
    }
    assert len(job.training.train.corpus) == rows["train"] + rows["test"]
    assert [of.about["params"]["teach"]["by"] for of in (without, job)] == ["nobody", "nb_trigrams"]
    list(job.run())
    assert job.training.best().valid_accuracy > 0.7
    write_probabilities(unlabeled_data / "teacher", labels_of(unlabeled_data / "teacher")[:, ::-1])
    other = make_job(unlabeled_data)
    keys = {of.about["training_key"] for of in (without, job, other)}
    assert len(keys) == 3
    list(other.run())
    assert other.training.epochs[-1].train_loss > job.training.epochs[-1].train_loss


@pytest.mark.parametrize("by", ["nb_trigrams", "text_vectors", "both"])
def test_nothing_to_teach_is_one_line(data, tmp_path, by):
    line = rf"teach\.by is {by}, but there is no text .*; give download"
    with pytest.raises(UserError, match=line):
        fit_folder(data, tmp_path / "folder", by=by)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["config.json", "unlabeled.npy"])
def test_a_missing_or_corrupt_teacher_is_one_line(unlabeled_data, name, damage):
    teach(unlabeled_data)
    DAMAGES[damage](unlabeled_data / "teacher" / name)
    word = "missing" if damage == "missing" else "corrupt"
    with pytest.raises(UserError, match=rf"{name} is {word}.*dvc repro.* teach") as error:
        make_job(unlabeled_data)
    assert "\n" not in str(error.value)


def test_probabilities_of_other_texts_are_corrupt(tmp_path):
    write_probabilities(tmp_path, PROBABILITIES)
    with pytest.raises(UserError, match=r"it holds \(2, 2\) values, not \(3, 2\)"):
        read_probabilities(tmp_path, (3, 2), made_by="teach")
