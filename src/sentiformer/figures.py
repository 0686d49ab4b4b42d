"""Pictures of tables, as SVG text whose bytes depend on the tables alone."""

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK = "#2f5fd0", "#d9730d", "#c3c8d0", "#2b2f36"
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


def draw_all(tables: "dict[str, pd.DataFrame]", labels: list[str]) -> dict[str, str]:
    """Draw every figure of the report.

    Args:
        tables: steps, history, confusion, roc, precision_recall, calibration, by_length.
        labels: the classes in their order.

    Returns:
        SVG text by the figure's name.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        return {
            "loss": loss(tables["steps"], tables["history"]),
            "accuracy": accuracy(tables["history"]),
            "confusion": confusion(tables["confusion"], labels),
            "calibration": calibration(tables["calibration"]),
            "roc": curves(tables["roc"], "fpr", "tpr", ("false positive rate", "recall")),
            "precision_recall": curves(
                tables["precision_recall"], "recall", "precision", ("recall", "precision")
            ),
            "by_length": by_length(tables["by_length"]),
        }


def loss(steps: "pd.DataFrame", history: "pd.DataFrame") -> str:
    """Training loss by step, and validation loss by epoch."""
    figure, axes = _axes("training step", "loss, nats a text")
    axes.plot(steps["step"], steps["loss"], color=BLUE, alpha=0.25, linewidth=1)
    smooth = steps["loss"].ewm(span=15).mean()
    axes.plot(steps["step"], smooth, color=BLUE, label="train, smoothed")
    axes.plot(history["step"], history["valid_loss"], color=ORANGE, marker="o", label="validation")
    axes.set_ylim(bottom=0)
    axes.legend()
    return _svg(figure, "loss")


def accuracy(history: "pd.DataFrame") -> str:
    """Validation accuracy by epoch, the best one marked."""
    figure, axes = _axes("epoch", "validation accuracy")
    axes.plot(history["epoch"], history["valid_accuracy"], color=ORANGE, marker="o")
    ranks = history.sort_values(["valid_accuracy", "valid_loss"], ascending=[False, True])
    best = ranks.iloc[0]
    axes.annotate(
        f"best {best['valid_accuracy']:.2%}",
        (best["epoch"], best["valid_accuracy"]),
        xytext=(0, 10),
        textcoords="offset points",
        ha="center",
    )
    axes.set_xticks(history["epoch"])
    axes.margins(x=0.15, y=0.3)
    return _svg(figure, "accuracy")


def confusion(table: "pd.DataFrame", labels: list[str]) -> str:
    """Numbers of texts by actual and predicted class."""
    figure, axes = _axes("predicted", "actual")
    counts = table.value_counts(["actual", "predicted"]).unstack(fill_value=0)
    counts = counts.reindex(index=labels, columns=labels, fill_value=0)
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in range(len(labels)):
        for column in range(len(labels)):
            part = share.iloc[row, column]
            text = f"{counts.iloc[row, column]:,}\n{part:.1%}"
            color = "white" if part > 0.5 else INK
            axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels, rotation=90, va="center")
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
    axes.legend(loc="upper left")
    return _svg(figure, "calibration")


def curves(table: "pd.DataFrame", x: str, y: str, names: tuple[str, str]) -> str:
    """One curve a class."""
    figure, axes = _axes(*names)
    for number, (label, rows) in enumerate(table.groupby("class", sort=False)):
        axes.plot(rows[x], rows[y], color=BLUE if number == 0 else None, label=str(label))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="center")
    return _svg(figure, y)


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
        axes.text(value - 0.02, row, f"{value:.1%}", ha="right", va="center", color="white")
    return _svg(figure, "by_length")


def _axes(x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _svg(figure: "Figure", name: str) -> str:
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # Each figure numbers its parts from 1; the name in front keeps them apart in one page.
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text.getvalue())
