"""The MLflow store: how it is reached, and what the run of a training holds.

A run is found by the key of its training, which is one of its tags, and never by a stored id.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.core.errors import UserError, first_line
from sentiformer.core.process import output_of
from sentiformer.core.runtime import project_root
from sentiformer.tracking import database
from sentiformer.tracking.database import LOCK_SECONDS, default_uri, tracking_uri
from sentiformer.tracking.metrics import flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

NAME = "sentiformer"  # of the experiment and of the registered model
KEY_TAG = f"{NAME}.training_key"
MODEL_TAG = f"{NAME}.model_sha256"
WAIT_SECONDS = 5  # the longest wait of a training for a store that does not answer
BATCH_METRICS = 1000  # MLflow's limit for one call
DATASET_CHARACTERS = 400  # of a data set's name; MLflow allows 500, and the split is added
SETTINGS = {  # MLflow waits for minutes by default, and sends telemetry
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(WAIT_SECONDS),
}
_in_use = threading.Lock()  # two threads at once could create two runs of one training


class Store:
    """The tracking server or database, and the experiment in it."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    @classmethod
    def connect(cls) -> "Store":
        """Open `MLFLOW_TRACKING_URI`, or else `mlflow.db` in the project's root."""
        mlflow = import_mlflow()
        root = project_root()
        uri = tracking_uri()
        mlflow.set_tracking_uri(uri)  # this sets MLFLOW_TRACKING_URI, too
        is_own = uri == default_uri(root)
        location = database.artifacts_of(root) if is_own else None
        if not is_own:
            database.check_address(uri)
        with database.locked_database(root, _create_tables) if is_own else nullcontext():
            client = mlflow.MlflowClient()
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or NAME
            if (experiment := client.get_experiment_by_name(name)) is not None:
                return cls(client, experiment.experiment_id)
            return cls(client, client.create_experiment(name, artifact_location=location))

    def run_of(self, about: dict[str, Any]) -> "Run":
        """The run of the training whose `config.json` is `about`; created if missing.

        A server that answers too late can make a second run. All except the oldest are deleted.
        """
        wanted = f"tags.`{KEY_TAG}` = '{about['training_key']}'"
        oldest_first = ["attributes.start_time ASC"]
        found = self.client.search_runs([self.experiment_id], wanted, order_by=oldest_first)
        run, *others = list(found) or [self._create(about)]
        for other in others:
            self.client.delete_run(other.info.run_id)
        if not run.data.params:  # they are logged last
            self._describe(run.info.run_id, about)
        return run

    def _create(self, about: dict[str, Any]) -> "Run":
        size, key = about["params"]["model"], about["training_key"][:7]
        name = os.environ.get("DVC_EXP_NAME") or f"d{size['d_model']}-l{size['num_layers']}-{key}"
        if about["stage"] != "train":
            name = f"{about['stage']}-{name}"
        return self.client.create_run(self.experiment_id, run_name=name, tags=_tags(about))

    def _describe(self, run_id: str, about: dict[str, Any]) -> None:
        """Log the data sets and the parameters of a run."""
        from mlflow.entities import Param

        self.client.log_inputs(run_id, _data_inputs(about))
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
        for folder in folders:
            self.client.log_artifacts(run_id, str(folder), folder.name)
        self.client.set_tag(run_id, tag, content)

    def finish(self, run_id: str) -> None:
        """Close a run that is complete; one that is closed already keeps the time of its end."""
        if self.client.get_run(run_id).info.status != "FINISHED":
            self.client.set_terminated(run_id, "FINISHED")


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
        "mlflow.note.content": f"Stage {about['stage']}, logged from its files.",
        "mlflow.source.git.commit": output_of("git", "rev-parse", "HEAD"),
        "dvc.stage": about["stage"],
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", ""),
    }
    return {key: value for key, value in tags.items() if value}


def _data_inputs(about: dict[str, Any]) -> list[Any]:
    """The splits as MLflow data sets; the digest is the beginning of the fingerprint."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data, inputs = about["data"], []
    for split, facts in data["splits"].items():
        if split == "test" and about["stage"] == "pretrain":
            continue  # pretraining never reads it
        dataset = Dataset(
            name=f"{data['origin']['name'][:DATASET_CHARACTERS]}, {split}",
            digest=facts["fingerprint"][:32],
            source_type=about["params"]["download"]["source"],
            source=json.dumps(data["origin"]),
            profile=json.dumps(facts),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", split)]))
    return inputs


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


def use_store(work: Callable[[Store], None]) -> bool:
    """Connect to the store, which one thread may use at a time, and call `work` with it.

    The project's own database may take seconds to be created; a server is not waited for.
    A failure prints one line on stderr. Returns whether the work succeeded.
    """
    try:
        is_own = tracking_uri() == default_uri(project_root())
        if not _in_use.acquire(timeout=LOCK_SECONDS if is_own else 0):
            raise TimeoutError("it is still busy with the live run")
        try:
            work(Store.connect())
        finally:
            _in_use.release()
        return True
    except UserError as error:  # a file that was to be logged is missing or corrupt
        problem = str(error)
    except Exception as error:  # MLflow, its database and its transport raise errors of any class
        problem = f"MLflow at {tracking_uri()} fails ({reason_of(error)})"
    with suppress(OSError):  # stderr may be closed
        line = f"{problem}; the files in data/ are not affected, `make track` logs this run later"
        print(line, file=sys.stderr, flush=True)
    return False


def reason_of(error: Exception) -> str:
    """The first line of an error; a long line is shortened in the middle.

    The end is kept, because the cause is often there.
    """
    line = first_line(error)
    return line if len(line) <= 200 else f"{line[:80]} … {line[-120:]}"
