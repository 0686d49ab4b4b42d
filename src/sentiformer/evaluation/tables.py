"""The tables of an evaluation, from which the figures are drawn."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

CALIBRATION_BINS = 15
LENGTH_BINS = 5


def make_tables(
    probabilities: np.ndarray, actual: np.ndarray, lengths: np.ndarray, labels: list[str]
) -> "dict[str, pd.DataFrame]":
    """All tables by name: by_class, by_length, confusion, calibration, roc, precision_recall.

    Args:
        probabilities: (N, C).
        actual: (N,) the true classes.
        lengths: (N,) tokens of each text before truncation.
        labels: the names of the C classes.
    """
    import pandas as pd

    predicted = probabilities.argmax(axis=1)
    names = np.array(labels)
    return {
        "by_class": class_table(predicted, actual, labels),
        "by_length": length_table(predicted == actual, lengths),
        "confusion": pd.DataFrame({"actual": names[actual], "predicted": names[predicted]}),
        "calibration": calibration_table(probabilities, actual),
        **curve_tables(probabilities, actual, labels),
    }


def predictions_table(
    probabilities: np.ndarray,
    actual: np.ndarray,
    lengths: np.ndarray,
    texts: list[str],
    labels: list[str],
) -> "pd.DataFrame":
    """One row per text: text, tokens, actual and predicted label, probability of each class."""
    import pandas as pd

    names, predicted = np.array(labels), probabilities.argmax(axis=1)
    table = pd.DataFrame({"text": texts, "tokens": lengths})
    table["actual"], table["predicted"] = names[actual], names[predicted]
    columns = [f"probability_{label}" for label in labels]
    return table.join(pd.DataFrame(probabilities, columns=columns))


def class_table(predicted: np.ndarray, actual: np.ndarray, labels: list[str]) -> "pd.DataFrame":
    """Precision, recall, F1 and number of texts of each class."""
    import pandas as pd
    from sklearn.metrics import precision_recall_fscore_support

    classes = range(len(labels))
    precision, recall, f1, texts = precision_recall_fscore_support(
        actual, predicted, labels=classes, zero_division=0
    )
    columns = {"precision": precision, "recall": recall, "f1": f1, "texts": texts}
    return pd.DataFrame({"class": labels, **columns}).round(6)


def calibration_table(
    probabilities: np.ndarray, actual: np.ndarray, bins: int = CALIBRATION_BINS
) -> "pd.DataFrame":
    """Mean confidence and accuracy in bins of the confidence of equal width (Guo et al. 2017).

    The confidence is the probability of the predicted class. Empty bins have no row.
    """
    import pandas as pd

    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == actual
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": number, "confidence": confidence, "accuracy": is_right})
    means = table.groupby("bin").agg(
        texts=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    return means.round(6).reset_index(drop=True)


def length_table(
    is_right: np.ndarray, lengths: np.ndarray, bins: int = LENGTH_BINS
) -> "pd.DataFrame":
    """Accuracy in bins of the length, from short to long, with about as many texts in each."""
    import pandas as pd

    edges = np.unique(np.quantile(lengths, np.arange(1, bins) / bins))
    number = np.searchsorted(edges, lengths)
    table = pd.DataFrame({"bin": number, "length": lengths, "right": is_right})
    rows = table.groupby("bin").agg(
        shortest=("length", "min"),
        longest=("length", "max"),
        texts=("right", "size"),
        accuracy=("right", "mean"),
    )
    names = [f"{row.shortest}-{row.longest}" for row in rows.itertuples()]
    rows.insert(0, "tokens", names)
    return rows[["tokens", "texts", "accuracy"]].round(6).reset_index(drop=True)


def curve_tables(
    probabilities: np.ndarray, actual: np.ndarray, labels: list[str]
) -> "dict[str, pd.DataFrame]":
    """The points of the ROC and the precision-recall curves of each class.

    Of two classes, only the second has curves.
    """
    import pandas as pd
    from sklearn.metrics import precision_recall_curve, roc_curve

    roc, precision_recall = [], []
    for number in [1] if len(labels) == 2 else range(len(labels)):
        is_class, score = actual == number, probabilities[:, number]
        false_positive, true_positive, _ = roc_curve(is_class, score)
        roc.append(_curve(labels[number], fpr=false_positive, tpr=true_positive))
        precision, recall, _ = precision_recall_curve(is_class, score, drop_intermediate=True)
        precision_recall.append(_curve(labels[number], recall=recall, precision=precision))
    return {"roc": pd.concat(roc), "precision_recall": pd.concat(precision_recall)}


def _curve(label: str, **columns: np.ndarray) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({"class": label, **columns}).round(6)
