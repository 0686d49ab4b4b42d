"""Baselines: linear models of n-grams, on the same splits and tokens as the Transformer.

`tfidf` weights 1- and 2-grams by TF-IDF with sublinear counts (Salton & Buckley 1988).
`nb_trigrams` weights binary 1- to 3-grams by their naive Bayes log-count ratio (Wang & Manning
2012). Both fit a logistic regression, one class against the rest if there are more than two. Its C
is chosen on validation; the labels of test are never read here.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sentiformer.baselines.ngram_counts import MIN_COUNT, count_ngrams, learn_ngrams
from sentiformer.baselines.params import TeachParams
from sentiformer.console.output import say
from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json, reading, write_csv, write_json
from sentiformer.core.names import SPLITS, UNLABELED
from sentiformer.core.process import ordered_map
from sentiformer.core.pseudo_labels import write_pseudo_labels
from sentiformer.text.corpus import Corpus, nonempty_corpus, require_all

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Weighting = Callable[["csr_array"], "csr_array"]
MakeWeighting = Callable[["csr_array", np.ndarray], Weighting]
C_VALUES = (0.1, 1.0, 10.0, 100.0)  # of the logistic regression, in rising order
MAX_ITERATIONS = 1000  # of the solver; it usually needs a few dozen
ALPHA = 1.0  # added to the count of each n-gram in each class


class Kind(NamedTuple):
    """The definition of a baseline.

    `weighting` makes the function that weights counts. Its arguments are the counts of train,
    (N, F), and whether each text is of the class, (N,).
    """

    title: str
    max_n: int  # the length of its longest n-grams
    weighting: MakeWeighting


class Baseline(NamedTuple):
    """A fitted baseline; the last two attributes are not read from files."""

    metrics: dict[str, Any]  # its C, its number of n-grams, and its validation accuracy
    probabilities: np.ndarray  # class probabilities of the test texts, (N, classes)
    choices: Sequence[dict[str, Any]] = ()  # a row of `choices.csv` for each value of C
    pseudo_labels: np.ndarray | None = None  # of the unlabelled texts, (M, classes); of a teacher


def tfidf(counts: "csr_array", is_class: np.ndarray) -> Weighting:
    """TF-IDF with rows of length 1; it does not depend on the class."""
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer(sublinear_tf=True).fit(counts).transform


def log_count_ratio(counts: "csr_array", is_class: np.ndarray) -> Weighting:
    """Weight binary counts by log((p / |p|) / (q / |q|)), (F,).

    p is the number of texts of the class in which an n-gram occurs, q that of the other texts, each
    with `ALPHA` added (Wang & Manning 2012, section 2.1).
    """
    binary = counts.sign()
    p, q = (ALPHA + binary[rows].sum(axis=0, dtype=np.float64) for rows in (is_class, ~is_class))
    ratio = np.log((p / p.sum()) / (q / q.sum())).astype(np.float32)
    return lambda counts: counts.sign().multiply(ratio).tocsr()


KINDS = {
    "tfidf": Kind("TF-IDF bigram model", 2, tfidf),
    "nb_trigrams": Kind("NB-weighted trigram model", 3, log_count_ratio),
}


def fit_baselines(
    params: TeachParams, tokens: Path, folder: Path, teacher: Path, *, workers: int
) -> None:
    """Fit every baseline; the files do not depend on `workers`.

    The folder `tokens` is that of stage tokenize. Metrics, validation accuracies, test
    probabilities and lineage are written to `folder`, and the pseudo-labels to `teacher`.

    Raises:
        UserError: a file of `tokens` is missing or corrupt, train is too small for a baseline, or
            there is a teacher, but no unlabelled text.
    """
    import pandas as pd

    corpus = read_json(tokens / "corpus.json", made_by="tokenize")
    if params.by and not corpus["splits"].get(UNLABELED, {"rows": 0})["rows"]:
        raise UserError(
            f"params.yaml: teach.by is {params.by}, but there is no unlabelled text; give "
            "download.unlabeled texts that are in no other split, or set teach.by to null"
        )
    columns = [f"probability_{label}" for label in corpus["labels"]]
    fit = partial(fit_baseline, tokens=tokens, labels=corpus["labels"], teacher=params.by)
    fitted = dict(zip(KINDS, ordered_map(fit, KINDS, workers=workers), strict=True))
    for name, baseline in fitted.items():
        table = pd.DataFrame(baseline.probabilities, columns=columns)
        table.to_parquet(folder / f"{name}.parquet", index=False)
        accuracy, c = baseline.metrics["validation_accuracy"], baseline.metrics["c"]
        say(f"{KINDS[name].title}: validation accuracy {accuracy:.4f} with C {c:g}")
    write_json(folder / "metrics.json", {name: fitted[name].metrics for name in fitted})
    rows = [row for baseline in fitted.values() for row in baseline.choices]
    write_csv(folder / "choices.csv", list(rows[0]), rows)
    write_json(folder / "lineage.json", _fingerprints(corpus))
    write_pseudo_labels(teacher, params.by, params.by and fitted[params.by].pseudo_labels)


def load_baselines(folder: Path, corpus: dict[str, Any]) -> dict[str, Baseline]:
    """Read what `fit_baselines` wrote; `corpus` is the content of `corpus.json`.

    Raises:
        UserError: a file is missing or corrupt, or the baselines were fitted to other texts.
    """
    import pandas as pd

    if read_json(folder / "lineage.json", made_by="baseline") != _fingerprints(corpus):
        raise UserError(f"{folder} was made from other texts than data/tokens; run `dvc repro`")
    shape = corpus["splits"]["test"]["rows"], len(corpus["labels"])
    metrics = read_json(folder / "metrics.json", made_by="baseline")
    baselines = {}
    for name in KINDS:
        path = folder / f"{name}.parquet"
        with reading(path, "baseline"):
            probabilities = pd.read_parquet(path).to_numpy()
        if probabilities.shape != shape:
            raise corrupt(path, "baseline", f"it holds {probabilities.shape} values, not {shape}")
        baselines[name] = Baseline(metrics[name], probabilities)
    return baselines


def _fingerprints(corpus: dict[str, Any]) -> dict[str, str]:
    return {split: corpus["splits"][split]["fingerprint"] for split in SPLITS}


def fit_baseline(name: str, *, tokens: Path, labels: list[str], teacher: str | None) -> Baseline:
    """Fit a baseline with each C, and choose C on validation; of equally good values the smallest.

    Raises:
        UserError: a split is missing, corrupt or empty, or train has no frequent n-gram or lacks
            a class.
    """
    paths = {split: tokens / f"{split}.arrow" for split in (*SPLITS, UNLABELED)}
    train, validation = nonempty_corpus(paths["train"]), nonempty_corpus(paths["validation"])
    require_all(labels, train.labels, paths["train"])
    known, train_counts = learn_ngrams(train, KINDS[name].max_n)
    if not train_counts.shape[1]:
        raise UserError(
            f"{paths['train']} has no word that occurs {MIN_COUNT} times; give train more texts"
        )
    others = [validation, Corpus(paths["test"])]
    if name == teacher:
        others.append(nonempty_corpus(paths[UNLABELED]))
    counts = [train_counts, *(count_ngrams(corpus, known) for corpus in others)]
    on_validation, on_test, *on_unlabeled = predict(
        counts, train.labels, len(labels), KINDS[name].weighting
    )
    right = on_validation.argmax(axis=2) == validation.labels
    accuracies = right.mean(axis=1).round(6).tolist()
    best = accuracies.index(max(accuracies))
    choices = [
        {"baseline": name, "c": c, "validation_accuracy": accuracy}
        for c, accuracy in zip(C_VALUES, accuracies, strict=True)
    ]
    metrics = {
        "c": C_VALUES[best],
        "ngrams": train_counts.shape[1],
        "validation_accuracy": accuracies[best],
    }
    return Baseline(metrics, on_test[best], choices, *(found[best] for found in on_unlabeled))


def predict(
    counts: "Sequence[csr_array]", actual: np.ndarray, classes: int, weighting: MakeWeighting
) -> list[np.ndarray]:
    """Fit a model to train for each C, and predict the other splits.

    Of two classes the second is fitted; of more, each against the rest.

    Args:
        counts: of train and of each split to predict, (N, F) each.
        actual: the classes of train, (N,).
        classes: their number.
        weighting: see `Kind`.

    Returns:
        Probabilities of each split to predict, (len(C_VALUES), N, classes).
    """
    from sklearn.linear_model import LogisticRegression

    found = []  # for each fitted class and split, (len(C_VALUES), N)
    for number in [1] if classes == 2 else range(classes):
        is_class = actual == number
        train, *others = map(weighting(counts[0], is_class), counts)
        # Coordinate descent on the dual is the fastest solver here, and uses one thread, so that
        # the result does not depend on the number of cores.
        models = [
            LogisticRegression(
                C=c, solver="liblinear", dual=True, max_iter=MAX_ITERATIONS, random_state=0
            ).fit(train, is_class)
            for c in C_VALUES
        ]
        found.append([np.stack([m.predict_proba(x)[:, 1] for m in models]) for x in others])
    splits = [np.stack(split, axis=2) for split in zip(*found, strict=True)]
    if classes == 2:
        return [np.concatenate([1 - split, split], axis=2) for split in splits]
    return [split / split.sum(axis=2, keepdims=True) for split in splits]
