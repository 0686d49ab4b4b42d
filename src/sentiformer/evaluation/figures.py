"""Figures of the tables, as SVG text; its bytes depend on the tables alone."""

import io
import re
import warnings
from itertools import product
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from sentiformer.core.errors import plain

BLUE, ORANGE, GREY, INK = "#2f5fd0", "#d9730d", "#c3c8d0", "#2b2f36"
GRID, PAPER = "#eceef2", "#fefefe"  # pure white is the color of text on a dark cell
COLORS = (BLUE, ORANGE, "#2a9d5c", "#c43d4b", "#7d56c2", "#8a6248", "#d667a8", "#1b8a9a")
PAGE_COLORS = {  # variables of the page's style, which has a dark mode
    BLUE: "var(--accent)",
    ORANGE: "var(--second)",
    GREY: "var(--grey)",
    INK: "var(--ink)",
    GRID: "var(--line)",
    PAPER: "none",
}
SMALL_CLASSES, SMALL_LABEL = 4, 12  # the most classes and characters of a small figure
LABEL_CHARACTERS = 24  # of a label that are drawn
SMALL_SIZE = (5, 3.4)  # inches
DASHED: dict[str, Any] = {"color": GREY, "linestyle": "--"}
SHOWN_CLASSES, SHOWN_PUSHES = 4, 12  # whose words are drawn, and words of each
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label such as $5-$10 is not a formula
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
    "grid.color": GRID,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw_all(tables: dict[str, pd.DataFrame], labels: list[str], epoch: int) -> dict[str, str]:
    """Draw every figure of the report from its table, as SVG text by the figure's name.

    Args:
        tables: by name; of a language model also pretrain_steps and pretrain_history.
        labels: the classes in their order.
        epoch: the epoch after which the model has its weights.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # the user's matplotlibrc must not change the figures
        mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
        figures = {
            "loss": loss(tables["steps"], tables["history"], "loss", "text"),
            "accuracy": accuracy(tables["history"], epoch),
            "confusion": confusion(tables["confusion"], labels),
            "calibration": calibration(tables["calibration"]),
            "roc": curves(tables["roc"], ("false positive rate", "recall"), "lower right"),
            "precision_recall": curves(
                tables["precision_recall"], ("recall", "precision"), "lower left"
            ),
            "by_length": by_length(tables["by_length"]),
            "coverage": coverage(tables["coverage"]),
            "pushes": pushes(tables["pushes"], labels),
        }
        if "pretrain_steps" in tables:
            both = tables["pretrain_steps"], tables["pretrain_history"]
            figures["pretraining"] = loss(*both, "pretraining", "hidden word")
        return figures


def loss(steps: pd.DataFrame, history: pd.DataFrame, name: str, unit: str) -> str:
    """Training loss by step and validation loss by epoch, in nats per unit."""
    figure, axes = _axes("training step", f"loss, nats per {unit}")
    axes.plot(steps["step"], steps["loss"], color=BLUE, alpha=0.25, linewidth=1)
    smooth = steps["loss"].ewm(span=15).mean()
    axes.plot(steps["step"], smooth, color=BLUE, label="train, smoothed")
    axes.plot(history["step"], history["valid_loss"], color=ORANGE, marker="o", label="validation")
    axes.set_ylim(0, 1.05 * axes.dataLim.ymax)
    axes.legend()
    return _svg(figure, name)


def accuracy(history: pd.DataFrame, epoch: int) -> str:
    """Validation accuracy by epoch; the epoch of the model is marked."""
    figure, axes = _axes("epoch", "validation accuracy")
    axes.plot(history["epoch"], history["valid_accuracy"], color=ORANGE, marker="o")
    reached = history.set_index("epoch")["valid_accuracy"][epoch]
    place: dict[str, Any] = {"xytext": (0, 10), "textcoords": "offset points", "ha": "center"}
    axes.annotate(f"model {reached:.2%}", (epoch, reached), **place)
    axes.set_xticks(history["epoch"])
    axes.margins(x=0.15, y=0.3)
    return _svg(figure, "accuracy")


def is_large(labels: list[str]) -> bool:
    """Whether the confusion matrix of these classes needs a large figure."""
    return len(labels) > SMALL_CLASSES or max(map(len, labels)) > SMALL_LABEL


def confusion(table: pd.DataFrame, labels: list[str]) -> str:
    """Texts by actual and predicted class; a small figure also has their shares of the class."""
    large, count = is_large(labels), len(labels)
    size = (4 + 0.33 * count, 3.6 + 0.26 * count) if large else SMALL_SIZE
    figure, axes = _axes("predicted", "actual", size)
    counts = table.value_counts(["actual", "predicted"]).unstack(fill_value=0)
    counts = counts.reindex(index=labels, columns=labels, fill_value=0)
    share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    cells = [cell for cell in product(range(count), repeat=2) if counts.iloc[cell] or not large]
    for row, column in cells:
        fraction = share.iloc[row, column]
        corner = column - 0.5, row - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=BLUE, alpha=fraction))
        text = f"{counts.iloc[row, column]:,}" + ("" if large else f"\n{fraction:.1%}")
        color = "white" if fraction > 0.5 else INK
        axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    names = [_shortened(label) for label in labels]
    axes.set_xticks(range(count), names, rotation=90 if large else 0)
    axes.set_yticks(range(count), names, rotation=0 if large else 90, va="center")
    axes.grid(visible=False)
    return _svg(figure, "confusion")


def calibration(table: pd.DataFrame) -> str:
    """Accuracy by confidence; a perfectly calibrated model is on the diagonal."""
    figure, axes = _axes("confidence", "accuracy")
    low = min(table["confidence"].min(), table["accuracy"].min())
    axes.plot([low, 1], [low, 1], color=GREY, linestyle="--", label="perfect calibration")
    size = 15 + 250 * table["texts"] / table["texts"].sum()
    axes.plot(table["confidence"], table["accuracy"], color=BLUE, linewidth=1)
    axes.scatter(table["confidence"], table["accuracy"], s=size, color=BLUE, label="model")
    axes.legend(loc="best")
    return _svg(figure, "calibration")


def curves(
    table: pd.DataFrame, titles: tuple[str, str], legend: Literal["lower left", "lower right"]
) -> str:
    """One curve per class; if there are more classes than colors, all have one color.

    Args:
        table: the class, x and y of each point.
        titles: of the axes.
        legend: the corner that the curves leave free.
    """
    figure, axes = _axes(*titles)
    _, x, y = table.columns
    classes = list(table.groupby("class", sort=False))
    if not classes:
        axes.set_title("undefined: test has one class only", fontsize="medium")
        return _svg(figure, y)
    few = len(classes) <= len(COLORS)
    lines = []
    for number, (_, rows) in enumerate(classes):
        color, opacity = (COLORS[number], 1) if few else (BLUE, 0.4)
        lines += axes.plot(rows[x], rows[y], color=color, alpha=opacity)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    if few:
        names = [_shortened(str(label)) for label, _ in classes]
        axes.legend(lines, names, loc=legend)  # a label of a line must not begin with "_"
    else:
        axes.set_title(f"{len(classes)} classes, one curve each", fontsize="medium")
    return _svg(figure, y)


def by_length(table: pd.DataFrame) -> str:
    """Accuracy and mean confidence in bins of the length of the texts."""
    figure, axes = _axes("share of the texts", "tokens per text", (5, 1.2 + 0.32 * len(table)))
    rows = range(len(table))
    axes.barh(rows, table["accuracy"], color=BLUE, alpha=0.35, height=0.6, label="accuracy")
    axes.plot(table["confidence"], rows, "D", color=ORANGE, markersize=4, label="mean confidence")
    axes.set_yticks(rows, table["tokens"])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.grid(visible=False)
    for row, value in enumerate(table["accuracy"]):
        axes.text(1.04, row, f"{value:.1%}", va="center")
    figure.legend(loc="outside upper left", ncols=2)
    return _svg(figure, "by_length")


def coverage(table: pd.DataFrame) -> str:
    """Errors of the Transformer by the share of the texts that it answers, the surest first."""
    figure, axes = _axes("share of the texts that get an answer", "wrong answers")
    of_model = table[table["model"] == "transformer"]
    groups = list(of_model.groupby(["split", "source"], sort=False))[: len(COLORS)]
    colors = iter(COLORS)
    for (split, source), rows in groups:
        is_test = split == "test"
        style: dict[str, Any] = {"color": next(colors)} if is_test else DASHED
        name = f"{split}, {_shortened(source)}" if is_test and len(groups) > 2 else split
        axes.plot(rows["coverage"], rows["errors"], label=name, **style)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    if groups:
        axes.legend()
    return _svg(figure, "coverage")


def pushes(table: pd.DataFrame, labels: list[str]) -> str:
    """The words and the word pairs and triples that push most to each class, a row of bars each."""
    classes = [label for label in labels if (table["class"] == label).any()][:SHOWN_CLASSES]
    rows = max(1, len(classes))
    figure = Figure(figsize=(10, 3.6 * rows), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False)
    if not classes:
        figure.suptitle("no word occurs in several of the texts", fontsize="medium")
    for label, pair in zip(classes, grid, strict=False):
        of_class = table[(table["class"] == label) & (table["total"] > 0)]
        is_word = of_class["n"] == 1
        for axes, title, found in zip(
            pair,
            ("words", "pairs and triples"),
            (of_class[is_word], of_class[~is_word]),
            strict=True,
        ):
            top = found.nlargest(SHOWN_PUSHES, "total")
            axes.barh(range(len(top)), top["total"], color=BLUE, alpha=0.6)
            axes.set_yticks(range(len(top)), top["words"].map(plain).map(_shortened))
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.set_title(f"{_shortened(label)}: {title}", loc="left", fontsize="medium")
    return _svg(figure, "pushes")


def in_page(svg: str) -> str:
    """The figure for a page: without the XML declaration, in the colors of the page's style."""
    colors = re.compile("|".join(PAGE_COLORS))
    return colors.sub(lambda match: PAGE_COLORS[match[0]], svg[svg.index("<svg") :])


def _shortened(label: str) -> str:
    """The label without its middle if it is long: long labels often differ in one end only."""
    half = LABEL_CHARACTERS // 2
    return label if len(label) <= 2 * half else f"{label[:half]}…{label[-half + 1 :]}"


def _axes(x: str, y: str, size: tuple[float, float] = SMALL_SIZE) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # browsers have more fonts
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    # All figures have the same ids; the name makes them unique in one page.
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text.getvalue())
