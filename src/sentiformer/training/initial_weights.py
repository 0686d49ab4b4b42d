"""What an encoder begins with: the weights of a language model, or the vectors of words alone."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sentiformer.core.files import read_json, reading
from sentiformer.core.word_vectors import FILE, read_word_vectors
from sentiformer.model.classifier import Encoder

PREFIX = "encoder."  # of its weights in those of a language model


def load_pretrained(encoder: Encoder, data: Path) -> list[Path]:
    """Give an encoder what stage pretrain or else stage word_vectors has made for it.

    Returns:
        The files that it now begins with; none where both stages are switched off.

    Raises:
        UserError: a file is missing, corrupt, or of another size.
    """
    path = data / "pretrained" / "model.safetensors"
    if not pretraining_params(data)["pretrain"]["epochs"]:
        return load_word_vectors(encoder, data)
    with reading(path, "pretrain", SafetensorError, RuntimeError):
        weights = load_file(path)
        ours = [name for name in weights if name.startswith(PREFIX)]
        encoder.load_state_dict({name.removeprefix(PREFIX): weights[name] for name in ours})
    return [path]


def load_word_vectors(encoder: Encoder, data: Path) -> list[Path]:
    """Give an encoder the vectors of stage word_vectors, if any; see `load_pretrained`."""
    words, d_model = encoder.embedding.weight.shape
    vectors = read_word_vectors(data / "word_vectors", (words, d_model))
    if vectors is None:
        return []
    with torch.no_grad():
        encoder.embedding.weight.copy_(torch.from_numpy(vectors.words))
        for ngrams, keys, of_ngrams in (
            (encoder.pairs, vectors.pair_keys, vectors.pairs),
            (encoder.triples, vectors.triple_keys, vectors.triples),
        ):
            if ngrams is not None:
                ngrams.keys.copy_(torch.from_numpy(keys))
                ngrams.embedding.weight[1:] = torch.from_numpy(of_ngrams)
    return [data / "word_vectors" / FILE]


def pretraining_params(data: Path) -> dict[str, Any]:
    """The sections word_vectors and pretrain of `params.yaml` as their stages had them."""
    about = read_json(data / "pretrained" / "config.json", made_by="pretrain")
    return word_vectors_params(data) | {"pretrain": about["params"]["pretrain"]}


def word_vectors_params(data: Path) -> dict[str, Any]:
    """The section word_vectors of `params.yaml` as its stage had it."""
    about = read_json(data / "word_vectors" / "config.json", made_by="word_vectors")
    return {"word_vectors": about["params"]["word_vectors"]}
