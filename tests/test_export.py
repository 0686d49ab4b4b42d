"""Exported models against torch's, and spaCy's rules against spaCy, without both."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
from conftest import ROOT, RUNTIME, made_up_reviews, tiny_params

import sentiformer
from sentiformer import UserError
from sentiformer.core.runtime import Runtime
from sentiformer.export.export import export, rows_in_int8
from sentiformer.export.params import ExportParams
from sentiformer.serving.model import Model
from sentiformer.text.rules import Rules, RuleTokenizer
from sentiformer.text.tokenizer import Tokenizer

LANGUAGES = ["en", "de", "fr", "it", "tr", "fi", "es", "xx", "am", "ms", "hu", "zh"]
SIGNS = [*".,:;()[]!?'\"-–…/\\*&%$#@+=<>~_«’»0123456789aBé", "n't", "http://a.b", "10km", "e.g."]
ABSENT = ("torch", "spacy", "transformers", "onnx", "onnxscript", "pandas", "scipy", "sklearn")
TEXTS = ["great", "", "boring, isn't it?", "zyzzyva", "the film was great :) " * 30]


def exported(data: Path, model: str, precision: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    export(ExportParams(format=precision, model=model), data, folder)
    return folder


@pytest.fixture(scope="module")
def folders(data, finetuned_data, tmp_path_factory):
    """The exports of both tiny models, by model and format, with the folder of the model."""
    place = tmp_path_factory.mktemp("exports")
    sources = {"model": data, "finetuned": finetuned_data}
    return {
        (name, precision): (exported(source, name, precision, place / name / precision), source)
        for name, source in sources.items()
        for precision in ("fp32", "int8")
    }


def probabilities(model, texts):
    return np.array([list(answer.probabilities.values()) for answer in model.predict(texts)])


@pytest.mark.parametrize("name", ["model", "finetuned"])
def test_fp32_gives_the_probabilities_of_torch(folders, name):
    folder, data = folders[name, "fp32"]
    texts = [*TEXTS, *made_up_reviews(60, seed=5)["text"]]
    trained, exported_model = Model.load(data / name, RUNTIME), Model.load(folder, RUNTIME)
    expected, found = probabilities(trained, texts), probabilities(exported_model, texts)
    assert np.abs(found - expected).max() < 1e-5
    assert expected.std() > 0.01
    assert [a.reason for a in trained.predict(TEXTS)] == [
        a.reason for a in exported_model.predict(TEXTS)
    ]


@pytest.mark.parametrize("name", ["model", "finetuned"])
def test_int8_is_near_and_no_other_text_changes_it(folders, name):
    texts = [*TEXTS, *made_up_reviews(30, seed=5)["text"]]
    exact, near = (Model.load(folders[name, kind][0], RUNTIME) for kind in ("fp32", "int8"))
    found = probabilities(near, texts)
    assert 0 < np.abs(found - probabilities(exact, texts)).max() < 0.1
    for text, expected in zip(texts, found, strict=True):
        assert (probabilities(near, [text]) == expected).all(), text[:40]


def test_rows_in_int8_are_within_half_a_step_and_zeros_stay():
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    vectors[3] = 0
    rows, scales = rows_in_int8(vectors)
    assert rows.dtype == np.int8
    assert (np.abs(rows * scales[:, None] - vectors) <= scales[:, None] * 0.501).all()
    assert not rows[3].any()


def test_the_vectors_take_a_quarter_of_the_space(folders):
    sizes = [
        (folders["model", kind][0] / "vectors.npy").stat().st_size for kind in ("fp32", "int8")
    ]
    assert sizes[1] < sizes[0] / 3.5


@pytest.mark.parametrize("name", ["model", "finetuned"])
def test_the_bytes_are_the_same_twice_and_name_no_path(folders, name, tmp_path):
    folder, data = folders[name, "int8"]
    again = exported(data, name, "int8", tmp_path / "again")
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) >= 6
    for path in files:
        assert (again / path).read_bytes() == (folder / path).read_bytes(), path
    graph = (folder / "model.onnx").read_bytes()
    assert not any(word in graph for word in (b".py", b"site-packages", str(ROOT).encode()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "finetuned"])
def test_prediction_needs_neither_torch_nor_spacy_and_calls_nobody(folders, name, tmp_path):
    folder, data = folders[name, "int8"]
    script = f"""
import socket, sys
sys.modules.update(dict.fromkeys({ABSENT}))
def refuse(*arguments, **keywords): raise AssertionError("a socket")
socket.socket.connect = socket.getaddrinfo = refuse
from sentiformer.cli import main
main(["predict", "--json", "--model", {str(folder)!r}, "a great film, isn't it?", "zyzzyva"])
"""
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    expected = Model.load(data / name, RUNTIME).predict("a great film, isn't it?")
    assert answers[0]["label"] == expected.label
    assert answers[1]["reason"] == "no known word"
    assert not list(home.rglob("*")), "ONNX Runtime would keep an id of the machine there"


@pytest.mark.parametrize("name", ["model", "finetuned"])
def test_forked_processes_give_the_same(folders, name):
    model = Model.load(folders[name, "int8"][0], Runtime(threads=2, device="cpu"))
    texts = made_up_reviews(12, seed=9)["text"].tolist()
    expected = model(texts)
    chunks = [texts[start : start + 4] for start in range(0, 12, 4)]
    found = [answer for _, some in model.predict_chunks(chunks, workers=2) for answer in some]
    for one, other in zip(found, expected, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


@pytest.mark.parametrize("language", LANGUAGES)
def test_rules_split_as_spacy_does(language):
    tokenizer = Tokenizer(language)
    rules = RuleTokenizer(Rules.model_validate_json(Rules.of(tokenizer).model_dump_json()))
    rng, spacy_alone = random.Random(0), spacy.blank(language).tokenizer
    signs = SIGNS + [chunk for chunk in getattr(spacy_alone, "rules", ()) if chunk.strip()]
    chunks = [
        "".join("".join(rng.choices(signs, k=rng.randint(1, 6))).split()) for _ in range(2000)
    ]
    chunks += made_up_reviews(20)["text"].str.split().sum()
    for chunk in chunks:
        assert rules._words(chunk) == [token.text for token in spacy_alone(chunk)], chunk
    text = " ".join(chunks[:300]) + " " + "x" * 2500
    assert rules([text]) == tokenizer([text])


def test_a_language_of_another_package_is_refused():
    class Japanese:
        segmenter = "JapaneseTokenizer"

    with pytest.raises(UserError, match="JapaneseTokenizer, which needs a package"):
        Rules.of(Japanese())


def test_without_a_format_there_is_only_a_record(data, tmp_path):
    line = export(ExportParams(format=None, model="model"), data, tmp_path)
    assert line == "export.format is null: no exported model"
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "files.json"}
    with pytest.raises(UserError, match=r"holds no model: export.format was null; .*dvc repro exp"):
        sentiformer.load(tmp_path)


def test_an_encoder_that_is_not_there_is_refused():
    changed = {"format": "int8", "model": "finetuned"}
    with pytest.raises(ValueError, match=r"export.model is finetuned, but encoder.name is null"):
        tiny_params(export=changed)


@pytest.mark.parametrize(
    ("setting", "wording"),
    [
        ({"device": "cuda"}, "SENTIFORMER_DEVICE is cuda, but .* runs on the processor; unset"),
        ({"precision": "bf16"}, "SENTIFORMER_PRECISION is bf16, but .* in int8; unset"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folders, setting, wording):
    with pytest.raises(UserError, match=wording):
        Model.load(folders["model", "int8"][0], Runtime(threads=1, **setting))


FILES = ("model.onnx", "vectors.npy", "scales.npy", "rules.json", "vocab.txt", "config.json")


@pytest.mark.parametrize(
    ("name", "damage"),
    [*((name, "missing") for name in FILES), *((name, "cut") for name in (*FILES, "bigrams.npy"))],
)
def test_a_missing_or_damaged_file_is_one_line(folders, tmp_path, name, damage):
    copy = shutil.copytree(folders["model", "int8"][0], tmp_path / "copy")
    path = copy / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"{name} is (missing|corrupt).*`dvc repro "):
        Model.load(copy, RUNTIME)


def test_missing_and_swapped_files_are_named(folders, tmp_path):
    copy = shutil.copytree(folders["model", "int8"][0], tmp_path / "copy")
    (copy / "bigrams.npy").replace(copy / "keys")
    with pytest.raises(UserError, match=r"bigrams\.npy is missing"):
        Model.load(copy, RUNTIME)
    (copy / "trigrams.npy").replace(copy / "bigrams.npy")
    (copy / "keys").replace(copy / "trigrams.npy")
    with pytest.raises(UserError, match=r"bigrams\.npy is corrupt \(its SHA-256 is not"):
        Model.load(copy, RUNTIME)
