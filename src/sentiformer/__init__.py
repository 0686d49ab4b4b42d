"""Text classification with a Transformer that anyone can rebuild.

    import sentiformer

    model = sentiformer.load("data/model")
    print(model.predict("A wonderful film, superbly acted and very moving.").label)

`load` takes the folder of a model, or an address in MLflow such as `models:/sentiformer@champion`.
`predict` takes one text, a list, an array, a Series, or a table with the column `text`. A text that
the model cannot judge gets the label "?" and a reason. Mistakes raise `UserError`.

In the shell, `sentiformer --help` lists the commands.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from sentiformer.core.errors import UserError, missing_package

if TYPE_CHECKING:
    from sentiformer.serving.model import Model

__all__ = ["UserError", "load"]
__version__ = "0.1.0"


def load(model: str | Path = "data/model") -> "Model":
    """Load a trained model.

    Args:
        model: its folder, or its address in MLflow, such as `models:/sentiformer@champion`.

    Raises:
        UserError: there is no such model, a file of it is missing or corrupt, or it needs a Python
            package that is not installed.
    """
    from tempfile import TemporaryDirectory

    from sentiformer.core.runtime import load_runtime
    from sentiformer.serving.model import Model, find_model

    if not isinstance(model, str | PathLike):
        raise UserError(
            f"load got {model!r} of type {type(model).__name__}; give the folder of a model, or "
            "its address in MLflow"
        )
    try:
        if ":/" not in str(model):
            return Model.load(find_model(Path(model)), load_runtime())
        from sentiformer.tracking.registry import download_model

        with TemporaryDirectory() as folder:
            return Model.load(download_model(str(model), Path(folder)), load_runtime())
    except ModuleNotFoundError as error:
        raise missing_package(error) from None
