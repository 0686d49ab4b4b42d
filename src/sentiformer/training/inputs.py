"""What earlier stages wrote for a training."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from sentiformer.core.device import Device
from sentiformer.core.files import read_json, reading, sha256
from sentiformer.core.names import PSEUDO_LABELLED
from sentiformer.core.word_vectors import FILE, read_word_vectors
from sentiformer.model.encoder import Encoder
from sentiformer.text.corpus import Corpus, nonempty_corpus, read_types
from sentiformer.text.vocab import Vocab

FACTS = [  # about the data
    *("origin", "sources", "rows_read", "left_out", "splits"),
    *("removed", "kept", "near_duplicates", "segmenter"),
]
CODE = ("core", "text", "model", "training")  # the packages that decide the weights
PREFIX = "encoder."  # of the names of an encoder's weights in a language model


class Inputs:
    """The files of `data/` that a training reads; it keeps a list of them.

    Attributes:
        ids_of_types: (types,) vocabulary id of each type.
        read: the files that decide the weights.

    Raises:
        UserError: a file is missing or corrupt.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self._tokens = data / "tokens"
        self.vocab = Vocab.load(data / "vocab" / "vocab.txt")
        self.ids_of_types = self.vocab.encode(read_types(self._tokens))
        self.read = [self._tokens / "types.txt", data / "vocab" / "vocab.txt"]

    def corpus(self, *splits: str, taught: bool = False) -> Corpus:
        """The texts of some splits, which must have one, and those of the teacher if `taught`.

        Raises:
            UserError: a file is missing or corrupt, or there is no text.
        """
        paths = [self._tokens / f"{split}.arrow" for split in splits]
        paths += [self.data / "teacher" / PSEUDO_LABELLED] * taught
        self.read += paths
        return nonempty_corpus(*paths, types=len(self.ids_of_types))

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file that was read, by its place in `data`."""
        return {path.relative_to(self.data).as_posix(): sha256(path) for path in self.read}

    def describe(self, device: Device, sections: dict[str, Any]) -> dict[str, Any]:
        """What `config.json` says before the training; `sections` are of `params.yaml`."""
        corpus = read_json(self._tokens / "corpus.json", made_by="tokenize")
        coverage = read_json(self.data / "vocab" / "coverage.json", made_by="build_vocab")
        vocab = {"build_vocab": {"max_size": coverage["max_size"]}}
        return {
            "labels": corpus["labels"],
            "params": {**corpus["params"], **vocab, **sections},
            "vocab_size": len(self.vocab),
            "data": {name: corpus[name] for name in FACTS},
            "environment": {**device.environment, "spacy": corpus["spacy"]},
        }

    def describe_transformer(self, device: Device, sections: dict[str, Any]) -> dict[str, Any]:
        """What `config.json` of a Transformer says, in addition with its n-grams."""
        vectors = read_json(self.data / "word_vectors" / "config.json", made_by="word_vectors")
        ngrams = {name: vectors[name] for name in ("pairs", "triples")}
        return {**self.describe(device, {**vectors["params"], **sections}), **ngrams}


def training_key(about: dict[str, Any]) -> str:
    """A name for a training: a hash of what its files say and of the code that runs it."""
    own = ("encoder",) if about.get("stage") == "finetune" else ()
    packages = tuple(f"sentiformer.{package}." for package in (*CODE, *own))
    modules = sorted(name for name in sys.modules if name.startswith(packages))
    code = {name: sha256(Path(str(sys.modules[name].__file__))) for name in modules}
    return hashlib.sha256(json.dumps([code, about]).encode()).hexdigest()[:16]


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
