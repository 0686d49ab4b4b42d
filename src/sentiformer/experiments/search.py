"""Search parameters: a trial is a training with other values, which validation scores.

The score is the accuracy on validation, as when the best epoch of a training is chosen. A loss
would not do: `train.class_weights` changes its meaning. Test is never looked at.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentiformer.console.output import say
from sentiformer.console.progress import Bar
from sentiformer.core.errors import UserError
from sentiformer.experiments import dvc
from sentiformer.experiments.identity import identity
from sentiformer.experiments.space import Space, parse_space, scored_stage
from sentiformer.experiments.study import Study, Trial, best_of
from sentiformer.experiments.trials import as_row, values_in_words, write_trials
from sentiformer.params import load_params

FOLDERS = {"train": "model", "finetune": "finetuned"}  # of the model of a stage, in `data`
MOST_FAILED = 3  # trials in a row, at which a search ends


def search(arguments: Sequence[str], *, trials: int, minutes: int | None, folder: Path) -> None:
    """Search the space of the arguments, or continue; write study.db, trials.csv and trials.svg.

    The same arguments continue a stopped search. There are at most `trials` trials in all, and
    none begins later than `minutes` after the start. The best one stays as an experiment of DVC.

    Raises:
        UserError: an argument is wrong, or all trials fail.
    """
    from filelock import FileLock, Timeout

    params = load_params()
    space = parse_space(arguments, params)
    stage = scored_stage(space, params)
    key = identity(params, {key: repr(of) for key, of in space.items()})
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock").acquire(timeout=0):
            study = Study(folder / "study.db", key, space, params, trials)
            _say_begin(study)
            try:
                _run_trials(study, stage, minutes)
            finally:  # also after Ctrl-C
                _finish(study, space, folder)
    except Timeout:
        raise UserError(f"another search is writing {folder}; wait for it, or stop it") from None


def _say_begin(study: Study) -> None:
    done = len(study.trials())
    if done:
        say(f"search {study.key} continues after {done:,} of {study.total:,} trials")
    else:
        trials = f"{study.total:,} trial{'s' * (study.total != 1)}"
        say(f"search {study.key} begins: {trials}, scored by validation accuracy")


def _run_trials(study: Study, stage: str, minutes: int | None) -> None:
    done, begun = study.trials(), time.monotonic()
    with Bar("search, trials", total=study.total, done=len(done)) as bar:
        while len(done) < study.total:
            if minutes is not None and time.monotonic() - begun > 60 * minutes:
                say(f"{minutes} minutes are over")
                return
            if (values := study.ask()) is None:
                say("no values were found that are new and possible")
                return
            trial = _run(f"search-{study.key}-{len(done) + 1}", len(done) + 1, values, stage, bar)
            study.tell(trial)
            done.append(trial)
            say(as_row(trial))
            bar.advance(1)
            if len(done) >= MOST_FAILED and all(trial.error for trial in done[-MOST_FAILED:]):
                raise UserError(f"{MOST_FAILED} trials in a row failed; the last: {trial.error}")


def _run(name: str, number: int, values: dict[str, Any], stage: str, bar: Bar) -> Trial:
    """Run a trial.

    Raises:
        UserError: DVC or a stage before the one of the model fails.
    """
    dvc.remove(*{name} & {*dvc.names()})  # of a search that was killed before it kept the result
    begun, best, error = time.monotonic(), dict[str, Any](), ""
    shown = f"trial {number}, {values_in_words(values)}"
    try:
        dvc.run(name, values, stage, lambda line: bar.advance(0, f"{shown}: {line}"))
        best = dvc.read(name, f"data/{FOLDERS[stage]}/config.json")["best"]
    except dvc.ExperimentError as failed:
        if failed.stage != stage:
            raise
        error = str(failed)
    return Trial(
        number=number,
        values=values,
        accuracy=best.get("valid_accuracy"),
        loss=best.get("valid_loss"),
        epoch=best.get("epoch"),
        seconds=round(time.monotonic() - begun, 1),
        experiment=name,
        error=error,
    )


def _finish(study: Study, space: Space, folder: Path) -> None:
    """Write the table and the picture, remove the other experiments, and say what was found."""
    trials = study.trials()
    if not (best := best_of(trials)):
        say(f"no trial has ended well; the same command continues the search {study.key}")
        return
    write_trials(trials, space, folder)
    others = {trial.experiment for trial in trials} - {best.experiment}
    dvc.remove(*sorted(others & {*dvc.names()}))
    say("")
    for trial in sorted(trials, key=lambda t: (-(t.accuracy or 0), t.loss or 0, t.number)):
        say(as_row(trial))
    say(f"{len(trials):,} of {study.total:,} trials → {folder}/trials.csv, {folder}/trials.svg")
    if len(trials) < study.total:
        say("the same command continues the search")
    say(
        f"best: trial {best.number} ({values_in_words(best.values)}), validation accuracy "
        f"{best.accuracy:.4f}; next: dvc exp apply {best.experiment} && make"
    )
