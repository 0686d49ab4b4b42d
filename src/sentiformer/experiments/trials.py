"""The trials of a search as rows for a person, as a table, and as a picture."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.errors import plain
from sentiformer.core.files import write_csv
from sentiformer.experiments.space import Range, Space
from sentiformer.experiments.study import Trial, best_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = ["trial", "accuracy", "loss", "epoch", "seconds"]
SHOWN_CHARACTERS = 20  # of a text on an axis
PANELS, PANEL = 3, (3.2, 2.6)  # in a row; width and height of one in inches


def values_in_words(values: Mapping[str, Any]) -> str:
    """Values of parameters, in one line."""
    return plain(", ".join(f"{key} {in_words(value)}" for key, value in values.items()))


def in_words(value: Any) -> str:
    """A value as in `params.yaml`."""
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"
    )


def as_row(trial: Trial) -> str:
    """A trial in one line."""
    found = f"failed: {trial.error}" if trial.error else f"{trial.accuracy:.4f}  {trial.loss:.4f}"
    return plain(f"trial {trial.number:>3}  {found}  {values_in_words(trial.values)}")


def write_trials(trials: Sequence[Trial], space: Space, folder: Path) -> None:
    """Write `trials.csv` and `trials.svg`."""
    rows = (
        {
            "trial": trial.number,
            "accuracy": trial.accuracy,
            "loss": trial.loss,
            "epoch": trial.epoch,
            "seconds": trial.seconds,
            **{key: in_words(value) for key, value in trial.values.items()},
            "experiment": trial.experiment,
            "error": trial.error,
        }
        for trial in trials
    )
    write_csv(folder / "trials.csv", [*COLUMNS, *space, "experiment", "error"], rows)
    (folder / "trials.svg").write_text(draw(trials, space), encoding="utf-8")


def draw(trials: Sequence[Trial], space: Space) -> str:
    """Accuracy by trial with the best so far, and by the values of each parameter, as SVG.

    A star is the best trial.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    from sentiformer.evaluation.figures import BLUE, ORANGE, STYLE

    scored = [trial for trial in trials if trial.accuracy is not None]
    accuracies = [trial.accuracy for trial in scored if trial.accuracy is not None]
    best, searched = best_of(scored), [key for key, of in space.items() if _varies(of)]
    rows, columns = -(-(1 + len(searched)) // PANELS), min(PANELS, 1 + len(searched))
    style: Any = {**STYLE, "svg.hashsalt": "trials"}
    text = io.StringIO()
    with mpl.rc_context(style):
        figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
        for number, key in enumerate(["trial", *searched], start=1):
            axes = figure.add_subplot(rows, columns, number)
            places = [float(trial.number) for trial in scored]
            if number == 1:
                so_far = [max(accuracies[:end]) for end in range(1, len(scored) + 1)]
                axes.step(places, so_far, where="post", color=ORANGE, label="best so far")
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
                axes.legend(loc="lower right", fontsize=8)
            else:
                places = _places(axes, space[key], [trial.values[key] for trial in scored])
            axes.scatter(places, accuracies, s=22, color=BLUE, alpha=0.7, linewidths=0)
            for place, trial, accuracy in zip(places, scored, accuracies, strict=True):
                if trial is best:
                    axes.scatter(place, accuracy, s=90, color=ORANGE, marker="*", zorder=3)
            axes.set_xlabel(key)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            if number % columns == 1 % columns:
                axes.set_ylabel("validation accuracy")
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _varies(of: Any) -> bool:
    return isinstance(of, Range) or len(of.values) > 1


def _places(axes: "Axes", of: Any, values: Sequence[Any]) -> list[float]:
    """Where the values of a parameter are on its axis, which is prepared."""
    if isinstance(of, Range):
        if of.is_log:
            axes.set_xscale("log")
            ticks = [of.low, (of.low * of.high) ** 0.5, of.high]
            axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
            axes.minorticks_off()
        return [float(value) for value in values]
    names = [in_words(value)[-SHOWN_CHARACTERS:] for value in of.values]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    return [float(of.values.index(value)) for value in values]
