"""The trials of a search, in an Optuna study in an SQLite database.

The database has a study for each search: for each space, parameters, data and version of the code.
Optuna's TPE suggests values (Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization).
Each suggestion depends only on the trials before it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.errors import UserError, first_line
from sentiformer.experiments.space import Range, Space, combinations, problem
from sentiformer.params import Params

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

RESULT = "result"  # the attribute of a trial that ended
MOST_SKIPPED = 100  # suggestions in a row that are of no use, at which a search ends


@dataclass(frozen=True)
class Trial:
    """A trial that ended.

    Attributes:
        number: from 1.
        values: of the parameters of the space.
        accuracy, loss, epoch: of the best epoch on validation; None if the trial failed.
        seconds: that it took; few if DVC's cache had the result.
        experiment: its name in DVC.
        error: why it failed, or empty.
    """

    number: int
    values: dict[str, Any]
    accuracy: float | None
    loss: float | None
    epoch: int | None
    seconds: float
    experiment: str
    error: str = ""


class Study:
    """A search that can be continued: it suggests values, and keeps the trials."""

    def __init__(self, path: Path, key: str, space: Space, params: Params, trials: int) -> None:
        """Open the study of this key, or begin it; `trials` is how many there will be at most.

        Raises:
            UserError: the database is corrupt, or no combination of the values is possible.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._params = space, params
        self._distributions = {key: _distribution(of) for key, of in space.items()}
        try:
            self._study = optuna.create_study(
                storage=f"sqlite:///{path}",
                study_name=key,
                direction="maximize",
                load_if_exists=True,
            )
        except Exception as error:  # those of SQLAlchemy, Alembic and SQLite
            raise UserError(
                f"{path} is no database of searches ({first_line(error)}); move it away"
            ) from None
        self.key = key
        self._asked: OptunaTrial | None = None
        self.total = min(trials, self._enqueue_all(trials))
        for lost in self._study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            self._study.tell(lost.number, state=optuna.trial.TrialState.FAIL)
            self._study.enqueue_trial(lost.params)  # of a search that was stopped

    def _enqueue_all(self, trials: int) -> int:
        """Ask for all combinations if they are no more than `trials`; return their number."""
        found = combinations(self._space, trials)
        if found is None:
            return trials
        reasons = [problem(self._params, self._used(values)) for values in found]
        possible = [values for values, why in zip(found, reasons, strict=True) if not why]
        if not possible:
            raise UserError(f"no combination of the values is possible; {reasons[0]}")
        for values in possible:
            self._study.enqueue_trial(values, skip_if_exists=True)
        return len(possible)

    def _used(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Suggested values as the pipeline gets them."""
        return {
            key: of.rounded(values[key]) if isinstance(of, Range) else values[key]
            for key, of in self._space.items()
        }

    def ask(self) -> dict[str, Any] | None:
        """The values of the next trial, or None if no new ones are found.

        They differ from those of each trial that ended, and `params.py` accepts them.
        """
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        tried = [trial.values for trial in self.trials()]
        for attempt in range(MOST_SKIPPED):  # a stopped search goes on with the same seeds
            self._study.sampler = TPESampler(seed=len(tried) * MOST_SKIPPED + attempt)
            self._asked = asked = self._study.ask(self._distributions)
            values = self._used(asked.params)
            if values not in tried and not problem(self._params, values):
                return values
            self._study.tell(asked, state=TrialState.PRUNED)
        return None

    def tell(self, trial: Trial) -> None:
        """Keep the result of the trial that was asked for last."""
        from optuna.trial import TrialState

        assert self._asked is not None
        self._asked.set_user_attr(RESULT, asdict(trial))
        failed = TrialState.FAIL if trial.accuracy is None else None
        self._study.tell(self._asked, trial.accuracy, state=failed)

    def trials(self) -> list[Trial]:
        """The trials that ended, in their order."""
        ended: list[FrozenTrial] = self._study.get_trials(deepcopy=False)
        return [Trial(**found.user_attrs[RESULT]) for found in ended if RESULT in found.user_attrs]


def best_of(trials: list[Trial]) -> Trial | None:
    """The trial with the highest accuracy, and of those, with the lowest loss; None if all failed.

    The pipeline chooses the best epoch alike.
    """
    scored = [trial for trial in trials if trial.accuracy is not None]
    return max(scored, key=lambda trial: (trial.accuracy, -(trial.loss or 0)), default=None)


def _distribution(of: Any) -> "BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(of, Range):
        return CategoricalDistribution(of.values)
    if isinstance(of.low, int):
        return IntDistribution(of.low, int(of.high), log=of.is_log)
    return FloatDistribution(of.low, of.high, log=of.is_log)
