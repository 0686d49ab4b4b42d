"""The texts that are most similar to a text, by exact search.

The similarity of two texts is a weighted mean of two cosines. That of their words, weighted by
TF-IDF, is large for texts about the same thing. That of the network's vectors is large for texts
that the network sees as the same class; with its smaller weight it decides between texts about the
same.

What the search needs is computed once and kept in a folder, named by a hash of the model and of the
texts, so that it is never stale. Its arrays are mapped into memory.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from sentiformer.console.output import note
from sentiformer.console.progress import progress
from sentiformer.core.errors import UserError
from sentiformer.core.files import atomic_folder, read_json, reading
from sentiformer.core.seal import require_sealed, seal
from sentiformer.core.text_files import read_texts
from sentiformer.serving.model import Model
from sentiformer.serving.predictor import replace_surrogates

FOLDER = "similar"  # beside the folder of a model
NETWORK = 0.1  # weight of the network's cosine beside that of the words
COMMON, COMMON_TEXTS = 0.1, 100  # a word in more than this share, and number, of texts is left out
FORMAT = b"1"  # to be raised when a change of code changes the arrays
CHUNK_TEXTS = 8  # read together; a server answers requests between chunks
KEPT = 8  # folders of arrays, for several models and texts
ARRAYS = ("vectors", "idf", "starts", "rows", "weights")
# Yields what a function gives for each chunk of texts, possibly in several processes.
MapChunks = Callable[[Callable[[list[str | None]], Any], Iterable[list[str | None]]], Iterable[Any]]


class Texts(NamedTuple):
    """N texts that are searched, and their labels; `name` is for messages."""

    name: str
    texts: Sequence[str]
    labels: Sequence[str | None]


class Neighbour(BaseModel):
    """A similar text.

    Attributes:
        text: the whole text.
        label: its label in the data; None if the texts have no labels.
        similarity: at most 1, of texts with the same words.
        row: its number in its file, from 0.
    """

    text: str
    label: str | None
    similarity: float
    row: int


class Neighbours:
    """Finds the nearest of N texts.

    Args:
        model: reads the texts that are compared with them.
        texts: the N texts.
        arrays: what `index_texts` gives for them.
    """

    def __init__(self, model: Model, texts: Texts, arrays: Mapping[str, np.ndarray]) -> None:
        self._model, self._texts, self._arrays = model, texts, arrays
        self._unread = np.flatnonzero(~arrays["vectors"].any(axis=1))

    def __str__(self) -> str:
        left_out = len(self._unread)
        line = f"{len(self._texts.texts) - left_out:,} {self._texts.name}"
        return line + (f" ({left_out:,} that the model cannot judge are left out)" * bool(left_out))

    def search(self, texts: Sequence[str | None], count: int) -> list[list[Neighbour]]:
        """The `count` nearest texts of each text, the nearest first; of equal ones the first rows.

        A text that the model cannot judge has none, and is not found.
        """
        return [
            self._nearest(self._similarities(vector, ids), count) if vector.any() else []
            for vector, ids in zip(*self._model.represent(texts), strict=True)
        ]

    def _similarities(self, vector: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The similarities, (N,), of a text to all N texts; -inf for one without a vector."""
        arrays, starts = self._arrays, self._arrays["starts"]
        similarities = NETWORK * (arrays["vectors"] @ vector)
        words, weights = word_weights(ids, arrays["idf"])
        for word, weight in zip(words.tolist(), weights.tolist(), strict=True):
            place = slice(starts[word], starts[word + 1])
            similarities[arrays["rows"][place]] += weight * arrays["weights"][place]
        similarities[self._unread] = -np.inf
        return similarities / (1 + NETWORK)

    def _nearest(self, similarities: np.ndarray, count: int) -> list[Neighbour]:
        count = min(count, len(similarities) - len(self._unread))
        least = np.partition(similarities, -count)[-count]
        rows = np.flatnonzero(similarities >= least)
        rows = rows[np.argsort(-similarities[rows], kind="stable")][:count]
        _, texts, labels = self._texts
        return [
            Neighbour(text=texts[row], label=labels[row], similarity=value, row=row)
            for row, value in zip(rows.tolist(), similarities[rows].tolist(), strict=True)
        ]


def word_weights(ids: np.ndarray, idf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct words of a text that have a weight, and their weights, of length 1.

    Weights are (1 + log(count)) times the inverse document frequency (Salton & Buckley 1988).
    """
    words, counts = np.unique(ids[idf[ids] > 0], return_counts=True)
    weights = (1 + np.log(counts)) * idf[words]
    return words, (weights / max(np.linalg.norm(weights), 1e-9)).astype(np.float32)


def index_texts(vectors: np.ndarray, ids: Sequence[np.ndarray], size: int) -> dict[str, np.ndarray]:
    """The arrays for a search of N texts.

    `vectors`, (N, D), and `ids`, N arrays, are from `Predictor.represent`; `size` is that of the
    vocabulary, V. The weight of word w in text `rows[i]` is `weights[i]`, for i from `starts[w]`
    to `starts[w + 1]`.
    """
    counts = np.zeros(size, dtype=np.int64)
    for words in ids:
        counts[np.unique(words)] += 1
    idf = np.log(len(ids) / np.maximum(counts, 1)).astype(np.float32)
    idf[(counts == 0) | (counts > max(COMMON_TEXTS, COMMON * len(ids)))] = 0
    weighted = [word_weights(words, idf) for words in ids]
    words = np.concatenate([words for words, _ in weighted])
    rows = np.repeat(np.arange(len(ids), dtype=np.int32), [len(words) for words, _ in weighted])
    order = np.argsort(words, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(words, minlength=size))])
    weights = np.concatenate([weights for _, weights in weighted])[order]
    return dict(zip(ARRAYS, (vectors, idf, starts, rows[order], weights), strict=True))


def train_texts(model: Model, raw: Path) -> Texts:
    """The training texts of a model, from the folder that stage download wrote.

    Raises:
        UserError: they are missing or corrupt, or are others than those of the model.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not (raw / "dataset.json").exists():
        raise UserError(
            f"there are no training texts in {raw}; run `dvc repro download` in the project, "
            "or search a file of texts by `sentiformer similar --texts`"
        )
    facts = read_json(raw / "dataset.json", made_by="download")["splits"]["train"]
    if facts["fingerprint"] != model.classifier.config.data["splits"]["train"]["fingerprint"]:
        raise UserError(
            f"{raw} has other texts than the model was trained on; run `dvc repro`, or search "
            "a file of texts by `sentiformer similar --texts`"
        )
    path = raw / "train.parquet"
    with reading(path, "download", pa.ArrowException, KeyError):
        table = pq.read_table(path, columns=["text", "label"])
    names = model.classifier.labels
    labels = [names[label] for label in table["label"].to_pylist()]
    return Texts("training texts", table["text"].to_pylist(), labels)


def own_texts(path: Path, column: str) -> Texts:
    """The texts in a column of a file, without labels; see `core/text_files.py`.

    A row without a text is never found, and counts in the numbers of the rows.

    Raises:
        UserError: the file cannot be read, or has no text.
    """
    texts = [text or "" for text in read_texts(path, column, note)]
    if not any(texts):
        raise UserError(f"{path} has no text; give a file that has some")
    return Texts(f"texts of {path}", texts, [None] * len(texts))


def open_neighbours(model: Model, texts: Texts, cache: Path, map_chunks: MapChunks) -> Neighbours:
    """Read what the search of texts needs from a folder in `cache`, or compute it.

    Raises:
        UserError: the model can judge no text, or another process is computing the same.
    """
    folder = cache / _key(model, texts)
    arrays = _read(folder)
    if arrays is None:
        note(f"reading {len(texts.texts):,} {texts.name} once; the result is kept in {folder}")
        arrays = index_texts(
            *_represent(texts.texts, map_chunks, model), len(model.classifier.vocab)
        )
        if not arrays["vectors"].any():
            raise UserError(f"the model can judge none of the {texts.name}; give others")
        _write(folder, arrays)
    return Neighbours(model, texts, arrays)


def _represent(
    texts: Sequence[str], map_chunks: MapChunks, model: Model
) -> tuple[np.ndarray, list[np.ndarray]]:
    starts = range(0, len(texts), CHUNK_TEXTS)
    chunks: list[list[str | None]] = [[*texts[i : i + CHUNK_TEXTS]] for i in starts]
    blocks = map_chunks(model.represent, chunks)
    done = [*progress(blocks, total=len(chunks), what="blocks of texts")]
    return np.concatenate([vectors for vectors, _ in done]), [
        ids for _, some in done for ids in some
    ]


def _key(model: Model, texts: Texts) -> str:
    """A hash of what the arrays depend on."""
    classifier, digest = model.network(), hashlib.sha256(FORMAT)
    facts = [classifier.config.model_dump_json(), classifier.prepared.precision]
    for part in (*facts, *classifier.vocab.tokens, *texts.texts):
        digest.update(replace_surrogates(part).encode() + b"\0")
    for weight in classifier.model.state_dict().values():
        digest.update(weight.cpu().numpy())
    return digest.hexdigest()[:16]


def _read(folder: Path) -> dict[str, np.ndarray] | None:
    """The arrays in a folder, mapped into memory; None if one is missing or damaged."""
    try:
        require_sealed(folder, made_by=FOLDER)
        loaded = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
        return {name: np.asarray(array) for name, array in zip(ARRAYS, loaded, strict=True)}
    except (UserError, OSError, ValueError):
        return None


def _write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays; of other folders beside `folder`, delete the oldest."""
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n", encoding="utf-8")
    others = [path.parent for path in cache.glob("*/vectors.npy")]
    for other in sorted(others, key=lambda path: path.stat().st_mtime)[: 1 - KEPT]:
        shutil.rmtree(other, ignore_errors=True)
    with atomic_folder(folder) as written:
        for name, array in arrays.items():
            np.save(written / f"{name}.npy", array, allow_pickle=False)
        seal(written)
