"""The model as MLflow serves it.

This Python file is logged together with the model, and MLflow executes it to load the model.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from sentiformer.core.runtime import load_runtime
from sentiformer.serving.predictor import Prediction, Predictor

COLUMN = "text"  # of a table
UNNAMED = (0, "0")  # the only column of a table without names


EMPTY = Prediction.model_validate(
    {"label": "?", "probability": 0, "probabilities": {}, "reason": "no text"}
)


class Predictions(list[Prediction]):
    """The predictions of a call; as an array, their labels, which MLflow's metrics compare."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array([prediction.label for prediction in self], dtype=dtype or object)


class ServedClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Classifies texts.

    The hint of `model_input` is one that MLflow does not enforce. Its signature has no inputs
    either: with inputs, MLflow would refuse lists, or classify the first column of any table.
    """

    def load_context(self, context: Any) -> None:
        """Load the files of `data/model` that were logged with this one."""
        self.predictor = Predictor.load(Path(context.artifacts["model"]), load_runtime())

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Predictions:
        """Classify one text, or a list, array, Series, or table with the column `text`."""
        texts = texts_of(model_input)
        found = iter(self.predictor([text for text in texts if text is not None]))
        return Predictions(EMPTY if text is None else next(found) for text in texts)


def texts_of(data: Any) -> list[str | None]:
    """The texts of an input; None for an empty cell.

    Raises:
        MlflowException: a table has no column `text`, or a value is not a text; HTTP status 400.
    """
    if isinstance(data, list | tuple) and any(isinstance(row, dict) for row in data):
        data = pd.DataFrame(list(data))
    if isinstance(data, dict | pd.DataFrame):
        names = list(data)
        if COLUMN not in names and not (len(names) == 1 and names[0] in UNNAMED):
            shown = ", ".join(map(str, names[:20])) or "none"
            raise _refused(f"the table has no column {COLUMN!r}, but: {shown}; rename the column")
        data = data[COLUMN if COLUMN in names else names[0]]
    if isinstance(data, str) or data is None:
        data = [data]
    values = np.asarray(data, dtype=object)
    if values.ndim > 1 and values.size != len(values):
        raise _refused(f"the array has {values.shape[1]} columns; give one column of texts")
    return [_text(number, value) for number, value in enumerate(values.reshape(-1).tolist(), 1)]


def _text(number: int, value: Any) -> str | None:
    """A value as a text, or None if it is empty."""
    if isinstance(value, np.ndarray) and not value.ndim:  # of the scoring server
        value = value.item()
    if isinstance(value, str):
        return value
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    raise _refused(f"text {number} is {value!r}, which is not a text; give it in quotes")


def _refused(message: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(message)


mlflow.models.set_model(ServedClassifier())
