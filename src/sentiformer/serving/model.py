"""The model for Python programs: `predict` takes what a program has, and finds its texts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sentiformer.core.errors import UserError, listed
from sentiformer.serving.predictor import Prediction, Predictor

if TYPE_CHECKING:
    from sentiformer.serving.attention import Attention
    from sentiformer.serving.explain import Explanation

COLUMN = "text"  # of a table
MISSING = ("nan", "<NA>", "NaT")  # how cells without a value are written
CHUNK_TEXTS = 4096
Answer = TypeVar("Answer")
INSIDE_MLFLOW = Path("artifacts", "model")  # the place of a model in what MLflow downloads


class Model(Predictor):
    """A trained model; `sentiformer.load` makes it."""

    def __repr__(self) -> str:
        return f"<sentiformer model of the classes {listed(self.classifier.labels)}>"

    def predict(
        self,
        texts: Any,
        *,
        min_confidence: float | None = None,
        max_errors: float | None = None,
    ) -> Prediction | list[Prediction]:
        """Classify one text, or a list, tuple, array, Series, or a table by its column `text`.

        A missing text is None, NaN or NA. A text that the model cannot judge gets the label "?"
        and a reason; its probabilities are the shares of the classes in the training texts.

        Args:
            texts: as above.
            min_confidence: texts whose most probable class has a lower probability get "unsure".
            max_errors: the same, by the lowest probability above which at most this share of the
                answers is wrong, by what the model did on validation; at most one of the two.

        Returns:
            A prediction for one text, else a list of them.

        Raises:
            UserError: a table has no column `text`, a value is not a text, or there is no such
                threshold.
        """
        lowest = self.lowest_confidence(min_confidence, max_errors)
        found, is_one = _listed(texts)
        answers = [answer for chunk in _chunks(found) for answer in self(chunk, lowest)]
        return answers[0] if is_one else answers

    def embed(self, texts: Any) -> np.ndarray:
        """The vectors of texts, given as to `predict`; similar texts have a large dot product.

        They are the means of the network's vectors over the tokens of each text, from which its
        last layer finds the classes. A text that the model cannot judge has the vector 0.

        Returns:
            (N, D) float32, each row of length 1; one text is a list of one.

        Raises:
            UserError: a table has no column `text`, or a value is not a text.
        """
        chunks = _chunks(_listed(texts)[0])
        width = self.network().model.classifier.in_features
        empty = np.zeros((0, width), dtype=np.float32)
        return np.concatenate([empty, *(self.represent(chunk)[0] for chunk in chunks)])

    def explain(self, texts: Any) -> "Explanation | list[Explanation]":
        """What each token of a text contributes to its class; `texts` are those of `predict`.

        A text that the model cannot judge has the label "?" and no contributions;
        `prediction.reason` says why.

        Returns:
            An explanation for one text, else a list of them.

        Raises:
            UserError: a table has no column `text`, or a value is not a text.
        """
        found, is_one = _listed(texts)
        from sentiformer.serving.explain import explain  # imports torch

        answers = self.each(found, explain)
        return answers[0] if is_one else answers

    def attention(self, texts: Any) -> "Attention | list[Attention]":
        """The attention that each token of a text receives, which does not explain its class.

        Returns:
            The attention on one text, else a list.

        Raises:
            UserError: a table has no column `text`, or a value is not a text.
        """
        found, is_one = _listed(texts)
        from sentiformer.serving.attention import attention  # imports torch

        answers = self.each(found, attention)
        return answers[0] if is_one else answers

    def each(self, texts: Sequence[str | None], compute: Callable[..., Answer]) -> list[Answer]:
        """What `compute`, such as `explain`, finds for each text, its tokens and prediction."""
        network, rows = self.network(), zip(texts, self.tokens(texts), self(texts), strict=True)
        return [compute(network, *row) for row in rows]


def _listed(texts: Any) -> tuple[list[str | None], bool]:
    """The texts in what a program gives, and whether it is one text, not several."""
    is_one = isinstance(texts, str) or _is_missing(texts)
    return texts_of([texts] if is_one else texts), is_one


def _chunks(texts: list[str | None]) -> Iterator[list[str | None]]:
    """Cut texts into lists of at most `CHUNK_TEXTS`, which limits the memory."""
    for start in range(0, len(texts), CHUNK_TEXTS):
        yield texts[start : start + CHUNK_TEXTS]


def texts_of(data: Any) -> list[str | None]:
    """The texts of a list, tuple, array, Series, or of the column `text` of a table.

    Returns:
        Each text, or None where there is none.

    Raises:
        UserError: a table has no column `text` or several, or a value is not a text.
    """
    place = ""
    names = getattr(data, "column_names", None)  # of Arrow; pandas and polars have `columns`
    names = getattr(data, "columns", None) if names is None else names
    if isinstance(data, Mapping) or names is not None:
        kind = type(data).__name__
        data = data[_text_column(list(data if names is None else names))]
        place = f" in {COLUMN!r} of the {kind}"
    for convert in ("to_pylist", "tolist"):  # of Arrow; of NumPy and pandas
        if hasattr(data, convert):
            data = getattr(data, convert)()
            break
    if not isinstance(data, Iterable) or isinstance(data, str | bytes | Mapping | Set):
        raise UserError(
            f"got {_shown(data)}{place}; give a list of texts"
            + ("" if place else f", a text, or a table with the column {COLUMN!r}")
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
    place = folder if Path("params.yaml").exists() else folder.absolute()
    raise UserError(
        f"{place} holds no model; `make` in the project's root makes data/model; an "
        "MLflow address is written like models:/sentiformer@champion"
    )
