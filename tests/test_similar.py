"""Vectors of texts, and the search of similar texts."""

import json
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest

import sentiformer
from sentiformer.cli import main
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, write_json
from sentiformer.serving.similar import (
    FOLDER,
    KEPT,
    NETWORK,
    Texts,
    index_texts,
    open_neighbours,
    train_texts,
)

QUERY = "a lovely film with a clever cast and a bright scene"
UNKNOWN = ["", "   ", "qqqq xyzzy", None]


@pytest.fixture(scope="module", params=["model", "finetuned"])
def model(request, data, finetuned_data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTIFORMER_THREADS", "1")
        folder = (data if request.param == "model" else finetuned_data) / request.param
        return sentiformer.load(folder)


@pytest.fixture(scope="module")
def transformer(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTIFORMER_THREADS", "1")
        return sentiformer.load(data / "model")


@pytest.fixture
def project(data, tmp_path):
    """A copy of the model and of the texts, in which the search may write."""
    for name in ("model", "raw"):
        shutil.copytree(data / name, tmp_path / "data" / name)
    return tmp_path / "data"


def search(model, project, texts=None):
    """Open the search in this process."""
    map_chunks = partial(model.map_chunks, workers=1)
    texts = texts or train_texts(model, project / "raw")
    return open_neighbours(model, texts, project / FOLDER, map_chunks)


def test_vectors_have_length_one_and_unreadable_texts_have_none(model):
    vectors = model.embed([QUERY, *UNKNOWN, "dull"])
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 0, 0, 0, 1], abs=1e-6)
    assert model.embed(QUERY) == pytest.approx(vectors[:1], abs=1e-6)
    assert model.embed([]).shape == (0, vectors.shape[1])


def test_the_last_layer_gives_the_prediction_of_a_vector_s_direction(model):
    """The vector is what the last layer sees, also beside longer texts."""
    texts = ["great", QUERY * 3, "dull boring weak film"]
    vectors, last = model.embed(texts), model.classifier.model.classifier
    whole = model.classifier.vectors(texts, model._tokenizer(texts))
    assert vectors == pytest.approx(whole / np.linalg.norm(whole, axis=1, keepdims=True), abs=1e-6)
    logits = whole @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    network = model.classifier.probabilities(texts, model._tokenizer(texts))
    assert logits.argmax(axis=1).tolist() == network.argmax(axis=1).tolist()


def test_tables_have_vectors_and_other_values_are_refused(transformer):
    table = pd.DataFrame({"text": [QUERY, None]})
    assert transformer.embed(table) == pytest.approx(transformer.embed([QUERY, None]))
    with pytest.raises(UserError, match="text 1 is '3' of type int"):
        transformer.embed([3])


def test_a_training_text_finds_itself_first_and_the_others_in_order(model, project):
    neighbours, table = search(model, project), pd.read_parquet(project / "raw/train.parquet")
    rows = [0, 7, len(table) - 1]
    for row, found in zip(rows, neighbours.search(table["text"][rows].tolist(), 4), strict=True):
        assert found[0].row == row
        assert found[0].similarity == pytest.approx(1, abs=1e-5)
        values = [neighbour.similarity for neighbour in found]
        assert values == sorted(values, reverse=True)
        for neighbour in found:
            assert neighbour.text == table["text"][neighbour.row]
            assert neighbour.label == model.classifier.labels[table["label"][neighbour.row]]


def test_the_search_is_exact(model, project):
    """It finds what a comparison with each text finds."""
    texts = train_texts(model, project / "raw")
    vectors, ids = model.represent(texts.texts)
    size = len(model.classifier.vocab)
    counts = np.array([np.bincount(words, minlength=size) for words in ids])
    frequency = (counts > 0).sum(axis=0)
    idf = np.log(len(ids) / np.maximum(frequency, 1))
    idf[frequency > 100] = 0
    words = np.where(counts, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    words /= np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-9)
    row = 5
    expected = (words @ words[row] + NETWORK * (vectors @ vectors[row])) / (1 + NETWORK)
    (found,) = search(model, project).search([texts.texts[row]], len(ids))
    similarities = np.full(len(ids), -np.inf)
    similarities[[neighbour.row for neighbour in found]] = [n.similarity for n in found]
    assert similarities == pytest.approx(expected, abs=1e-4)


def test_words_decide_the_topic_and_the_network_between_equal_words():
    """Two texts share a rare word with the third; the vector of one is nearer."""
    vectors = np.eye(3, 2, dtype=np.float32)
    ids = [np.array([2, 3]), np.array([2, 4]), np.array([5])]
    arrays = index_texts(vectors, ids, 8)
    assert arrays["idf"][[2, 3, 6]] == pytest.approx([np.log(1.5), np.log(3), 0])
    assert arrays["starts"].tolist() == [0, 0, 0, 2, 3, 4, 5, 5, 5]
    assert arrays["rows"].tolist() == [0, 1, 0, 1, 2]
    lengths = np.bincount(arrays["rows"], arrays["weights"] ** 2)
    assert lengths == pytest.approx(1)


def test_unreadable_texts_find_nothing_and_are_not_found(transformer, project):
    texts = Texts("texts", ["", "a great film", "qqqq xyzzy", "a dull film"], [None] * 4)
    neighbours = search(transformer, project, texts)
    found = neighbours.search([*UNKNOWN, "great"], 9)
    assert found[:4] == [[]] * 4
    assert [neighbour.row for neighbour in found[4]] == [1, 3]
    assert str(neighbours) == "2 texts (2 that the model cannot judge are left out)"
    unreadable = Texts("texts of x", ["qqqq", ""], [None] * 2)
    with pytest.raises(UserError, match="can judge none of the texts of x"):
        search(transformer, project, unreadable)


def test_arrays_are_kept_until_texts_or_model_change(transformer, project, monkeypatch):
    before = search(transformer, project).search([QUERY], 3)
    (kept,) = (project / FOLDER).glob("*/vectors.npy")
    represent = transformer.represent
    monkeypatch.setattr(transformer, "represent", lambda texts: pytest.fail("they were computed"))
    with pytest.raises(pytest.fail.Exception):
        search(transformer, project, Texts("texts", ["great", "dull"], [None] * 2))
    neighbours = search(transformer, project)
    monkeypatch.setattr(transformer, "represent", represent)
    assert neighbours.search([QUERY], 3) == before
    weight = transformer.classifier.model.classifier.weight.data
    weight += 1
    try:
        search(transformer, project)
    finally:
        weight -= 1
    assert len(list((project / FOLDER).glob("*/vectors.npy"))) == 2
    for damaged in (b"damaged", b""):
        kept.write_bytes(damaged)
        assert search(transformer, project).search([QUERY], 3) == before
    assert (project / FOLDER / ".gitignore").read_text() == "*\n"


def test_only_the_newest_folders_are_kept(transformer, project):
    for number in range(KEPT + 3):
        search(transformer, project, Texts("texts", [f"great film {number}"], [None]))
    assert len(list((project / FOLDER).glob("*/vectors.npy"))) == KEPT


def test_other_texts_than_those_of_the_model_are_refused(transformer, project, tmp_path):
    path = project / "raw" / "dataset.json"
    about = read_json(path, made_by="download")
    about["splits"]["train"]["fingerprint"] = "another"
    write_json(path, about)
    with pytest.raises(UserError, match=r"raw has other texts than .*`dvc repro`.*--texts"):
        train_texts(transformer, project / "raw")
    with pytest.raises(UserError, match=r"no training texts in .*nowhere; .*--texts"):
        train_texts(transformer, tmp_path / "nowhere")


def run(project, monkeypatch, capsys, *arguments):
    """Run the command in the project; return its two streams."""
    monkeypatch.chdir(project.parent)
    monkeypatch.setenv("SENTIFORMER_THREADS", "1")
    main(["similar", *map(str, arguments)])
    return capsys.readouterr()


def test_the_command_prints_rows_or_json(project, monkeypatch, capsys):
    shown = run(project, monkeypatch, capsys, QUERY, "qqqq", "--count", 2)
    first, *rows, second, none = shown.out.splitlines()
    assert (first, second) == (QUERY, "qqqq")
    assert none.strip() == "none: the model cannot judge this text"
    assert [row.split()[1] in ("negative", "positive") for row in rows] == [True, True]
    assert "the nearest of " in shown.err
    assert "--json prints whole texts" in shown.err
    assert run(project, monkeypatch, capsys, "").out.startswith("(no text)\n")
    printed = run(project, monkeypatch, capsys, QUERY, "--count", 2, "--json")
    assert "--json" not in printed.err
    found = json.loads(printed.out)
    assert found["text"] == QUERY
    assert [set(row) for row in found["similar"]] == [{"text", "label", "similarity", "row"}] * 2


def test_the_command_searches_a_file_of_one_s_own(project, tmp_path, monkeypatch, capsys):
    path = tmp_path / "own.csv"
    path.write_text('review,id\n"a dull and weak story",1\n,2\n"a clever and funny film",3\n')
    shown = run(project, monkeypatch, capsys, "funny", "--texts", path, "--column", "review")
    assert shown.out.splitlines()[1].endswith("a clever and funny film")
    assert "the nearest of 2 texts of" in shown.err
    assert "(1 that the model cannot judge are left out)" in shown.err
    with pytest.raises(SystemExit, match="--column is only for a table; leave it out"):
        run(project, monkeypatch, capsys, "funny", "--column", "review")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(SystemExit, match=r"error: .*empty\.txt has no text; give a file"):
        run(project, monkeypatch, capsys, "funny", "--texts", empty)
    with pytest.raises(SystemExit, match=r"own\.csv' is a file; give a text, or .* --texts "):
        run(project, monkeypatch, capsys, path)
