"""The MLflow store: how it is reached, and what the run of a training holds.

A run is found by the key of its training, which is one of its tags, and never by a stored id.
"""

import logging
import math
import os
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sentiformer.core.errors import UserError
from sentiformer.core.runtime import project_root
from sentiformer.tracking import database
from sentiformer.tracking.database import (
    LOCK_SECONDS,
    SQLITE,
    database_of,
    default_uri,
    tracking_uri,
)
from sentiformer.tracking.datasets import data_inputs
from sentiformer.tracking.messages import reason_of, without_passwords
from sentiformer.tracking.metrics import flatten
from sentiformer.tracking.names import NAME, run_name
from sentiformer.tracking.origin import origin_tags
from sentiformer.tracking.patience import WAIT_SECONDS, Patience, PatientClient

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

KEY_TAG = f"{NAME}.training_key"
CONNECT_SECONDS = 2.0  # for the import of drivers, before a store that does not answer is late
FINISH_SECONDS = 2.0  # for the live run to leave a database in a file
BATCH_METRICS = 1000  # MLflow's limit for one call
NOTE_TAG = "mlflow.note.content"  # the description of an experiment, a run or a logged model
EXPERIMENT_NOTE = (
    "Each training of sentiformer is a run, named by its data, size and test accuracy. *Training "
    "runs* has the curves, the parameters and the report; *Models* compares the models."
)
SETTINGS = {  # by default, MLflow waits for minutes, sends telemetry and prints passwords
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{WAIT_SECONDS:.0f}",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
TRIES = 3  # of work that other processes do at the same time
CONFLICTS = (  # what MLflow and databases say of an entry that another process made or deleted
    "RESOURCE_ALREADY_EXISTS",
    "IntegrityError",
    "UniqueViolation",
    "must be in the 'active' state",
)
_in_use = threading.Lock()  # two threads at once could create two runs of one training


class Store:
    """The tracking server or database, and the experiment in it."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    @classmethod
    def connect(cls, patience: Patience | None = None) -> "Store":
        """Open `MLFLOW_TRACKING_URI`, or else `mlflow.db` in the project's root.

        Raises:
            UserError: the database or the experiment cannot be used.
            TimeoutError: the patience has ended.
        """
        mlflow = import_mlflow()
        patience = patience or Patience(math.inf)
        root, uri = project_root(), tracking_uri()
        mlflow.set_tracking_uri(uri)  # this sets MLFLOW_TRACKING_URI, too
        is_own = uri == default_uri(root)
        location = database.artifacts_of(root) if is_own else None
        if not is_own:
            database.check_address(uri)
        with database.locked_database(root, _create_tables) if is_own else nullcontext():
            with patience.call(CONNECT_SECONDS):
                client = mlflow.MlflowClient()
            client = PatientClient(client, patience)
            return cls(client, _experiment_id(client, location))

    def run_of(self, about: dict[str, Any]) -> "Run":
        """The run of the training whose `config.json` is `about`; created if missing.

        A server that answers too late, or another process that logs the same training, can make a
        second run. All except the oldest are deleted.
        """
        wanted = f"tags.`{KEY_TAG}` = '{about['training_key']}'"
        oldest_first = ["attributes.start_time ASC"]
        ids = [self.experiment_id]
        find = partial(self.client.search_runs, ids, wanted, order_by=oldest_first)
        if not (found := find()):
            name, tags = run_name(about), _tags(about)
            created = self.client.create_run(self.experiment_id, run_name=name, tags=tags)
            found = find() or [created]  # another process may have created one, too
        run, *others = found
        for other in others:
            self.client.delete_run(other.info.run_id)
        if not run.data.params:  # they are logged last
            self._describe(run.info.run_id, about)
        return run

    def _describe(self, run_id: str, about: dict[str, Any]) -> None:
        """Log the data sets and the parameters of a run."""
        from mlflow.entities import Param

        self.client.log_inputs(run_id, data_inputs(about))
        params = flatten({**about["params"], "machine": about["environment"]}, ".")
        self.client.log_batch(run_id, params=[Param(key, str(params[key])) for key in params])

    def log_missing(self, run_id: str, metrics: "list[Metric]") -> None:
        """Log the points that the run lacks, or has with another value."""
        known = {
            (key, point.step, point.value)
            for key in {metric.key for metric in metrics}
            for point in self.client.get_metric_history(run_id, key)
        }
        self.log(run_id, [m for m in metrics if (m.key, m.step, m.value) not in known])

    def log(self, run_id: str, metrics: "list[Metric]") -> None:
        """Log points, as many in one call as MLflow allows."""
        for start in range(0, len(metrics), BATCH_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH_METRICS])

    def log_folders(self, run_id: str, tag: str, content: str, *folders: Path) -> None:
        """Upload folders under their names, unless the tag says that this content is there."""
        if self.client.get_run(run_id).data.tags.get(tag) == content:
            return
        with TemporaryDirectory() as temporary:
            for folder in folders:
                copied = writable_copy(folder, Path(temporary) / folder.name)
                self.client.log_artifacts(run_id, str(copied), folder.name)
        self.client.set_tag(run_id, tag, content)

    def show_result(self, run_id: str, about: dict[str, Any], result: str) -> None:
        """Add the result to the name of a run, unless a person has renamed the run."""
        name = self.client.get_run(run_id).info.run_name
        wanted = run_name(about, result)
        if name != wanted and name.startswith(run_name(about)):
            self.client.update_run(run_id, name=wanted)

    def finish(self, run_id: str) -> None:
        """Close a run that is complete; one that is closed already keeps the time of its end."""
        if self.client.get_run(run_id).info.status != "FINISHED":
            self.client.set_terminated(run_id, "FINISHED")


def writable_copy(folder: Path, copy: Path) -> Path:
    """Copy a folder, and return the copy.

    Files that DVC links to its cache are read-only. MLflow's copies of them would be as well, so
    that MLflow could not replace them later.
    """
    return Path(shutil.copytree(folder, copy, copy_function=shutil.copyfile))


def _experiment_id(client: "MlflowClient", location: str | None) -> str:
    """The id of the experiment, which is created if it is missing.

    Raises:
        UserError: it was deleted; MLflow would keep its name and refuse new runs.
    """
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or NAME
    if (found := client.get_experiment_by_name(name)) is None:
        tags = {NOTE_TAG: EXPERIMENT_NOTE}
        return str(client.create_experiment(name, artifact_location=location, tags=tags))
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment {name} was deleted; restore it with `mlflow experiments "
            f"restore --experiment-id {found.experiment_id}`, or set MLFLOW_EXPERIMENT_NAME to "
            "another name"
        )
    return str(found.experiment_id)


def _create_tables(uri: str) -> None:
    import_mlflow().MlflowClient(uri).search_experiments(max_results=1)


def _tags(about: dict[str, Any]) -> dict[str, str]:
    """The tags that name and describe a run."""
    splits = about["data"]["splits"].items()
    tags = {
        KEY_TAG: about["training_key"],
        **{f"{NAME}.{split}": facts["fingerprint"] for split, facts in splits},
        "mlflow.source.name": f"pipeline/{about['stage']}.py",
        "mlflow.source.type": "LOCAL",
        NOTE_TAG: f"Stage {about['stage']}, logged from its files.",
        **origin_tags(),
        "dvc.stage": about["stage"],
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", ""),
    }
    return {key: value for key, value in tags.items() if value}


def import_mlflow() -> Any:
    """Import MLflow with our `SETTINGS`, where the environment has no other, and without its log.

    MLflow is imported nowhere at the top of a file, because that takes a second.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # `use_store` reports errors
    return mlflow


def use_store(work: Callable[[Store], None], patience: Patience | None = None) -> bool:
    """Connect to the store, which one thread may use at a time, and call `work` with it.

    Without a patience, answers may be late. It does not count for a database in a file, which may
    take seconds to be created, and whose locks have limits of their own. A failure prints one line
    on stderr. Returns whether the work succeeded.
    """
    lock_seconds = _lock_seconds(patience)
    if patience is None or tracking_uri().startswith(SQLITE):
        patience = Patience(math.inf)

    def connect_and_work() -> None:
        if not _in_use.acquire(timeout=lock_seconds):
            raise TimeoutError("it is still busy with the live run")
        try:
            _work_with_others(work, patience)
        finally:
            _in_use.release()

    try:
        patience.limit(connect_and_work)
        return True
    except UserError as error:  # a file that was to be logged is missing or corrupt
        problem = str(error)
    except Exception as error:  # MLflow, its database and its transport raise errors of any class
        problem = f"MLflow at {without_passwords(tracking_uri())} fails ({reason_of(error)})"
    with suppress(OSError):  # stderr may be closed
        line = f"{problem}; the files in data/ are not affected, `make track` logs this run later"
        print(line, file=sys.stderr, flush=True)
    return False


def _lock_seconds(patience: Patience | None) -> float:
    """How long to wait until another thread leaves the store."""
    if not tracking_uri().startswith(SQLITE):
        return 0.0
    if not database_of(project_root()).exists():  # it is being created
        return LOCK_SECONDS
    return min(LOCK_SECONDS, max(FINISH_SECONDS, patience.left if patience else 0.0))


def _work_with_others(work: Callable[[Store], None], patience: Patience) -> None:
    """Connect and work, again if another process did the same at the same time."""
    for _ in range(TRIES - 1):
        try:
            work(Store.connect(patience))
            return
        except Exception as error:  # the errors of MLflow and of its databases differ
            if not any(sign in str(error) for sign in CONFLICTS):
                raise
    work(Store.connect(patience))
