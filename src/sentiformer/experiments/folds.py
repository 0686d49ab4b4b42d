"""Cross-validation: the pipeline on other held-out texts, fold by fold.

Fold i holds out other intervals of the texts' hash (`sentiformer.data.splits.hold_out`), so that
over all folds each text is in test once. The deviation between folds shows how much a result
depends on which texts are held out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from sentiformer.console.output import say
from sentiformer.console.progress import Bar
from sentiformer.core.errors import UserError
from sentiformer.core.files import write_csv
from sentiformer.data.params import number_of_folds
from sentiformer.data.splits import HELD_OUT
from sentiformer.experiments import dvc
from sentiformer.experiments.identity import identity
from sentiformer.params import Params, load_params

KEY = "download.fold"
DIGITS = 6  # of mean and deviation, as in metrics.json


def run_folds(count: int | None, folder: Path) -> None:
    """Run the first `count` folds, or all; print mean and deviation, and write `folds.csv`.

    A fold that has run before is not run again.

    Raises:
        UserError: there are not so many folds, the source holds nothing out, or a fold fails.
    """
    params = load_params()
    most = number_of_folds(params.download.held_out)
    count = most if count is None else count
    if not 1 < count <= most:
        raise UserError(
            f"{count} folds are not possible: download.held_out {params.download.held_out:g} makes "
            f"{most}; give a number from 2 to {most}, or change download.held_out"
        )
    sections = params.model_dump()
    sections["download"]["fold"] = 0
    key = identity(Params.model_validate(sections))
    names = [f"fold-{key}-{fold}" for fold in range(count)]
    done, results = {*dvc.names()} & {*names}, list[dict[str, float]]()
    with Bar("folds", total=count, done=0) as bar:
        for fold, name in enumerate(names):
            if name not in done:
                _run(fold, name, bar)
            if not fold:
                _require_held_out(dvc.read(name, "data/raw/dataset.json")["rows_read"])
            results.append(dvc.read(name, "metrics.json"))
            say(f"fold {fold}: test accuracy {results[-1]['accuracy']:.4f}")
            bar.advance(1)
    _report(results, most, folder)


def _run(fold: int, name: str, bar: Bar) -> None:
    dvc.run(name, {KEY: fold}, "evaluate", lambda line: bar.advance(0, f"fold {fold}: {line}"))


def _require_held_out(rows: Mapping[str, int]) -> None:
    """Refuse a source that has all splits; say which split all folds share."""
    own = [split for split in HELD_OUT if split in rows]
    if len(own) == len(HELD_OUT):
        raise UserError(
            "the source has its own test and validation, so all folds would be the same; leave "
            "download.test and download.validation out, or give a source without these splits"
        )
    if own:
        say(f"the source has its own {own[0]}, which all folds share")


def _report(results: Sequence[Mapping[str, Any]], most: int, folder: Path) -> None:
    """Write the table and print mean and deviation of each metric."""
    names = list(results[0])
    values = {name: [result[name] for result in results] for name in names}
    means = {name: round(mean(of), DIGITS) for name, of in values.items()}
    deviations = {name: round(stdev(of), DIGITS) for name, of in values.items()}
    rows = [{"fold": fold, **result} for fold, result in enumerate(results)]
    rows += [{"fold": "mean", **means}, {"fold": "deviation", **deviations}]
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "folds.csv", ["fold", *names], rows)
    width = max(map(len, names))
    say(f"\n{'':<{width}}    mean  deviation  lowest  highest")
    for name, of in values.items():
        say(
            f"{name:<{width}}  {means[name]:6.4f}     {deviations[name]:6.4f}  {min(of):6.4f}   "
            f"{max(of):6.4f}"
        )
    rest = "" if len(results) == most else f" of {most}; without a number, all are run"
    say(f"{len(results)} folds{rest} → {folder}/folds.csv; next: dvc exp show")
