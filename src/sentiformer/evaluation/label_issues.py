"""Labels of train and validation that may be wrong, by confident learning.

cleanlab compares each label with probabilities of models that have not learned from it (Northcutt
et al. 2021, Confident Learning, section 3). The labels of test are not listed: to correct only
those that a model disagrees with would make every later result on test too good.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from sentiformer.baselines.logistic_regression import UNSEEN, read_probabilities
from sentiformer.core.errors import UserError
from sentiformer.core.files import JsonObject, reading

SPLITS = ("train", "validation")
FEW_OF_CLASS = 5  # texts; no model knows such a class, so that none of its labels is listed
COLUMNS = ["split", "text", "label", "suggested", "label_probability", "suggested_probability"]


def find_label_issues(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows of the labels that may be wrong, the least probable label first.

    Args:
        probabilities: of the C classes of N texts, (N, C), by models that do not know the labels.
        labels: the given classes, (N,), of which at least two occur.
    """
    from cleanlab.filter import find_label_issues  # imports the package datasets

    ranked = {"return_indices_ranked_by": "self_confidence"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues")  # of rare classes
        rows: np.ndarray = find_label_issues(labels, probabilities, **ranked, n_jobs=1)
    return rows[np.bincount(labels)[labels[rows]] > FEW_OF_CLASS]


def label_issue_table(data: Path, about: JsonObject) -> pd.DataFrame:
    """The texts whose label may be wrong, with `COLUMNS`; `about` is the content of corpus.json.

    Raises:
        UserError: an input is missing or corrupt, or two of them do not belong together.
    """
    parts = []
    for split in SPLITS:
        path = data / "raw" / f"{split}.parquet"
        with reading(path, "download", KeyError):
            parts.append(pd.read_parquet(path, columns=["text", "label"]).assign(split=split))
    texts = pd.concat(parts, ignore_index=True)
    probabilities = read_probabilities(data / "baseline" / f"{UNSEEN}.parquet", about, *SPLITS)
    if len(texts) != len(probabilities):
        raise UserError(
            f"{data / 'raw'} and {data / 'baseline'} are of other texts; run `dvc repro`"
        )
    given, names = texts["label"].to_numpy(), np.array(about["labels"])
    rows = find_label_issues(probabilities, given)
    found = texts.iloc[rows]
    columns = {
        "split": found["split"],
        "text": found["text"],
        "label": names[given[rows]],
        "suggested": names[probabilities[rows].argmax(axis=1)],
        "label_probability": probabilities[rows, given[rows]].round(6),
        "suggested_probability": probabilities[rows].max(axis=1).round(6),
    }
    return pd.DataFrame(columns, columns=COLUMNS)
