"""The model as MLflow serves it.

This Python file is logged together with the model, and MLflow executes it to load the model.
"""

from pathlib import Path
from typing import Any

import mlflow

from sentiformer.core.runtime import load_runtime
from sentiformer.serving.predictor import Prediction, Predictor


class ServedClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Classifies a list of texts."""

    def load_context(self, context: Any) -> None:
        """Load the files of `data/model` that were logged with this one."""
        self.predictor = Predictor.load(Path(context.artifacts["model"]), load_runtime())

    def predict(self, context: Any, model_input: list[str], params: Any = None) -> list[Prediction]:
        """Classify the texts."""
        return self.predictor(model_input)


mlflow.models.set_model(ServedClassifier())
