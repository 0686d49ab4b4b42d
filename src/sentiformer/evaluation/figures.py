"""Pictures of tables, as SVG text whose bytes depend on the tables alone."""

import io
import re
import warnings
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Corner: TypeAlias = Literal["lower left", "lower right"]

BLUE, ORANGE, GREY, INK = "#2f5fd0", "#d9730d", "#c3c8d0", "#2b2f36"
COLORS = (BLUE, ORANGE, "#2a9d5c", "#c43d4b", "#7d56c2", "#8a6248", "#d667a8", "#1b8a9a")
FEW_CLASSES, SHORT_LABEL = 4, 12  # what a figure of usual size has room for
LABEL_CHARACTERS = 24  # drawn of a label
USUAL_SIZE = (5, 3.4)  # inches
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label such as $5-$10 is no formula
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceef2",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw_all(tables: "dict[str, pd.DataFrame]", labels: list[str], epoch: int) -> dict[str, str]:
    """Draw every figure of the report.

    Args:
        tables: steps, history, confusion, roc, precision_recall, calibration, by_length; of a
            language model also pretrain_steps and pretrain_history.
        labels: the classes in their order.
        epoch: of which the model is.

    Returns:
        SVG text by the figure's name.
    """
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()  # no matplotlibrc of the user's decides a byte
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        figures = {
            "loss": loss(tables["steps"], tables["history"], "loss", "text"),
            "accuracy": accuracy(tables["history"], epoch),
            "confusion": confusion(tables["confusion"], labels),
            "calibration": calibration(tables["calibration"]),
            "roc": roc(tables["roc"]),
            "precision_recall": precision_recall(tables["precision_recall"]),
            "by_length": by_length(tables["by_length"]),
        }
        if "pretrain_steps" in tables:
            curves = tables["pretrain_steps"], tables["pretrain_history"]
            figures["pretraining"] = loss(*curves, "pretraining", "hidden word")
        return figures


def loss(steps: "pd.DataFrame", history: "pd.DataFrame", name: str, of: str) -> str:
    """Training loss by step, and validation loss by epoch, of what a loss is of."""
    figure, axes = _axes("training step", f"loss, nats a {of}")
    axes.plot(steps["step"], steps["loss"], color=BLUE, alpha=0.25, linewidth=1)
    smooth = steps["loss"].ewm(span=15).mean()
    axes.plot(steps["step"], smooth, color=BLUE, label="train, smoothed")
    axes.plot(history["step"], history["valid_loss"], color=ORANGE, marker="o", label="validation")
    axes.set_ylim(0, 1.05 * axes.dataLim.ymax)
    axes.legend()
    return _svg(figure, name)


def accuracy(history: "pd.DataFrame", epoch: int) -> str:
    """Validation accuracy by epoch, that of the model marked."""
    figure, axes = _axes("epoch", "validation accuracy")
    axes.plot(history["epoch"], history["valid_accuracy"], color=ORANGE, marker="o")
    reached = history.set_index("epoch")["valid_accuracy"][epoch]
    axes.annotate(
        f"model {reached:.2%}",
        (epoch, reached),
        xytext=(0, 10),
        textcoords="offset points",
        ha="center",
    )
    axes.set_xticks(history["epoch"])
    axes.margins(x=0.15, y=0.3)
    return _svg(figure, "accuracy")


def crowded(labels: list[str]) -> bool:
    """Whether the classes are too many, or named too long, for a confusion of usual size."""
    return len(labels) > FEW_CLASSES or max(map(len, labels)) > SHORT_LABEL


def confusion(table: "pd.DataFrame", labels: list[str]) -> str:
    """Numbers of texts by actual and predicted class, and shares where there is room."""
    crowd, count = crowded(labels), len(labels)
    size = (4 + 0.33 * count, 3.6 + 0.26 * count) if crowd else USUAL_SIZE
    figure, axes = _axes("predicted", "actual", size)
    counts = table.value_counts(["actual", "predicted"]).unstack(fill_value=0)
    counts = counts.reindex(index=labels, columns=labels, fill_value=0)
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    cells = [cell for cell in product(range(count), repeat=2) if counts.iloc[cell] or not crowd]
    for row, column in cells:
        part = share.iloc[row, column]
        text = f"{counts.iloc[row, column]:,}" + ("" if crowd else f"\n{part:.1%}")
        color = "white" if part > 0.5 else INK
        axes.text(column, row, text, ha="center", va="center", color=color)
    names = [_shortened(label) for label in labels]
    axes.set_xticks(range(count), names, rotation=90 if crowd else 0)
    axes.set_yticks(range(count), names, rotation=0 if crowd else 90, va="center")
    axes.grid(visible=False)
    return _svg(figure, "confusion")


def calibration(table: "pd.DataFrame") -> str:
    """Accuracy against confidence; on the diagonal the model knows what it knows."""
    figure, axes = _axes("confidence", "accuracy")
    low = min(table["confidence"].min(), table["accuracy"].min())
    axes.plot([low, 1], [low, 1], color=GREY, linestyle="--", label="perfect")
    size = 15 + 250 * table["texts"] / table["texts"].sum()
    axes.plot(table["confidence"], table["accuracy"], color=BLUE, linewidth=1)
    axes.scatter(table["confidence"], table["accuracy"], s=size, color=BLUE, label="model")
    axes.legend(loc="best")
    return _svg(figure, "calibration")


def roc(table: "pd.DataFrame") -> str:
    """Recall against false alarms."""
    figure, axes = _axes("false positive rate", "recall")
    _curves(axes, table, "fpr", "tpr", free_corner="lower right")
    return _svg(figure, "tpr")


def precision_recall(table: "pd.DataFrame") -> str:
    """Precision against recall."""
    figure, axes = _axes("recall", "precision")
    _curves(axes, table, "recall", "precision", free_corner="lower left")
    return _svg(figure, "precision")


def _curves(axes: "Axes", table: "pd.DataFrame", x: str, y: str, *, free_corner: Corner) -> None:
    """Draw a curve a class; more than there are colors for look alike."""
    classes = list(table.groupby("class", sort=False))
    few = len(classes) <= len(COLORS)
    lines = []
    for number, (_, rows) in enumerate(classes):
        color, opacity = (COLORS[number], 1) if few else (BLUE, 0.4)
        lines += axes.plot(rows[x], rows[y], color=color, alpha=opacity)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    if few:
        names = [_shortened(str(label)) for label, _ in classes]
        axes.legend(lines, names, loc=free_corner)  # which as labels may not begin with "_"
    else:
        axes.set_title(f"{len(classes)} classes, a curve each", fontsize="medium")


def by_length(table: "pd.DataFrame") -> str:
    """Accuracy in bins of text length."""
    figure, axes = _axes("accuracy", "tokens in the text")
    rows = range(len(table))
    axes.barh(rows, table["accuracy"], color=BLUE, height=0.6)
    axes.set_yticks(rows, table["tokens"])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(visible=False)
    for row, value in enumerate(table["accuracy"]):
        inside = value > 0.2
        place, side, color = (value - 0.02, "right", "white") if inside else (value, "left", INK)
        axes.text(place, row, f"{value:.1%}", ha=side, va="center", color=color)
    return _svg(figure, "by_length")


def _shortened(label: str) -> str:
    """Without its middle, as long names often begin or end alike."""
    if len(label) <= LABEL_CHARACTERS:
        return label
    half = LABEL_CHARACTERS // 2
    return f"{label[:half]}…{label[-half + 1 :]}"


def _axes(x: str, y: str, size: tuple[float, float] = USUAL_SIZE) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _svg(figure: "Figure", name: str) -> str:
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a browser has its own fonts
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # Each figure numbers its parts from 1; the name in front keeps them apart in one page.
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text.getvalue())
