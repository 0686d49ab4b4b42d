"""A model that stage export wrote: prediction by NumPy and ONNX Runtime, without torch and spaCy.

T is the number of tokens that the network reads of a text, D = d_model, C classes. Texts are
predicted one at a time, so that no padding and no other text changes the scale of the numbers that
an int8 network computes with.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.core.errors import UserError
from sentiformer.core.files import read_json, reading
from sentiformer.core.params import parse
from sentiformer.core.runtime import Runtime
from sentiformer.encoder.finetune import NGRAMS
from sentiformer.encoder.tokens import EncoderTokenizer
from sentiformer.serving.config import AnyConfig, read_config
from sentiformer.serving.threshold import Thresholds
from sentiformer.text.ngrams import ngram_keys, ngram_numbers
from sentiformer.text.rules import Rules, RuleTokenizer
from sentiformer.text.truncation import truncate
from sentiformer.text.vocab import UNKNOWN, Vocab

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

STAGE = "export"
GRAPH, RULES, ENCODER = "model.onnx", "rules.json", "encoder"
VECTORS, SCALES = "vectors.npy", "scales.npy"
KEYS = ("bigrams.npy", "trigrams.npy")  # see `text/ngrams.py`
INPUT = "vectors"  # of the graph


class ExportedConfig(AnyConfig):
    """The `config.json` of the trained model, and how many tokens the network reads."""

    max_len: int
    encoder: dict[str, Any] | None = None


def is_exported(folder: Path) -> bool:
    """Whether stage export wrote the folder.

    Raises:
        UserError: `config.json` is missing or corrupt.
    """
    return read_json(folder / "config.json", made_by="train").get("stage") == STAGE


class ExportedClassifier:
    """A classifier in the folder of stage export.

    Attributes:
        config, vocab, labels, priors, thresholds, max_len, ngrams: as of `AnyClassifier`.
        tokenizer: of spaCy's tokens, by rules alone.

    Raises:
        UserError: the folder holds no model, a file is missing or corrupt, or the environment asks
            for another device or precision.
    """

    can_fork = True

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        config = read_config(folder, made_by=STAGE)
        _require_model(folder, config["params"][STAGE].get("format"), runtime)
        self.config = parse(ExportedConfig, config, where=str(folder / "config.json"))
        self.labels, self.max_len = self.config.labels, self.config.max_len
        self.priors = self.config.priors
        self.vocab = Vocab.load(folder / "vocab.txt", made_by=STAGE)
        self.thresholds = Thresholds(folder, made_by=STAGE)
        with reading(folder / RULES, STAGE):
            rules = Rules.model_validate_json((folder / RULES).read_text(encoding="utf-8"))
        self.tokenizer = RuleTokenizer(rules)
        is_ensemble, is_encoder = (folder / NGRAMS).exists(), (folder / ENCODER).exists()
        self.ngrams = NgramModel.load(folder / NGRAMS, made_by=STAGE) if is_ensemble else None
        self._encoder = EncoderTokenizer(folder / ENCODER, made_by=STAGE) if is_encoder else None
        self._vectors = WordVectors(folder)
        self._path, self._threads = folder / GRAPH, runtime.threads
        self._sessions = {self._threads: _open_session(self._path, self._threads)}

    def use_one_thread(self) -> None:
        """Use one thread in this process, which may be forked: threads do not survive that."""
        if self._threads != 1:
            self._threads = 1
            self._sessions[1] = _open_session(self._path, 1)  # the old one waits for its threads

    def probabilities(self, texts: Sequence[str], tokens: Sequence[list[str]]) -> np.ndarray:
        """The (N, C) probabilities of the classes of N texts, by the network alone.

        `tokens` are spaCy's tokens of the whole texts.
        """
        ids = self._encoder(texts) if self._encoder else [self.vocab.encode(t) for t in tokens]
        session, logits = self._sessions[self._threads], np.empty((len(ids), len(self.labels)))
        for row, text in enumerate(ids):
            vectors = self._vectors(self._read(text))[None]
            logits[row] = session.run(None, {INPUT: vectors})[0][0]
        lengths = np.array([len(text) for text in ids])
        scaled = self.config.calibration.scale(logits, lengths)
        scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return scaled / scaled.sum(axis=1, keepdims=True)

    def _read(self, ids: np.ndarray) -> np.ndarray:
        """The ids that the network reads of a text, (T,); of an empty text, an unknown word."""
        if self._encoder:
            return self._encoder.framed(ids, self.max_len)
        kept = truncate(ids, self.max_len) if len(ids) else np.array([UNKNOWN])
        return kept.astype(np.int64)


class WordVectors:
    """The sum of the vectors of each word and of the n-grams that end at it, without positions.

    The rows of one array, which is mapped into memory, are the vectors of words, then of the
    unknown bigram and the bigrams, then of the unknown trigram and the trigrams. A row of int8 has
    a scale.
    """

    def __init__(self, folder: Path) -> None:
        self._vectors = _read_array(folder / VECTORS, mapped=True)
        is_int8 = self._vectors.dtype == np.int8
        self._scales = _read_array(folder / SCALES) if is_int8 else None
        self._keys = [_read_array(path) for name in KEYS if (path := folder / name).exists()]
        self._words = len(self._vectors) - sum(1 + len(keys) for keys in self._keys)

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        """The vectors, (T, D) float32, of the words with these ids, (T,) int64."""
        rows, numbers, first = [ids], ids, self._words
        for keys in self._keys:
            numbers = ngram_numbers(ngram_keys(numbers, ids, self._words), keys)
            rows.append(numbers + first)
            first += 1 + len(keys)
        total = np.zeros((len(ids), self._vectors.shape[1]), dtype=np.float32)
        for some in rows:
            vectors = self._vectors[some]
            total += vectors if self._scales is None else vectors * self._scales[some, None]
        return total


def _require_model(folder: Path, precision: str | None, runtime: Runtime) -> None:
    if precision is None:
        raise UserError(
            f"{folder} holds no model: export.format was null; set export.format in params.yaml "
            "to int8, and run `dvc repro export`"
        )
    if runtime.device == "cuda":
        raise UserError(
            f"SENTIFORMER_DEVICE is cuda, but {folder} is an exported model, which runs on the "
            "processor; unset the variable"
        )
    if runtime.precision == "bf16":
        raise UserError(
            f"SENTIFORMER_PRECISION is bf16, but {folder} is an exported model in {precision}; "
            "unset the variable"
        )


def _read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    with reading(path, STAGE, EOFError):
        return np.asarray(np.load(path, mmap_mode="r" if mapped else None))


def _open_session(path: Path, threads: int) -> "InferenceSession":
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors, which are raised too
    with reading(path, STAGE, Exception):
        session: InferenceSession = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    return session


def onnx_runtime() -> Any:
    """Import ONNX Runtime, which from version 1.29 on reports its use to its maker by default."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
