"""What a model answered on test, from a folder or from a Git revision."""

import io
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sentiformer.core.errors import UserError, first_line, listed
from sentiformer.core.files import read_json, reading, sha256
from sentiformer.core.seal import require_sealed
from sentiformer.evaluation.revision import read_revision

PREDICTIONS, LINEAGE = "predictions.parquet", "lineage.json"  # files of stage evaluate
PLACES = (".", "evaluation", "data/evaluation")  # of an evaluation, in the folder that is given
NGRAMS = "ngrams"  # the folder of the n-gram model in that of a model
PREFIX = "probability_"  # of the columns with the probability of a class


class Evaluated(NamedTuple):
    """A model and its answers on test.

    Attributes:
        name: as the user gave it.
        answers: a row per text: text, source, actual, predicted, confidence, and
            `probability_<class>` of each class if they are known.
    """

    name: str
    answers: pd.DataFrame


def evaluated(name: str) -> Evaluated:
    """The answers of the model in a folder, or else of that of a Git revision.

    The folder is of a model, of an evaluation, or of a project or its `data`; the last two stand
    for the Transformer in it.

    Raises:
        UserError: there is no such folder or revision, or it has no evaluation.
    """
    folder = Path(name)
    if not folder.exists():
        return _of_revision(name)
    for place in PLACES:
        if (folder / place / PREDICTIONS).exists():
            return of_evaluation(name, folder / place)
    if (folder / "config.json").exists() and (folder / "model.safetensors").exists():
        sibling = folder.parent / "evaluation"
        weights, has_ngrams = sha256(folder / "model.safetensors"), (folder / NGRAMS).exists()
        return of_evaluation(name, sibling, weights, has_ngrams=has_ngrams)
    raise UserError(
        f"{name} holds neither an evaluation ({PREDICTIONS}) nor a model; give a folder such as "
        "data/model, or run `dvc repro evaluate` in its project"
    )


def of_evaluation(
    name: str, folder: Path, weights: str | None = None, *, has_ngrams: bool = False
) -> Evaluated:
    """The answers in the folder of stage evaluate of the model with this hash of its weights.

    Without a hash, they are those of the Transformer. A Transformer that has the n-gram model in
    its folder predicts by the mean of the two.

    Raises:
        UserError: a file is missing or corrupt, or the evaluation is of another model.
    """
    require_sealed(folder, made_by="evaluate")
    lineage = read_json(folder / LINEAGE, made_by="evaluate")
    with reading(folder / PREDICTIONS, "evaluate", KeyError):
        table = pd.read_parquet(folder / PREDICTIONS)
        if weights in (None, lineage["model_sha256"]):
            models = folder / "models"
            mean = _ensemble_with("transformer", models) if has_ngrams else None
            return Evaluated(name, _other(table, mean) if mean else _transformer(table))
        if weights == lineage.get("finetuned_sha256"):
            return Evaluated(name, _other(table, _served(folder / "models")))
    raise UserError(f"{folder} is not an evaluation of {name}; run `dvc repro` in its project")


def _served(models: Path) -> str:
    """What the folder of the fine-tuned encoder predicts by: the encoder or the ensemble."""
    if not read_json(models / "finetuned.json", made_by="evaluate")["ensemble"]:
        return "finetuned"
    return _ensemble_with("finetuned", models)


def _ensemble_with(network: str, models: Path) -> str:
    """The name of the ensemble, if it is the mean of this network and the n-gram model."""
    parts = read_json(models / "ensemble.json", made_by="evaluate")["parts"]
    if network not in parts:
        raise UserError(
            f"{models.parent} evaluates the mean of {listed(parts)}, not of {network}; use the "
            f"folder of {parts[0]}, or run `dvc repro evaluate` if it is of an earlier version"
        )
    return "ensemble"


def _transformer(table: pd.DataFrame) -> pd.DataFrame:
    probabilities = [column for column in table if column.startswith(PREFIX)]
    found = table[["text", "source", "actual", "predicted", *probabilities]].copy()
    found.insert(4, "confidence", table[probabilities].max(axis=1))
    return found


def _other(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Of two classes, the probability of the predicted one is that of both."""
    found = table[["text", "source", "actual"]].copy()
    found["predicted"] = table[f"{model}_predicted"]
    found["confidence"] = confidence = table[f"{model}_probability"]
    columns = [column for column in table if column.startswith(PREFIX)]
    for column in columns if len(columns) == 2 else ():
        is_predicted = found["predicted"] == column.removeprefix(PREFIX)
        found[column] = confidence.where(is_predicted, 1 - confidence)
    return found


def _of_revision(name: str) -> Evaluated:
    """The answers of the Transformer of a Git revision, from DVC's cache."""
    from dvc.exceptions import NotDvcRepoError
    from dvc.scm import SCMError

    path = f"data/evaluation/{PREDICTIONS}"
    try:
        file = io.BytesIO(read_revision(name, path))
        return Evaluated(name, _transformer(pd.read_parquet(file)))
    except (SCMError, NotDvcRepoError) as error:
        raise UserError(
            f"{name} is neither a folder nor a Git revision ({first_line(error)}); run `make`, "
            "which makes data/model, or give another folder, models:/NAME/VERSION, or a revision "
            "such as HEAD~1"
        ) from None
    except Exception as error:  # DVC and its parts raise errors of many classes
        raise UserError(
            f"{name}: DVC's cache has no {path} of this revision ({first_line(error)}); `git "
            f"checkout {name}` and `dvc pull` or `dvc repro` bring it"
        ) from None
