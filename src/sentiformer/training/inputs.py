"""What earlier stages wrote for a training."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from sentiformer.core.device import Device
from sentiformer.core.files import read_json, sha256
from sentiformer.text.corpus import Corpus, nonempty_corpus, read_types
from sentiformer.text.vocab import Vocab

FACTS = ("origin", "splits", "removed", "near_duplicates", "segmenter")  # about the data
CODE = ("core", "text", "model", "training")  # the rooms whose code decides the weights


class Inputs:
    """The files of `data/` that a training reads; it keeps a list of them.

    Args:
        data: the folder with what earlier stages wrote.

    Attributes:
        vocab: the vocabulary.
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

    def corpus(self, split: str) -> Corpus:
        """A split, which must have a text.

        Raises:
            UserError: its file is missing, corrupt or empty.
        """
        self.read.append(self._tokens / f"{split}.arrow")
        return nonempty_corpus(self.read[-1], types=len(self.ids_of_types))

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each file that was read, by its place in `data`."""
        return {path.relative_to(self.data).as_posix(): sha256(path) for path in self.read}

    def describe(self, device: Device, sections: dict[str, Any]) -> dict[str, Any]:
        """What `config.json` of a model says before its training.

        Args:
            device: of the training.
            sections: the sections of `params.yaml` that later stages do not repeat.
        """
        corpus = read_json(self._tokens / "corpus.json", made_by="tokenize")
        coverage = read_json(self.data / "vocab" / "coverage.json", made_by="build_vocab")
        vectors = read_json(self.data / "word_vectors" / "config.json", made_by="word_vectors")
        vocab = {"build_vocab": {"max_size": coverage["max_size"]}}
        return {
            "labels": corpus["labels"],
            "params": {**corpus["params"], **vocab, **vectors["params"], **sections},
            "vocab_size": len(self.vocab),
            "pairs": vectors["pairs"],
            "triples": vectors["triples"],
            "data": {name: corpus[name] for name in FACTS},
            "environment": {**device.environment, "spacy": corpus["spacy"]},
        }


def training_key(about: dict[str, Any]) -> str:
    """A name for a training: a hash of what its files say and of the code that runs it."""
    code = {name: sha256(Path(str(sys.modules[name].__file__))) for name in loaded_code()}
    return hashlib.sha256(json.dumps([code, about]).encode()).hexdigest()[:16]


def loaded_code() -> list[str]:
    """The modules of this process that decide the weights."""
    rooms = tuple(f"sentiformer.{room}." for room in CODE)
    return sorted(name for name in sys.modules if name.startswith(rooms))
