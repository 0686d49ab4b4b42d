"""What an encoder begins with: the weights of a language model, or the vectors of words alone."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from sentiformer.core.files import read_json, reading
from sentiformer.core.word_vectors import FILE, read_word_vectors
from sentiformer.model.encoder import Encoder

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
    words, d_model = encoder.embedding.words.weight.shape
    vectors = read_word_vectors(data / "word_vectors", (words, d_model))
    if vectors is None:
        return []
    encoder.embedding.load_vectors(vectors)
    return [data / "word_vectors" / FILE]


def pretraining_params(data: Path) -> dict[str, Any]:
    """The sections word_vectors and pretrain of `params.yaml` as their stages had them."""
    about = read_json(data / "pretrained" / "config.json", made_by="pretrain")
    return word_vectors_params(data) | {"pretrain": about["params"]["pretrain"]}


def word_vectors_params(data: Path) -> dict[str, Any]:
    """The section word_vectors of `params.yaml` as its stage had it."""
    about = read_json(data / "word_vectors" / "config.json", made_by="word_vectors")
    return {"word_vectors": about["params"]["word_vectors"]}
