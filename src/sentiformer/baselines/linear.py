"""Baselines: linear models of n-grams, on the same splits and the same tokens as the Transformer.

`tfidf` weights 1- and 2-grams by TF-IDF with sublinear counts (Salton & Buckley 1988);
`nb_trigrams` weights binary 1- to 3-grams by their naive Bayes log-count ratio (Wang & Manning
2012). Logistic regression does the rest, one class against the others where there are more than
two. Its C is chosen on validation; the labels of test are never read here.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sentiformer.baselines.params import BaselineParams, TeachParams
from sentiformer.console import say
from sentiformer.core.errors import UserError
from sentiformer.core.files import corrupt, read_json, reading, write_json
from sentiformer.core.names import SPLITS, UNLABELED
from sentiformer.core.process import ordered_map
from sentiformer.features.ngrams import NGrams
from sentiformer.text.corpus import Corpus, nonempty_corpus, require_all
from sentiformer.text.pseudo_labels import require_unlabeled, write_probabilities

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Weighting = Callable[["csr_array"], "csr_array"]
MakeWeighting = Callable[["csr_array", np.ndarray], Weighting]
TEACHER = "nb_trigrams"
MAX_PASSES = 1000  # of the solver over the texts; a few dozen are the rule
ALPHA = 1.0  # added to the count of each n-gram in each class


@dataclass(frozen=True)
class Kind:
    """What a baseline is.

    Attributes:
        title: its name for readers.
        max_n: the length of its longest n-grams.
        weighting: makes the weighting of counts from train's counts, (N, F), and whether each of
            its texts is of the class, (N,).
    """

    title: str
    max_n: int
    weighting: MakeWeighting


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        metrics: its C, its number of n-grams, and its validation accuracy.
        probabilities: (N, C) of the test texts.
        taught: (M, C) of the unlabelled texts, where it is to label them.
    """

    metrics: dict[str, Any]
    probabilities: np.ndarray
    taught: np.ndarray | None = None


class Fit(NamedTuple):
    """A fitted baseline, the validation accuracy of each C, and the seconds that it all took."""

    baseline: Baseline
    accuracies: dict[float, float]
    seconds: float


def tfidf(counts: "csr_array", is_class: np.ndarray) -> Weighting:
    """TF-IDF with rows of length 1; it knows no class."""
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer(sublinear_tf=True).fit(counts).transform


def log_count_ratio(counts: "csr_array", is_class: np.ndarray) -> Weighting:
    """Whether an n-gram stands in a text, times log((p / |p|) / (q / |q|)), (F,).

    p is the number of texts of the class that the n-gram stands in, q that of the other texts,
    each with `ALPHA` added (Wang & Manning 2012, section 2.1).
    """
    binary = counts.sign()
    p, q = (ALPHA + binary[of].sum(axis=0, dtype=np.float64) for of in (is_class, ~is_class))
    ratio = np.log((p / p.sum()) / (q / q.sum())).astype(np.float32)
    return lambda counts: counts.sign().multiply(ratio).tocsr()


KINDS = {
    "tfidf": Kind("TF-IDF bigram model", 2, tfidf),
    "nb_trigrams": Kind("NB-weighted trigram model", 3, log_count_ratio),
}


def fit_baselines(
    params: BaselineParams, teach: TeachParams, tokens: Path, folder: Path, *, workers: int
) -> dict[str, float]:
    """Fit every baseline; write choices, metrics, test probabilities and lineage to `folder`.

    If a baseline is to teach, its probabilities of the unlabelled texts are written as well. No
    byte depends on `workers`.

    Returns:
        What each took to read, count, weight, fit and choose, in seconds.

    Raises:
        UserError: a file of `tokens` is missing or corrupt, train is too small for a baseline, or
            there is nothing to teach.
    """
    about = read_json(tokens / "corpus.json", made_by="tokenize")
    require_unlabeled(teach.by, about)
    teacher = TEACHER if teach.by in (TEACHER, "both") else None
    work = partial(
        fit_baseline, params=params, tokens=tokens, labels=about["labels"], teacher=teacher
    )
    fitted = ordered_map(work, KINDS, workers=min(workers, len(KINDS)))
    fits = {}
    for name, fit in zip(KINDS, fitted, strict=True):
        chosen = fit.baseline.metrics
        say(
            f"{KINDS[name].title}: validation accuracy {chosen['validation_accuracy']:.4f} "
            f"with C {chosen['c']:g}, {fit.seconds:.1f} s"
        )
        _write_probabilities(folder / f"{name}.parquet", fit.baseline, about["labels"])
        fits[name] = fit
    write_json(folder / "metrics.json", {name: of.baseline.metrics for name, of in fits.items()})
    _write_choices(folder / "choices.csv", fits)
    write_json(folder / "lineage.json", _fingerprints(about))
    if (taught := fits[TEACHER].baseline.taught) is not None:
        write_probabilities(folder, taught)
    return {name: fit.seconds for name, fit in fits.items()}


def load_baselines(folder: Path, corpus: dict[str, Any]) -> dict[str, Baseline]:
    """Read what `fit_baselines` wrote; `corpus` is what `corpus.json` says.

    Raises:
        UserError: a file is missing or corrupt, or the baselines are of other texts.
    """
    if read_json(folder / "lineage.json", made_by="baseline") != _fingerprints(corpus):
        raise UserError(f"{folder} is of other texts than those at hand; run `dvc repro`")
    shape = corpus["splits"]["test"]["rows"], len(corpus["labels"])
    metrics = read_json(folder / "metrics.json", made_by="baseline")
    return {
        name: Baseline(metrics[name], _read_probabilities(folder / f"{name}.parquet", shape))
        for name in KINDS
    }


def fit_baseline(
    name: str,
    *,
    params: BaselineParams,
    tokens: Path,
    labels: list[str],
    teacher: str | None = None,
) -> Fit:
    """Fit a baseline with each C, and choose on validation, the smallest of equally good ones.

    If it is the teacher, it labels the unlabelled texts, too.

    Raises:
        UserError: a split is missing, corrupt or empty, or train has no frequent n-gram or lacks
            a class.
    """
    started = time.perf_counter()
    paths = {split: tokens / f"{split}.arrow" for split in SPLITS}
    train, validation = nonempty_corpus(paths["train"]), nonempty_corpus(paths["validation"])
    require_all(labels, train.labels, paths["train"])
    ngrams, of_train = NGrams.learn(train, max_n=KINDS[name].max_n, min_count=params.min_count)
    if not len(ngrams):
        raise UserError(
            f"params.yaml: baseline.min_count is {params.min_count}, but no word stands so often "
            f"in {paths['train']}; lower it"
        )
    others = [validation, Corpus(paths["test"])]
    if name == teacher:
        others.append(nonempty_corpus(tokens / f"{UNLABELED}.arrow"))
    counts = [of_train, *map(ngrams.count, others)]
    c_values = sorted(params.c_values)
    on_validation, on_test, *taught = predict(
        counts, train.labels, len(labels), c_values, KINDS[name].weighting
    )
    right = on_validation.argmax(axis=2) == validation.labels
    accuracies = right.mean(axis=1).round(6).tolist()
    best = accuracies.index(max(accuracies))
    metrics = {
        "c": c_values[best],
        "ngrams": len(ngrams),
        "validation_accuracy": accuracies[best],
    }
    by_c = dict(zip(c_values, accuracies, strict=True))
    baseline = Baseline(metrics, on_test[best], *(of[best] for of in taught))
    return Fit(baseline, by_c, time.perf_counter() - started)


def predict(
    counts: "Sequence[csr_array]",
    actual: np.ndarray,
    classes: int,
    c_values: list[float],
    weighting: MakeWeighting,
) -> list[np.ndarray]:
    """Fit a model to train with each C: of two classes the second, of more each against the rest.

    Args:
        counts: of train and of each split to predict, (N, F) each.
        actual: the classes of train, (N,).

    Returns:
        Probabilities of each split to predict, (len(c_values), N, classes).
    """
    found = [
        _predict_class(counts, actual == number, c_values, weighting)
        for number in ([1] if classes == 2 else range(classes))
    ]
    return [_normalize(np.stack(of_classes, axis=2)) for of_classes in zip(*found, strict=True)]


def _predict_class(
    counts: "Sequence[csr_array]",
    is_class: np.ndarray,
    c_values: list[float],
    weighting: MakeWeighting,
) -> list[np.ndarray]:
    """The probabilities of one class against the rest, (len(c_values), N) a split."""
    from sklearn.linear_model import LogisticRegression

    train, *judged = map(weighting(counts[0], is_class), counts)
    found = []
    for c in c_values:
        # Coordinate descent on the dual: the fastest here, and one thread alone decides the bits.
        model = LogisticRegression(
            C=c, solver="liblinear", dual=True, max_iter=MAX_PASSES, random_state=0
        )
        model.fit(train, is_class)
        found.append([model.predict_proba(texts)[:, 1] for texts in judged])
    return [np.stack(of_split) for of_split in zip(*found, strict=True)]


def _normalize(of_classes: np.ndarray) -> np.ndarray:
    """Make probabilities add up to 1 over the last axis; of one alone, it is the second of two."""
    if of_classes.shape[-1] == 1:
        return np.concatenate([1 - of_classes, of_classes], axis=-1)
    return of_classes / of_classes.sum(axis=-1, keepdims=True)


def _fingerprints(corpus: dict[str, Any]) -> dict[str, str]:
    return {split: corpus["splits"][split]["fingerprint"] for split in SPLITS}


def _write_probabilities(path: Path, baseline: Baseline, labels: list[str]) -> None:
    import pandas as pd

    columns = [f"probability_{label}" for label in labels]
    pd.DataFrame(baseline.probabilities, columns=columns).to_parquet(path, index=False)


def _write_choices(path: Path, fits: dict[str, Fit]) -> None:
    import pandas as pd

    rows = [(name, c, of) for name, fit in fits.items() for c, of in fit.accuracies.items()]
    table = pd.DataFrame(rows, columns=["baseline", "c", "validation_accuracy"])
    table.to_csv(path, index=False, lineterminator="\n")


def _read_probabilities(path: Path, shape: tuple[int, int]) -> np.ndarray:
    import pandas as pd

    with reading(path, "baseline"):
        probabilities = pd.read_parquet(path).to_numpy()
    if probabilities.shape != shape:
        raise corrupt(path, "baseline", f"it holds {probabilities.shape} values, not {shape}")
    return probabilities
