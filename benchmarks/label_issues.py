"""How many of the listed labels are wrong, after some labels were flipped at random.

    python benchmarks/label_issues.py --data data --share 0.05 --first 1000

`--data` is the folder of a project after `make` or `dvc repro baseline`. The texts are those of
train and validation; with `--texts`, so many of them at random. A flipped label becomes another
class at random. `baselines` are the probabilities as the stage baseline computes them, `TF-IDF`
those of scikit-learn's vectorizer and logistic regression by `cross_val_predict`, as in cleanlab's
tutorial. cleanlab ranks the labels of both.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from sentiformer.baselines.logistic_regression import KINDS, ROUGH, linear_model
from sentiformer.baselines.ngram_counts import count_ngrams
from sentiformer.baselines.out_of_fold import out_of_fold
from sentiformer.evaluation.label_issues import SPLITS, find_label_issues
from sentiformer.text.corpus import Block, Corpus, write_corpus


def by_baselines(corpus: Corpus, labels: np.ndarray) -> np.ndarray:
    """The (N, C) mean probabilities of the baselines, each text by models without it."""
    found = []
    for kind in KINDS.values():
        _, counts = count_ngrams(corpus, [None] * kind.max_n)
        model = linear_model(kind.weighting, kind.fold_c, tolerance=ROUGH)
        found.append(out_of_fold(model, counts, labels))
    return np.mean(found, axis=0)


def by_tfidf(texts: list[str], labels: np.ndarray) -> np.ndarray:
    """The (N, C) probabilities by plain TF-IDF."""
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    return cross_val_predict(model, texts, labels, cv=5, method="predict_proba")


def flipped(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The labels, of which this share is another class at random."""
    count, classes = round(share * len(labels)), int(labels.max()) + 1
    rows, labels = rng.permutation(len(labels))[:count], labels.copy()
    labels[rows] = (labels[rows] + rng.integers(1, classes, count)) % classes
    return labels


def drawn(
    data: Path, count: int | None, rng: np.random.Generator, folder: Path
) -> tuple[np.ndarray, Corpus]:
    """The rows of some texts of train and validation, and the corpus of them."""
    corpus = Corpus(*(data / "tokens" / f"{split}.arrow" for split in SPLITS))
    rows = np.sort(rng.permutation(len(corpus))[:count])
    ids = np.concatenate([corpus[row] for row in rows.tolist()])
    path = folder / "drawn.arrow"
    write_corpus(path, [Block(ids, corpus.lengths[rows], corpus.labels[rows])])
    return rows, Corpus(path)


def main() -> None:
    """Print a line for each method and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--texts", type=int, help="default: all")
    parser.add_argument("--share", type=float, default=0.05, help="of the labels that are flipped")
    parser.add_argument("--first", type=int, default=1000, help="listed labels that are counted")
    parser.add_argument("--draws", type=int, default=1)
    options = parser.parse_args()
    raw = pd.concat([pd.read_parquet(options.data / "raw" / f"{s}.parquet") for s in SPLITS])
    for draw in range(options.draws):
        rng = np.random.default_rng(draw)
        with TemporaryDirectory() as folder:
            rows, corpus = drawn(options.data, options.texts, rng, Path(folder))
            labels = flipped(corpus.labels, options.share, rng)
            judges = {
                "baselines": partial(by_baselines, corpus, labels),
                "TF-IDF": partial(by_tfidf, raw["text"].iloc[rows].tolist(), labels),
            }
            for name, judge in judges.items():
                print(f"{name}: {result(judge, corpus.labels, labels, options.first)}", flush=True)


def result(
    judge: Callable[[], np.ndarray], actual: np.ndarray, labels: np.ndarray, count: int
) -> str:
    """How many of the first listed labels are flipped ones, and the time."""
    begun = time.perf_counter()
    listed, is_flipped = find_label_issues(judge(), labels), labels != actual
    first = listed[:count]
    return (
        f"{is_flipped[first].sum():,} of the first {len(first):,} listed are flipped "
        f"({is_flipped[first].mean():.1%}); {len(listed):,} of {len(labels):,} texts are listed, "
        f"{is_flipped.sum():,} are flipped; {time.perf_counter() - begun:.1f} s"
    )


if __name__ == "__main__":
    main()
