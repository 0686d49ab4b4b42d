"""The model as MLflow serves it.

This Python file is logged together with the model, and MLflow executes it to load the model.
"""

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from sentiformer.core.errors import UserError
from sentiformer.core.runtime import load_runtime
from sentiformer.serving.model import Model
from sentiformer.serving.predictor import Prediction

UNNAMED = ([0], ["0"])  # the columns of a table without names that has one column


class Predictions(list[Prediction]):
    """The predictions of a call; as an array, their labels, which MLflow's metrics compare."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array([prediction.label for prediction in self], dtype=dtype or object)


class ServedClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Classifies texts.

    The hint of `model_input` is one that MLflow does not enforce, and the signature has no inputs.
    Otherwise, MLflow would refuse lists of texts, or classify the first column of any table.
    """

    def load_context(self, context: Any) -> None:
        """Load the files of `data/model` that were logged with this one."""
        self.model = Model.load(Path(context.artifacts["model"]), load_runtime())

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Predictions:
        """Classify one text, or a list, array, Series, or table with the column `text`.

        Raises:
            MlflowException: a table has no such column, or a value is not a text: HTTP status 400.
        """
        try:
            found = self.model.predict(plain(model_input))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return Predictions(found if isinstance(found, list) else [found])


def plain(data: Any) -> Any:
    """The input as a list or a table; MLflow's server wraps values and columns in arrays."""
    if isinstance(data, list | tuple) and data and all(isinstance(row, dict) for row in data):
        data = pd.DataFrame(list(data)).map(_unwrapped)
    elif isinstance(data, dict):
        columns = {name: _as_list(values) for name, values in data.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise UserError("the columns have different lengths; give each row a value of each")
        data = pd.DataFrame(columns)
    if isinstance(data, pd.DataFrame):
        return data[data.columns[0]] if list(data) in UNNAMED else data
    return _as_list(data)


def _as_list(values: Any) -> list[Any]:
    """One value, a list or an array, of which each row may be a list of one value, as a list."""
    array = np.asarray(values, dtype=object)
    rows = array.reshape(-1) if not array.ndim or array.size == len(array) else array
    return [_unwrapped(value) for value in rows.tolist()]


def _unwrapped(value: Any) -> Any:
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


mlflow.models.set_model(ServedClassifier())
