"""Stage finetune: a tiny encoder, trained to classify, resumed, and used to predict."""

import json
import shutil

import numpy as np
import pytest
import torch
from checkpoints import FAMILIES, make_checkpoint
from conftest import RUNTIME, NoTracker, tiny_params, train

import sentiformer
from sentiformer.core.errors import UserError
from sentiformer.core.files import sha256
from sentiformer.encoder import finetune as stage
from sentiformer.encoder.finetune import finetune, set_up
from sentiformer.encoder.tokens import EncoderTokenizer
from sentiformer.training.checkpoint import Checkpoint
from sentiformer.training.run import run_with_checkpoints

TINY = {"max_len": 32, "learning_rate": 0.005, "epochs": 2, "ensemble": False}


def without_encoder(folder, names):
    return {"encoder", "finetuned"} & set(names)


def padding_of(folder):
    return json.loads((folder / "config.json").read_text())["pad_token_id"]


def put_encoder(data, family="bert", **sizes):
    """Make a checkpoint the output of stage encoder in `data`."""
    folder = make_checkpoint(data / "encoder", family, **sizes)
    about = {"name": f"made-up {family}", "architecture": family, "revision": None}
    about |= {
        "padding": padding_of(folder),
        "files": {"model.safetensors": sha256(folder / "model.safetensors")},
    }
    (folder / "source.json").write_text(json.dumps(about))


@pytest.fixture(scope="module", autouse=True)
def _few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "LEAST_STEPS", 0)
        patch.setattr(stage, "BATCH_TEXTS", 32)
        yield


@pytest.fixture(scope="module")
def project(data, tmp_path_factory):
    """What the stages wrote, with an encoder and its fine-tuning."""
    folder = tmp_path_factory.mktemp("encoder") / "data"
    shutil.copytree(data, folder, ignore=without_encoder)
    put_encoder(folder)
    run(folder, epochs=8)
    return folder


def parameters(**keys):
    params = tiny_params(finetune=TINY | keys)
    return params.finetune, params.train


def run(data, **keys):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(data.parent))
        finetune(*parameters(**keys), RUNTIME, output=data / "finetuned", tracker=NoTracker())


def setup_of(data, tokens, **keys):
    tokens.mkdir(exist_ok=True)
    return set_up(*parameters(**keys), RUNTIME, data=data, tokens=tokens)


def test_the_encoder_learns_and_predicts(project):
    model = sentiformer.load(project / "finetuned")
    texts = ["a great and moving film, sharp and lovely", "an awful film, boring, dull and weak"]
    assert [answer.label for answer in model.predict(texts)] == ["positive", "negative"]
    assert model.predict("これは映画です").label == "?"
    about = json.loads((project / "finetuned" / "config.json").read_text())
    assert about["best"]["valid_accuracy"] > 0.8
    assert about["encoder"]["name"] == "made-up bert"
    assert {"encoder/source.json", "encoder/tokenizer.json"} <= about["made_from"].keys()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_trained_in_bf16_and_loaded(data, tmp_path, family):
    folder = shutil.copytree(data, tmp_path / "data", ignore=without_encoder)
    put_encoder(folder, family)
    params = tiny_params(finetune=TINY | {"epochs": 1, "max_len": 16}, train={"precision": "bf16"})
    (tmp_path / "t").mkdir()
    setup = set_up(params.finetune, params.train, RUNTIME, data=folder, tokens=tmp_path / "t")
    train(setup, folder / "finetuned")
    for _ in range(2):
        model = sentiformer.load(folder / "finetuned")
    texts = ["a great film", "the film was dull " * 9]
    together = model.predict(texts)
    for text, answer in zip(texts, together, strict=True):
        assert model.predict(text).probability == pytest.approx(answer.probability, abs=1e-5)


def test_a_step_has_half_as_many_texts_where_few_are_trained_on(project, tmp_path, monkeypatch):
    def most_texts(folder):
        batches = setup_of(project, tmp_path / folder).training.train
        return max(len(batch.rows) for batch in batches.in_order_of_length())

    assert most_texts("few") == 16
    monkeypatch.setattr(stage, "FEW_TEXTS", 10)
    assert most_texts("many") == 32


def test_changed_weights_of_the_checkpoint_are_refused(project, tmp_path):
    folder = shutil.copytree(project, tmp_path / "data")
    put_encoder(folder / "other", seed=1)
    shutil.copyfile(
        folder / "other/encoder/model.safetensors", folder / "encoder/model.safetensors"
    )
    with pytest.raises(UserError, match=r"encoder/model\.safetensors is corrupt .*--force encoder"):
        setup_of(folder, tmp_path / "t")


def test_an_ensemble_predicts_by_the_mean_and_misses_its_n_grams(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data", ignore=without_encoder)
    put_encoder(folder)
    train(setup_of(folder, tmp_path / "t", ensemble=True, epochs=1), folder / "finetuned")
    model, text = sentiformer.load(folder / "finetuned"), "the film was a great story"
    tokens = [text.split()]
    alone = model.classifier.probabilities([text], tokens)
    ngrams = model.classifier.ngrams.probabilities(tokens)
    assert abs(alone - ngrams).max() > 1e-3
    found = list(model.predict(text).probabilities.values())
    assert found == pytest.approx(((alone + ngrams) / 2)[0].tolist(), abs=1e-6)
    shutil.rmtree(folder / "finetuned" / "ngrams")
    with pytest.raises(UserError, match=r"ngrams/.* is missing"):
        sentiformer.load(folder / "finetuned")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "source.json"])
@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_damaged_file_is_named_with_its_stage(project, tmp_path, name, content):
    folder = shutil.copytree(project / "finetuned", tmp_path / "finetuned")
    (folder / "encoder" / name).write_text(content)
    with pytest.raises(UserError, match=rf"encoder/{name} is corrupt .*--force finetune"):
        sentiformer.load(folder)


def test_batches_do_not_change_a_prediction(project):
    model = sentiformer.load(project / "finetuned")
    texts = ["a great film " * n for n in (1, 3, 40)] + ["dull", "so boring and weak it was"]
    together = model.predict(texts)
    for text, answer in zip(texts, together, strict=True):
        assert model.predict(text).probability == pytest.approx(answer.probability, abs=1e-5)


def test_without_an_encoder_there_is_no_model(data, tmp_path):
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "encoder" / "source.json").write_text('{"name": null}')
    run(folder)
    names = {path.name for path in (folder / "finetuned").iterdir()}
    assert names == {"config.json", "files.json", "steps.csv", "history.csv"}
    with pytest.raises(UserError, match=r"holds no encoder: encoder\.name was null"):
        sentiformer.load(folder / "finetuned")


def test_a_stopped_training_resumes_to_the_same_weights(project, tmp_path):
    checkpoint = Checkpoint(tmp_path, "finetune", "key")
    events = run_with_checkpoints(setup_of(project, tmp_path / "t").training, checkpoint, 0)
    for _ in range(2):
        next(events)
    events.close()
    resumed = setup_of(project, tmp_path / "t").training
    list(run_with_checkpoints(resumed, checkpoint, 0))
    whole = setup_of(project, tmp_path / "t").training
    list(run_with_checkpoints(whole, Checkpoint(tmp_path, "finetune", "x"), 9))
    assert_equal(resumed.best_weights(), whole.best_weights())


def test_micro_batches_change_nothing_but_rounding(project, tmp_path, monkeypatch):
    whole = setup_of(project, tmp_path / "t").training
    monkeypatch.setattr(stage, "MICRO_TOKENS", 100)
    divided = setup_of(project, tmp_path / "t").training
    for training in (whole, divided):
        next(training.run())
    assert_equal(whole.model.state_dict(), divided.model.state_dict(), atol=1e-4)


@pytest.mark.parametrize(("layers", "frozen"), [(None, 0), (1, 0), (None, 1), (1, 1)])
def test_layers_are_left_out_or_frozen(project, tmp_path, layers, frozen):
    setup = setup_of(project, tmp_path / "t", layers=layers, frozen=frozen)
    before = {name: w.clone() for name, w in setup.training.model.state_dict().items()}
    train(setup, tmp_path / "data" / "finetuned")
    after = setup.training.best_weights()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert "classifier.weight" in changed
    assert any(".layer.1." in name for name in before) == (layers is None)
    assert any(".layer.0." in name for name in changed) == (not frozen)
    assert any("embeddings" in name for name in changed) == (not frozen)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layers": 3}, r"finetune\.layers is 3, but the encoder allows at most 2"),
        ({"layers": 1, "frozen": 2}, r"finetune\.frozen is 2, but the encoder allows at most 1"),
        ({"frozen": 3}, r"finetune\.frozen is 3, but the encoder allows at most 2"),
        ({"max_len": 67}, r"finetune\.max_len is 67, but the encoder allows at most 66"),
    ],
)
def test_parameters_that_do_not_fit_the_encoder(project, tmp_path, keys, message):
    with pytest.raises(UserError, match=message):
        setup_of(project, tmp_path / "t", **keys)


def test_a_long_text_keeps_its_beginning_and_its_end(project):
    tokenizer = EncoderTokenizer(project / "encoder")
    (ids,) = tokenizer(["the film was dull " * 9 + "and great"])
    framed = tokenizer.framed(ids, 12)
    start, *kept, end = framed.tolist()
    assert kept == [*ids[:5].tolist(), *ids[-5:].tolist()]
    assert [start, end] == tokenizer.framed(ids[:0], 12).tolist()
    assert framed.dtype == np.int64


def test_gradients_are_the_same_when_activations_are_computed_twice(project, tmp_path):
    gradients = []
    for twice in (False, True):
        training = setup_of(project, tmp_path / "t").training
        if twice:
            training.model.encoder.activation_checkpointing_enable()
        batch = next(training.train.epoch(1))
        training.model.train()
        torch.manual_seed(1)
        training.loss.loss(batch, batch).backward()
        gradients.append({n: w.grad for n, w in training.model.named_parameters()})
    assert_equal(*gradients, atol=1e-6)


def assert_equal(ours, theirs, atol=0.0):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=atol, rtol=0, msg=name)
