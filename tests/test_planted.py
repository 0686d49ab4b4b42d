"""Planted pickles and code are refused or left alone; hostile names stay text."""

import json
import pickle
import re
import shutil
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from checkpoints import make_checkpoint
from conftest import RUNTIME

import sentiformer
from sentiformer.console.output import note, say
from sentiformer.console.predictions import json_line
from sentiformer.core.errors import CONTROL_CHARACTERS, UserError
from sentiformer.core.seal import seal
from sentiformer.data.download import download
from sentiformer.data.params import DownloadParams
from sentiformer.encoder.fetch import fetch_encoder
from sentiformer.encoder.params import EncoderParams
from sentiformer.params import load_params
from sentiformer.publish.card import card_sections
from sentiformer.serving.cloze import LanguageModel
from sentiformer.serving.model import Model
from sentiformer.serving.similar import open_neighbours, train_texts
from sentiformer.training.checkpoint import Checkpoint

HOSTILE = "<script>x</script>&\x1b]8;;http://x\x07\u202e[a](javascript:b)|`*x*\\"


class Payload:
    """What creates a file when it is unpickled."""

    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return (Path.touch, (self.ran,))


@pytest.fixture
def planted(tmp_path):
    """A pickle whose payload must not run."""
    ran = tmp_path / "ran"
    yield Payload(ran)
    assert not ran.exists(), "the payload ran"


def pickles(payload):
    """The payload as files of several libraries."""
    forms = [pickle.dumps(payload, protocol) for protocol in (0, 2, 5)]
    for write in (torch.save, joblib.dump, lambda value, file: np.save(file, np.array([value]))):
        with payload.ran.with_name("written").open("wb") as file:
            write(payload, file)
        forms.append(Path(file.name).read_bytes())
    return forms


def download_of(train, folder):
    folder.mkdir()
    values = load_params(Path(__file__).parents[1] / "params.yaml").download.model_dump()
    values |= {"source": "files", "train": str(train)}
    return download(DownloadParams.model_validate(values), folder)


@pytest.mark.parametrize(
    "suffix", ["csv", "tsv", "json", "jsonl", "parquet", "pkl", "npy", "csv.gz"]
)
def test_a_pickle_in_place_of_the_data_is_refused(planted, tmp_path, suffix):
    for number, content in enumerate(pickles(planted)):
        path = tmp_path / f"train.{suffix}"
        path.write_bytes(content)
        with pytest.raises(UserError):
            download_of(path, tmp_path / f"raw{number}")


def test_a_pickle_in_the_metadata_of_parquet_is_left_alone(planted, tmp_path):
    evil = pickle.dumps(planted)
    extension = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": evil,
    }
    texts = [f"{word} number {n}" for n in range(20) for word in ("good", "bad")]
    schema = pa.schema(
        [pa.field("text", pa.string(), metadata=extension), pa.field("label", pa.string())],
        metadata={"pandas": evil, "huggingface": evil},
    )
    table = pa.table([texts, [text.split()[0] for text in texts]], schema=schema)
    pq.write_table(table, tmp_path / "train.parquet")
    about = download_of(tmp_path / "train.parquet", tmp_path / "raw")
    assert about["labels"] == ["bad", "good"]


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "config.json", "files.json"])
def test_a_pickle_in_a_model_s_folder_is_refused(planted, data, tmp_path, name):
    for content in pickles(planted):
        model = shutil.copytree(data / "model", tmp_path / "model", dirs_exist_ok=True)
        (model / name).write_bytes(content)
        with pytest.raises(UserError, match=re.escape(name)):
            Model.load(model, RUNTIME)
        if name not in ("config.json", "files.json"):
            seal(model)  # whoever plants a file can also change the seal
            with pytest.raises(UserError, match=re.escape(name)):
                Model.load(model, RUNTIME)


def test_a_pickle_beside_a_model_is_not_read(planted, data, tmp_path):
    inside = tmp_path / "downloaded" / "artifacts" / "model"
    shutil.copytree(data / "model", inside)
    content = pickles(planted)[1]
    folder = tmp_path / "downloaded"
    for place in (folder, inside):
        for name in ("python_model.pkl", "pytorch_model.bin", "model.pt", "sitecustomize.py"):
            (place / name).write_bytes(content)
    flavour = (
        "flavors:\n  python_function:\n    loader_module: os\n    python_model: python_model.pkl\n"
    )
    (folder / "MLmodel").write_text(flavour)
    (folder / "code").mkdir()
    (folder / "code" / "sentiformer.py").write_text(f"open({str(planted.ran)!r}, 'w')")
    assert sentiformer.load(folder).predict("great").label in ("positive", "negative")


def test_a_pickle_or_a_damaged_byte_in_the_arrays_of_a_search_is_computed_again(
    planted, data, tmp_path
):
    model = Model.load(data / "model", RUNTIME)
    texts = train_texts(model, data / "raw")
    expected = open_neighbours(model, texts, tmp_path / "similar", map).search(["great"], 3)
    for path in sorted((tmp_path / "similar").glob("*/*.npy"))[:2]:
        damaged = path.read_bytes()[:-1] + b"x"
        for content in (pickles(planted)[1], pickles(planted)[3], damaged):
            path.write_bytes(content)
            found = open_neighbours(model, texts, tmp_path / "similar", map)
            assert found.search(["great"], 3) == expected


def test_a_pickle_in_place_of_a_checkpoint_is_not_resumed(planted, tmp_path, capsys):
    checkpoint = Checkpoint(tmp_path, "train", "key")
    for content in pickles(planted):
        checkpoint.path.write_bytes(content)
        assert checkpoint.load() is None
    assert "cannot be read" in capsys.readouterr().out


def test_a_pickle_in_a_language_model_is_refused(planted, data, tmp_path):
    folder = shutil.copytree(data / "pretrained", tmp_path / "pretrained")
    (folder / "model.safetensors").write_bytes(pickles(planted)[1])
    seal(folder)
    with pytest.raises(UserError, match=r"model\.safetensors"):
        LanguageModel(folder, RUNTIME)


def test_a_pickle_and_code_in_an_encoder_s_checkpoint_are_not_run(planted, tmp_path):
    evil = pickles(planted)
    good = make_checkpoint(tmp_path / "good")
    for number, name in enumerate(("model.safetensors", "tokenizer.json", "config.json")):
        for kind, content in enumerate((evil[1], evil[3])):  # a bare one, and torch's archive
            copy = shutil.copytree(good, tmp_path / f"{number}-{kind}")
            (copy / name).write_bytes(content)
            refuse_encoder(copy, tmp_path / f"out{number}-{kind}")
    copy = shutil.copytree(good, tmp_path / "auto")
    code = f"open({str(planted.ran)!r}, 'w')"
    (copy / "modeling_evil.py").write_text(code)
    for name in ("pytorch_model.bin", "vocab.pkl", "vocab.bin", "training_args.bin"):
        (copy / name).write_bytes(evil[1])
    for name in ("config.json", "tokenizer_config.json"):
        classes = {"AutoConfig": "modeling_evil.A", "AutoTokenizer": ["modeling_evil.A", None]}
        about = json.loads((copy / name).read_text()) | {"auto_map": classes}
        (copy / name).write_text(json.dumps(about))
    (tmp_path / "out").mkdir()
    fetch_encoder(EncoderParams(name=str(copy)), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.py"))
    (copy / "model.safetensors").unlink()
    refuse_encoder(copy, tmp_path / "out-bin")


def refuse_encoder(checkpoint, folder):
    folder.mkdir()
    with pytest.raises(UserError):
        fetch_encoder(EncoderParams(name=str(checkpoint)), folder)


def test_names_are_text_in_a_model_card(data):
    about = json.loads((data / "model" / "config.json").read_text())
    about["labels"] = [HOSTILE, "b"]
    about["data"]["origin"] |= {"name": HOSTILE, "licence": HOSTILE}
    row = {"source": HOSTILE, "texts": 1, "accuracy": 1}
    for text in card_sections(about, [row], alone=True).values():
        assert not re.search(r"(?<!\\)[<>`|\[\]&*]", text)
        assert not CONTROL_CHARACTERS.search(text)


@pytest.mark.parametrize("show", [say, note])
def test_lines_have_no_control_characters(capsys, show):
    show(HOSTILE)
    assert not CONTROL_CHARACTERS.search("".join(capsys.readouterr()))


def test_json_has_no_control_characters_and_is_the_same_text(capsys):
    text = f"{HOSTILE}\x7f\x85\x9b31m\u2066"
    line = json_line(text)
    assert not CONTROL_CHARACTERS.search(line)
    assert json.loads(line) == text
