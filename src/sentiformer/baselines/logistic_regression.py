"""Baselines: linear models of n-grams, on the same splits and tokens as the Transformer.

`tfidf` weights 1- and 2-grams by TF-IDF with sublinear counts (Salton & Buckley 1988).
`nb_trigrams` weights binary 1- to 3-grams by their naive Bayes log-count ratio (Wang & Manning
2012). Both fit a logistic regression, one class against the rest if there are more than two. Its C
is chosen on validation; the labels of test are never read here.

The mean of both also says how probable the labels of train and validation are. On train, each text
is judged by models that have not learned from it. Their C is small, so that they do not believe
every label.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from sentiformer.baselines.ngram_counts import MIN_COUNT, count_ngrams
from sentiformer.baselines.ngram_model import NgramModel
from sentiformer.baselines.out_of_fold import out_of_fold
from sentiformer.console.output import say
from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json, reading, write_csv, write_json
from sentiformer.core.names import SPLITS
from sentiformer.core.process import ordered_map
from sentiformer.text.corpus import Corpus, nonempty_corpus, read_types, require_all

C_VALUES = (0.1, 1.0, 10.0, 100.0)  # of the logistic regression, in rising order
MAX_ITERATIONS = 1000  # of the solver; it usually needs a few dozen
ROUGH = 0.1  # tolerance of the solver where the order of the texts counts, not the probabilities
ALPHA = 1.0  # added to the count of each n-gram in each class
UNSEEN = "unseen"  # the file of the probabilities of train and validation, in this order
TO_FILES = "nb_trigrams"  # the baseline that is written as an NgramModel


class Kind(NamedTuple):
    """The definition of a baseline."""

    title: str
    max_n: int  # the length of its longest n-grams
    weighting: TransformerMixin  # of counts, (N, F)
    fold_c: float  # C of the models that judge the labels of train


class Baseline(NamedTuple):
    """A fitted baseline; the last three attributes are not read from files."""

    metrics: dict[str, Any]  # its C, its number of n-grams, and its validation accuracy
    probabilities: np.ndarray  # class probabilities of the test texts, (N, classes)
    choices: Sequence[dict[str, Any]] = ()  # a row of `choices.csv` for each value of C
    unseen: np.ndarray = np.zeros((0, 0))  # probabilities of train and validation, (N, classes)
    model: NgramModel | None = None  # only of `TO_FILES`


class LogCountRatio(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Weights binary counts, (N, F), by log((p / |p|) / (q / |q|)), (F,).

    p is the number of texts of the class in which an n-gram occurs, q that of the other texts, each
    with `ALPHA` added (Wang & Manning 2012, section 2.1).
    """

    def fit(self, counts: csr_array, is_class: np.ndarray) -> Self:
        """Learn the ratio; `is_class`, (N,), is 1 for the texts of the class, and else 0."""
        binary = counts.sign()
        p, q = (ALPHA + np.equal(is_class, y).astype(np.float32) @ binary for y in (1, 0))
        self.ratio_ = np.log((p / p.sum()) / (q / q.sum())).astype(np.float32)
        return self

    def transform(self, counts: csr_array) -> csr_array:
        """Weight counts."""
        weighted = counts.sign()
        weighted.data *= self.ratio_[weighted.indices]
        return weighted


KINDS = {
    "tfidf": Kind("TF-IDF bigram model", 2, TfidfTransformer(sublinear_tf=True), 3.0),
    "nb_trigrams": Kind("NB-weighted trigram model", 3, LogCountRatio(), 0.1),
}


def fit_baselines(tokens: Path, folder: Path, *, workers: int) -> None:
    """Fit every baseline; the files do not depend on `workers`.

    The folder `tokens` is that of stage tokenize. Metrics, validation accuracies, probabilities of
    test and of the labels of train and validation, lineage, and the folder `ngrams` with an
    NgramModel are written to `folder`.

    Raises:
        UserError: a file of `tokens` is missing or corrupt, or train is too small for a baseline.
    """
    import pandas as pd

    corpus = read_json(tokens / "corpus.json", made_by="tokenize")
    columns = [f"probability_{label}" for label in corpus["labels"]]
    fit = partial(fit_baseline, tokens=tokens, labels=corpus["labels"])
    fitted = dict(zip(KINDS, ordered_map(fit, KINDS, workers=workers), strict=True))
    tables = {name: baseline.probabilities for name, baseline in fitted.items()}
    tables[UNSEEN] = np.mean([baseline.unseen for baseline in fitted.values()], axis=0)
    for name, probabilities in tables.items():
        table = pd.DataFrame(probabilities, columns=columns)
        table.to_parquet(folder / f"{name}.parquet", index=False)
    for name, baseline in fitted.items():
        if baseline.model:
            (folder / "ngrams").mkdir()
            baseline.model.save(folder / "ngrams")
        accuracy, c = baseline.metrics["validation_accuracy"], baseline.metrics["c"]
        say(f"{KINDS[name].title}: validation accuracy {accuracy:.4f} with C {c:g}")
    write_json(folder / "metrics.json", {name: fitted[name].metrics for name in fitted})
    rows = [row for baseline in fitted.values() for row in baseline.choices]
    write_csv(folder / "choices.csv", list(rows[0]), rows)
    write_json(folder / "lineage.json", _fingerprints(corpus))


def load_baselines(folder: Path, corpus: dict[str, Any]) -> dict[str, Baseline]:
    """Read what `fit_baselines` wrote; `corpus` is the content of `corpus.json`.

    Raises:
        UserError: a file is missing or corrupt, or the baselines were fitted to other texts.
    """
    if read_json(folder / "lineage.json", made_by="baseline") != _fingerprints(corpus):
        raise UserError(f"{folder} was made from other texts than data/tokens; run `dvc repro`")
    metrics = read_json(folder / "metrics.json", made_by="baseline")
    paths = {name: folder / f"{name}.parquet" for name in KINDS}
    found = {name: read_probabilities(path, corpus, "test") for name, path in paths.items()}
    return {name: Baseline(metrics[name], found[name]) for name in KINDS}


def read_probabilities(path: Path, corpus: dict[str, Any], *splits: str) -> np.ndarray:
    """Read the (N, C) probabilities of the N texts of splits that `fit_baselines` wrote.

    Raises:
        UserError: the file is missing or corrupt.
    """
    import pandas as pd

    rows = sum(corpus["splits"][split]["rows"] for split in splits)
    with reading(path, "baseline"):
        probabilities = pd.read_parquet(path).to_numpy()
    if probabilities.shape != (shape := (rows, len(corpus["labels"]))):
        raise corrupt(path, "baseline", f"it holds {probabilities.shape} values, not {shape}")
    return probabilities


def _fingerprints(corpus: dict[str, Any]) -> dict[str, str]:
    return {split: corpus["splits"][split]["fingerprint"] for split in SPLITS}


def fit_baseline(name: str, *, tokens: Path, labels: list[str]) -> Baseline:
    """Fit a baseline with each C, and choose C on validation; of equally good values the smallest.

    Raises:
        UserError: a split is missing, corrupt or empty, or train has no frequent n-gram or lacks
            a class.
    """
    types = read_types(tokens)
    paths = {split: tokens / f"{split}.arrow" for split in SPLITS}
    train = nonempty_corpus(paths["train"], types=len(types))
    validation = nonempty_corpus(paths["validation"])
    require_all(labels, train.labels, paths["train"])
    known, counts = count_ngrams(train, [None] * KINDS[name].max_n)
    if not counts.shape[1]:
        raise UserError(
            f"{paths['train']} has no word that occurs {MIN_COUNT} times; give train more texts"
        )
    _, on_validation = count_ngrams(validation, known)
    _, on_test = count_ngrams(Corpus(paths["test"]), known)
    choices: list[dict[str, Any]] = []
    best = -1.0
    for c in C_VALUES:
        model = linear_model(KINDS[name].weighting, c).fit(counts, train.labels)
        accuracy = round(model.score(on_validation, validation.labels), 6)
        choices.append({"baseline": name, "c": c, "validation_accuracy": accuracy})
        if accuracy > best:
            best, chosen, chosen_c = accuracy, model, c
    metrics = {"c": chosen_c, "ngrams": counts.shape[1], "validation_accuracy": best}
    rough = linear_model(KINDS[name].weighting, KINDS[name].fold_c, tolerance=ROUGH)
    folds = out_of_fold(rough, counts, train.labels)
    unseen = np.concatenate([folds, chosen.predict_proba(on_validation)])
    ngrams = _ngram_model(known, types, chosen) if name == TO_FILES else None
    return Baseline(metrics, chosen.predict_proba(on_test), choices, unseen, ngrams)


def _ngram_model(
    known: list[np.ndarray], types: list[str], fitted: OneVsRestClassifier
) -> NgramModel:
    weights = [ratio.ratio_ * regression.coef_[0] for ratio, regression in fitted.estimators_]
    arrays = {
        "bigrams": known[1],
        "trigrams": known[2],
        "weights": np.stack(weights).astype(np.float32),
        "intercepts": np.concatenate([last.intercept_ for _, last in fitted.estimators_]),
    }
    return NgramModel([types[key - 1] for key in known[0].tolist()], arrays)


def linear_model(
    weighting: TransformerMixin, c: float, *, tolerance: float = 1e-4
) -> OneVsRestClassifier:
    """A logistic regression of weighted counts: of two classes the second, of more each.

    Coordinate descent on the dual is the fastest solver here, and uses one thread, so that the
    result does not depend on the number of cores.
    """
    model = LogisticRegression(
        C=c, solver="liblinear", dual=True, tol=tolerance, max_iter=MAX_ITERATIONS, random_state=0
    )
    return OneVsRestClassifier(make_pipeline(weighting, model))
