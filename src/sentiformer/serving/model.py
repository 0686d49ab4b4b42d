"""The model for Python programs: `predict` takes what a program has, and finds its texts."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from sentiformer.core.errors import UserError, listed
from sentiformer.serving.predictor import Prediction, Predictor

COLUMN = "text"  # of a table
MISSING = ("nan", "<NA>", "NaT")  # how cells without a value are written
CHUNK_TEXTS = 4096
INSIDE_MLFLOW = Path("artifacts", "model")  # the place of a model in what MLflow downloads


class Model(Predictor):
    """A trained model; `sentiformer.load` makes it."""

    def __repr__(self) -> str:
        return f"<sentiformer model of the classes {listed(self.classifier.labels)}>"

    def predict(self, texts: Any) -> Prediction | list[Prediction]:
        """Classify one text, or a list, tuple, array, Series, or a table by its column `text`.

        A missing text is None, NaN or NA. A text that the model cannot judge gets the label "?"
        and a reason; its probabilities are the shares of the classes in the training texts.

        Returns:
            A prediction for one text, else a list of them.

        Raises:
            UserError: a table has no column `text`, or a value is not a text.
        """
        if isinstance(texts, str) or _is_missing(texts):
            return self(texts_of([texts]))[0]
        found = texts_of(texts)
        starts = range(0, len(found), CHUNK_TEXTS)  # they limit the memory
        return [answer for start in starts for answer in self(found[start : start + CHUNK_TEXTS])]


def texts_of(data: Any) -> list[str | None]:
    """The texts of a list, tuple, array, Series, or of the column `text` of a table.

    Returns:
        Each text, or None where there is none.

    Raises:
        UserError: a table has no column `text` or several, or a value is not a text.
    """
    names = getattr(data, "column_names", None)  # of Arrow; pandas and polars have `columns`
    names = getattr(data, "columns", None) if names is None else names
    if isinstance(data, Mapping) or names is not None:
        data = data[_text_column(list(data if names is None else names))]
    for convert in ("to_pylist", "tolist"):  # of Arrow; of NumPy and pandas
        if hasattr(data, convert):
            data = getattr(data, convert)()
            break
    if not isinstance(data, Iterable) or isinstance(data, str | bytes | Mapping | Set):
        raise UserError(
            f"predict got {_shown(data)}; give a text, a list of texts, or a table with the "
            f"column {COLUMN!r}"
        )
    return [_text(value, number) for number, value in enumerate(data, start=1)]


def _text_column(names: list[Any]) -> str:
    if names.count(COLUMN) > 1:
        raise UserError(f"the table has several columns {COLUMN!r}; rename all but one")
    if COLUMN not in names:
        known = listed([str(name) for name in names]) or "none"
        raise UserError(
            f"the table has no column {COLUMN!r}; its columns are: {known}; give the column of the "
            "texts, as in model.predict(table[name])"
        )
    return COLUMN


def _text(value: Any, number: int) -> str | None:
    if isinstance(value, str):
        return str(value)
    if _is_missing(value):
        return None
    raise UserError(f"text {number} is {_shown(value)}, which is not a text; make it a str")


def _is_missing(value: Any) -> bool:
    return value is None or (not hasattr(value, "__len__") and str(value) in MISSING)


def _shown(value: Any) -> str:
    return f"{str(value)[:60]!r} of type {type(value).__name__}"


def find_model(folder: Path) -> Path:
    """The folder of a model's files, which may be inside a folder that MLflow has downloaded.

    Raises:
        UserError: there is no model.
    """
    if folder.is_file():
        raise UserError(f"{folder} is a file; give the folder of a model")
    if (folder / INSIDE_MLFLOW / "config.json").exists():
        return folder / INSIDE_MLFLOW
    if (folder / "config.json").exists():
        return folder
    for pattern in ("*/model.safetensors", "*/*/model.safetensors", "*/*/*/model.safetensors"):
        if found := sorted(folder.glob(pattern)):
            raise UserError(f"{folder} holds no model; did you mean {found[0].parent}?")
    raise UserError(
        f"{folder} holds no model; `make` in the project's root makes data/model; an "
        "MLflow address is written like models:/sentiformer@champion"
    )
