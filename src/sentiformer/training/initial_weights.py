"""The first weights of an encoder: those of a language model, or the word vectors alone."""

from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from sentiformer.core.files import read_json, reading
from sentiformer.core.word_vectors import FILE, read_word_vectors
from sentiformer.model.encoder import Encoder
from sentiformer.training.inputs import Inputs

PREFIX = "encoder."  # of the names of its weights in a language model


def load_initial_weights(encoder: Encoder, inputs: Inputs) -> dict[str, Any]:
    """Load the weights that stage pretrain, or else stage word_vectors, made for an encoder.

    Returns:
        The section `pretrain` of `params.yaml` as its stage had it.

    Raises:
        UserError: a file is missing, corrupt, or of another size.
    """
    folder = inputs.data / "pretrained"
    params = read_json(folder / "config.json", made_by="pretrain")["params"]["pretrain"]
    if not params["epochs"]:
        load_word_vectors(encoder, inputs)
    else:
        path = folder / "model.safetensors"
        with reading(path, "pretrain", SafetensorError, RuntimeError):
            weights = load_file(path)
            names = [name for name in weights if name.startswith(PREFIX)]
            encoder.load_state_dict({name.removeprefix(PREFIX): weights[name] for name in names})
        inputs.read.append(path)
    return params


def load_word_vectors(encoder: Encoder, inputs: Inputs) -> None:
    """Load the vectors of stage word_vectors, if it made any; see `load_initial_weights`."""
    words, d_model = encoder.embedding.words.weight.shape
    vectors = read_word_vectors(inputs.data / "word_vectors", (words, d_model))
    if vectors is not None:
        encoder.embedding.load_vectors(vectors)
        inputs.read.append(inputs.data / "word_vectors" / FILE)
