"""Stage export: a trained model in files from which a program without torch predicts."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiformer.core.files import read_json, sha256, write_json
from sentiformer.core.runtime import Runtime
from sentiformer.core.seal import seal
from sentiformer.encoder.finetune import NGRAMS
from sentiformer.export.params import ExportParams
from sentiformer.serving.exported import ENCODER, GRAPH, KEYS, RULES, SCALES, STAGE, VECTORS
from sentiformer.text.rules import Rules
from sentiformer.training.coverage import FILE as COVERAGE

if TYPE_CHECKING:
    from torch import nn

    from sentiformer.serving.trained_model import AnyClassifier

ENCODER_FILES = ("source.json", "tokenizer.json")  # that prediction reads


def export(params: ExportParams, data: Path, folder: Path) -> str:
    """Write the model in `data / params.model` to `folder`; return a line that says what came out.

    If `params.format` is None, only a record that there is no model is written.

    Raises:
        UserError: the model is missing or corrupt, or its language needs another package.
    """
    if params.format is None:
        about = {"stage": STAGE, "params": {STAGE: params.model_dump()}}
        write_json(folder / "config.json", about)
        seal(folder)
        return "export.format is null: no exported model"
    from sentiformer.serving.trained_model import load_classifier  # imports torch

    source = data / params.model
    classifier = load_classifier(source, Runtime(device="cpu", threads=1))
    (folder / RULES).write_text(Rules.of(classifier.tokenizer).model_dump_json(), encoding="utf-8")
    _write_network(classifier, params.format, folder)
    for name in ("vocab.txt", COVERAGE):
        shutil.copyfile(source / name, folder / name)
    if classifier.ngrams is not None:
        (folder / NGRAMS).mkdir()
        classifier.ngrams.save(folder / NGRAMS)
    if (source / ENCODER).exists():
        (folder / ENCODER).mkdir()
        for name in ENCODER_FILES:
            shutil.copyfile(source / ENCODER / name, folder / ENCODER / name)
    _write_config(classifier.max_len, params, source, folder)
    seal(folder)
    before, after = size(source), size(folder)
    return f"{source}, {before / 1e6:.1f} MB, in {params.format}: {after / 1e6:.1f} MB"


def size(folder: Path) -> int:
    """The number of bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write_network(classifier: "AnyClassifier[Any]", precision: str, folder: Path) -> None:
    """Write the vectors of words and n-grams as arrays, and the rest of the network as a graph."""
    from sentiformer.export.graph import EncoderOfVectors, TransformerOfVectors, in_int8, to_onnx
    from sentiformer.model.classifier import TransformerClassifier

    model: Any = classifier.model
    network: nn.Module
    if isinstance(model, TransformerClassifier):
        network, embedding = TransformerOfVectors(model), model.encoder.embedding
        ngrams = [table for table in (embedding.bigrams, embedding.trigrams) if table is not None]
        tables = [embedding.words.weight, *(table.weight for table in ngrams)]
        for name, table in zip(KEYS, ngrams, strict=False):
            np.save(folder / name, table.keys.numpy())
    else:
        network, tables = EncoderOfVectors(model), [model.encoder.get_input_embeddings().weight]
    vectors = np.concatenate([table.detach().numpy() for table in tables])
    graph = to_onnx(network, vectors.shape[1], classifier.max_len)
    if precision == "int8":
        graph, (vectors, scales) = in_int8(graph), rows_in_int8(vectors)
        np.save(folder / SCALES, scales)
    np.save(folder / VECTORS, vectors)
    (folder / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))


def rows_in_int8(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors, (N, D) float32, as (N, D) int8 and a scale, (N,) float32, for each row."""
    scales = np.abs(vectors).max(axis=1) / np.float32(127)
    scales[scales == 0] = 1  # the row is 0
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def _write_config(max_len: int, params: ExportParams, source: Path, folder: Path) -> None:
    config = read_json(source / "config.json", made_by="train")
    about = {
        **config,
        "stage": STAGE,
        "max_len": max_len,
        "made_from": {"model.safetensors": sha256(source / "model.safetensors")},
        "params": {**config["params"], STAGE: params.model_dump()},
    }
    write_json(folder / "config.json", about)
