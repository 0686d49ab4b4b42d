"""Nearest reviews: are they about the same film, and of the same label? And how long it takes.

    python benchmarks/similar.py --model data/model --imdb FOLDER

FOLDER has the file train-00000-of-00001.parquet of the data set stanfordnlp/imdb. Its rows are
grouped by film, so a neighbouring row is most often about the same film. The reviews in the middle,
half of each label, are compared with each other. Two shares are printed: of reviews with a
neighbouring row among the ten nearest, and of the ten nearest with the same label. The network has
seen the labels of its training texts; `--test` takes the reviews of test. TF-IDF is scikit-learn's,
of all words, with 1 + log(count).
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
from sklearn.feature_extraction.text import TfidfVectorizer

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

import sentiformer
from sentiformer.core.environment import processor_name
from sentiformer.core.runtime import load_runtime
from sentiformer.serving.similar import Neighbours, Texts, open_neighbours
from sentiformer.text.tokenizer import Tokenizer

NEAREST = 10
BLOCK = 500  # reviews that are compared with all others at once


def main() -> None:
    """Run the measurements and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "data/model")
    parser.add_argument("--imdb", type=Path, required=True, help="folder of the Parquet files")
    parser.add_argument("--test", action="store_true", help="the reviews of test, not of train")
    parser.add_argument("--texts", type=int, default=25_000, help="reviews to compare")
    parser.add_argument("--single", type=int, default=200, help="reviews for the time of a search")
    options = parser.parse_args()
    texts, labels = read_reviews(options.imdb, "test" if options.test else "train", options.texts)
    print(f"{processor_name()}, {len(texts):,} reviews")
    report("TF-IDF", nearest_by_tfidf(texts), labels)
    model = sentiformer.load(options.model)
    map_chunks = partial(model.map_chunks, workers=load_runtime().threads)
    with TemporaryDirectory() as cache:
        searched = Texts("reviews", texts, [str(label) for label in labels])
        start = time.perf_counter()
        neighbours = open_neighbours(model, searched, Path(cache), map_chunks)
        print(f"prepared in {time.perf_counter() - start:.0f} s")
        report("sentiformer similar", nearest_by_model(neighbours, texts), labels)
        print_times(neighbours, texts[: options.single])
    vectors = model.embed(texts)
    report("network alone", nearest_by_vectors(vectors), labels)


def read_reviews(folder: Path, split: str, count: int) -> tuple[list[str], np.ndarray]:
    """The reviews in the middle of a split, where the labels change, and their labels."""
    table = pq.read_table(folder / f"{split}-00000-of-00001.parquet")
    table = table.slice(max(0, (len(table) - count) // 2), count)
    return table["text"].to_pylist(), np.array(table["label"].to_pylist())


def nearest_by_tfidf(texts: list[str]) -> np.ndarray:
    """The rows of the nearest reviews of each review, (N, 10), by scikit-learn's TF-IDF."""
    tokens = Tokenizer("en")(texts)
    vectors = TfidfVectorizer(sublinear_tf=True, analyzer=lambda words: words).fit_transform(tokens)
    return np.concatenate(
        [
            _without_itself((vectors[i : i + BLOCK] @ vectors.T).toarray(), i)
            for i in range(0, len(texts), BLOCK)
        ]
    )


def nearest_by_vectors(vectors: np.ndarray) -> np.ndarray:
    """The rows of the nearest vectors of each vector, (N, 10)."""
    starts = range(0, len(vectors), BLOCK)
    return np.concatenate([_without_itself(vectors[i : i + BLOCK] @ vectors.T, i) for i in starts])


def _without_itself(similarities: np.ndarray, start: int) -> np.ndarray:
    """The columns of the largest values of each row; row i is itself in column `start` + i."""
    rows = np.arange(len(similarities))
    similarities[rows, start + rows] = -np.inf
    return np.argsort(-similarities, axis=1, kind="stable")[:, :NEAREST]


def nearest_by_model(neighbours: Neighbours, texts: list[str]) -> np.ndarray:
    """The rows of the nearest reviews of each review, (N, 10), by `sentiformer similar`."""
    nearest = np.full((len(texts), NEAREST), -1)
    for start in range(0, len(texts), BLOCK):
        found = neighbours.search(texts[start : start + BLOCK], NEAREST + 1)
        for row, answers in enumerate(found, start=start):
            rows = [answer.row for answer in answers if answer.row != row][:NEAREST]
            nearest[row, : len(rows)] = rows
    return nearest


def report(name: str, nearest: np.ndarray, labels: np.ndarray) -> None:
    """Print how often the nearest reviews are about the same film, and have the same label."""
    rows = np.arange(len(nearest))[:, None]
    film = (np.abs(nearest - rows) == 1).any(axis=1).mean()
    label = (labels[nearest] == labels[rows]).mean()
    print(f"{name}: a neighbouring row for {film:.1%}, the same label for {label:.1%}", flush=True)


def print_times(neighbours: Neighbours, texts: list[str]) -> None:
    """Print the time of one search: in all, and without reading the text."""
    whole, search = [], []
    for text in texts:
        start = time.perf_counter()
        neighbours.search([text], NEAREST)
        whole.append(time.perf_counter() - start)
        ((vector,), (ids,)) = neighbours._model.represent([text])
        start = time.perf_counter()
        neighbours._nearest(neighbours._similarities(vector, ids), NEAREST)
        search.append(time.perf_counter() - start)
    for name, times in (("with reading the text", whole), ("the search alone", search)):
        p50, p99 = np.percentile(times, [50, 99]) * 1e3
        print(f"one text, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms over {len(times)}")


if __name__ == "__main__":
    main()
