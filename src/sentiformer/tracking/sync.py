"""MLflow's view of the trainings: runs, curves, data, models, and the champion.

The files of `data/` are the truth and MLflow is a view of them. A run is found by what it holds
(hashes, as tags), never by a stored id, so `sync` makes or completes the run of the files at hand
on any machine, however often it is called. No failure of MLflow's stops a training; a server that
does not answer, or a database that somebody else holds, can hold up its end by a minute.
"""

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.console import say
from sentiformer.core.errors import UserError, first_line
from sentiformer.core.events import EpochEvent, StepEvent
from sentiformer.core.files import read_csv, read_json, sha256
from sentiformer.core.process import output_of
from sentiformer.core.runtime import project_root
from sentiformer.text.pseudo_labels import LABELS_FILE
from sentiformer.tracking.database import (
    artifacts_of,
    check_address,
    database_of,
    default_uri,
    locked_database,
    prepare_database,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

NAME = "sentiformer"  # of the experiment and of the registered model
CHAMPION = "champion"
KEY_TAG = f"{NAME}.training_key"
MODEL_TAG = f"{NAME}.model_sha256"
REPORT_TAG = f"{NAME}.report_sha256"  # of a report that is there, whole
UPLOADED_TAG = f"{NAME}.uploaded_sha256"  # the same of a language model
ACCURACY_TAG = f"{NAME}.test_accuracy"
PRETRAINING_TAG = f"{NAME}.pretraining_key"
BATCH_METRICS = 1000  # MLflow's limit for one call
DATASET_CHARACTERS = 400  # of a data set's name; with its split MLflow takes 500
CURVES = {  # of each stage: what of an event is shown, and its name
    "train": {
        StepEvent: {
            "loss": "train/loss",
            "learning_rate": "train/learning_rate",
            "gradient_norm": "train/gradient_norm",
        },
        EpochEvent: {
            "epoch": "epoch",
            "train_loss": "train/epoch_loss",
            "valid_loss": "valid/loss",
            "valid_accuracy": "valid/accuracy",
        },
    },
    "pretrain": {
        StepEvent: {
            "loss": "pretrain/loss",
            "learning_rate": "pretrain/learning_rate",
            "gradient_norm": "pretrain/gradient_norm",
        },
        EpochEvent: {
            "epoch": "epoch",
            "train_loss": "pretrain/epoch_loss",
            "valid_loss": "pretrain/valid_loss",
            "valid_accuracy": "pretrain/valid_accuracy",
            "perplexity": "pretrain/perplexity",
        },
    },
}
SERVING_PACKAGES = ("numpy", "pyarrow", "pydantic", "safetensors", "spacy", "torch")


class Store:
    """The tracking server or database, and in it the experiment."""

    def __init__(self, client: "MlflowClient", experiment_id: str) -> None:
        self.client = client
        self.experiment_id = experiment_id

    @classmethod
    def connect(cls) -> "Store":
        """Open `MLFLOW_TRACKING_URI`, or else `mlflow.db` in the project's root."""
        mlflow = _mlflow()
        root = project_root()
        uri = tracking_uri()
        mlflow.set_tracking_uri(uri)  # which sets MLFLOW_TRACKING_URI, too
        ours = uri == default_uri(root)

        def make(address: str) -> None:
            mlflow.MlflowClient(address).search_experiments(max_results=1)

        if not ours:
            check_address(uri)
        with locked_database(root, make) if ours else nullcontext():
            client = mlflow.MlflowClient()
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or NAME
            experiment = client.get_experiment_by_name(name)
            if experiment is not None:
                return cls(client, experiment.experiment_id)
            location = artifacts_of(root) if ours else None
            return cls(client, client.create_experiment(name, artifact_location=location))

    def find(self, tag: str, value: str) -> "Run | None":
        """The run with a tag; the oldest, if there are several."""
        runs = self.client.search_runs(
            [self.experiment_id],
            filter_string=f"tags.`{tag}` = '{value}'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        return runs[0] if runs else None

    def complete(self, run: "Run | None", about: dict[str, Any]) -> str:
        """The id of a training's run, made if there is none, with its data sets and parameters."""
        from mlflow.entities import Param, RunTag

        run = run or self._create(about)
        if run.data.params:  # which are logged last
            return run.info.run_id
        self.client.log_inputs(run.info.run_id, _data_inputs(about))
        params = {**flatten(about["params"], "."), **flatten(about["environment"], ".", "machine")}
        self.client.log_batch(
            run.info.run_id,
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag("mlflow.note.content", f"Stage {about['stage']}, as its files tell it.")],
        )
        return run.info.run_id

    def _create(self, about: dict[str, Any]) -> "Run":
        size = about["params"]["model"]
        name = os.environ.get("DVC_EXP_NAME") or (
            f"d{size['d_model']}-l{size['num_layers']}-{about['training_key'][:7]}"
        )
        if about["stage"] != "train":
            name = f"{about['stage']}-{name}"
        return self.client.create_run(self.experiment_id, run_name=name, tags=_tags(about))

    def log_missing(self, run_id: str, metrics: list["Metric"]) -> None:
        """Log the points that the run lacks, or has with another value."""
        known: set[tuple[str, int, float]] = set()
        for key in {metric.key for metric in metrics}:
            points = self.client.get_metric_history(run_id, key)
            known.update((key, point.step, point.value) for point in points)
        self.log([m for m in metrics if (m.key, m.step, m.value) not in known], run_id)

    def log(self, metrics: list["Metric"], run_id: str) -> None:
        """Log points, as many in one call as MLflow takes."""
        for start in range(0, len(metrics), BATCH_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH_METRICS])

    def log_folders(self, run_id: str, tag: str, content: str, *folders: Path) -> None:
        """Log folders under their names, unless the tag says that just this content is there."""
        if self.client.get_run(run_id).data.tags.get(tag) == content:
            return
        for folder in folders:
            self.client.log_artifacts(run_id, str(folder), folder.name)
        self.client.set_tag(run_id, tag, content)

    def finish(self, run_id: str) -> None:
        """Close a run that is complete; one that was closed so before keeps the time of its end."""
        if self.client.get_run(run_id).info.status != "FINISHED":
            self.client.set_terminated(run_id, "FINISHED")


def sync(data: Path) -> bool:
    """Bring MLflow to the state of the files in `data`; says where, and whether it could.

    Raises:
        UserError: there is no model in `data`, or its `config.json` is corrupt.
    """
    about = read_json(data / "model" / "config.json", made_by="train")
    model_sha256 = sha256(data / "model" / "model.safetensors", made_by="train")
    with never_fails("nothing is lost"):
        store = Store.connect()
        run_id = _run_of(store, about, model_sha256)
        store.log_missing(run_id, _history(data / "model", "train") + _best(about))
        _log_pretraining(store, run_id, data, about)
        store.log_missing(run_id, _seconds("train", model_sha256))
        store.log_missing(run_id, _seconds_before(data, about))
        if _belongs(data, model_sha256):
            store.log_missing(run_id, _test_metrics(data / "evaluation"))
            _log_baselines(store, run_id, data / "evaluation")
            _log_report(store, run_id, data)
        _log_model(store, run_id, data / "model", about)
        store.finish(run_id)
        say(f"tracked: MLflow run {run_id} in {store.client.tracking_uri}")
        return True
    return False


def sync_pretraining(data: Path) -> None:
    """Bring MLflow to the state of the language model in `data`."""
    with never_fails("nothing is lost"):
        store = Store.connect()
        run_id = _pretraining_run(store, data)
        say(f"tracked: MLflow run {run_id} in {store.client.tracking_uri}")


def download_model(uri: str, folder: Path) -> Path:
    """Fetch a model, such as `models:/sentiformer@champion`, to `folder`; say where its files lie.

    Raises:
        UserError: there is no such model.
    """
    root = project_root()
    ours = tracking_uri() == default_uri(root)
    if ours and not database_of(root).exists():
        raise UserError(
            f"--model {uri}: {database_of(root)} is missing; run from the project's root"
        )
    mlflow = _mlflow()
    mlflow.set_tracking_uri(tracking_uri())
    try:
        if ours:
            prepare_database(root)
        files = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
    except Exception as error:  # whatever the store and its transport raise
        raise UserError(f"--model {uri} cannot be had from MLflow: {_reason(error)}") from None
    model = Path(files) / "artifacts" / "model"
    if not model.exists():
        raise UserError(
            f"--model {uri}: what MLflow at {tracking_uri()} has there is no model of this "
            "project, or its files are gone; give another, or the folder of a model"
        )
    return model


def flatten(values: dict[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    """Nested values by joined keys: `{"a": {"b": 1}}` becomes `{"a/b": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{separator}{key}" if prefix else key
        flat |= flatten(value, separator, name) if isinstance(value, dict) else {name: value}
    return flat


def event_metrics(event: StepEvent | EpochEvent, stage: str) -> list["Metric"]:
    """The points of a stage's curves that an event adds."""
    curves = CURVES[stage][type(event)]
    return _points({name: getattr(event, of) for of, name in curves.items()}, event.step)


def _points(values: dict[str, float], step: int) -> list["Metric"]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, step) for key, value in values.items()]


def _history(folder: Path, stage: str) -> list["Metric"]:
    """All points of a training's curves, from its files."""
    points: list[Metric] = []
    for name, kind in (("steps.csv", StepEvent), ("history.csv", EpochEvent)):
        for row in read_csv(folder / name, made_by=stage):
            values: dict[str, Any] = {of: float(value) for of, value in row.items()}
            points += event_metrics(kind(**{**values, "step": int(row["step"])}), stage)
    return points


def _best(about: dict[str, Any]) -> list["Metric"]:
    """The best epoch of a classifier's training."""
    best = about["best"]
    names = ("epoch", "valid_accuracy", "valid_loss")
    return _points({f"best/{name}": best[name] for name in names}, best["step"])


def _test_metrics(evaluation: Path) -> list["Metric"]:
    """The metrics on test: of all texts, of each class, and of each bin of lengths."""
    metrics = read_json(evaluation / "metrics.json", made_by="evaluate")
    values = {f"test/{name}": value for name, value in metrics.items()}
    for table, column in (("by_class", "class"), ("by_length", "tokens")):
        rows = read_csv(evaluation / f"{table}.csv", made_by="evaluate")
        names = metric_names([row.pop(column) for row in rows])
        for name, row in zip(names, rows, strict=True):
            values |= {f"test/{table}/{name}/{key}": float(row[key]) for key in row}
    return _points(values, 0)


def metric_names(labels: list[str]) -> list[str]:
    """Give each label a name of its own that MLflow takes as part of a metric's.

    MLflow refuses most signs, reads a name as a path, and limits its length.
    """
    names: list[str] = []
    for number, label in enumerate(labels):
        name = re.sub(r"[^\w.\- ]|^\.*$", "_", label)[:100]
        names.append(f"{name}:{number}" if name in names else name)
    return names


def _seconds(stage: str, result_sha256: str) -> list["Metric"]:
    """What each model that a stage fitted took, where this machine knows it."""
    return []


def _seconds_before(data: Path, about: dict[str, Any]) -> list["Metric"]:
    """What the vectors of words took that a model begins with, and its teacher's of texts."""
    made = {
        "word_vectors": data / "word_vectors" / "word_vectors.safetensors",
        "teach": data / "teacher" / LABELS_FILE,
    }
    ours = [
        stage for stage, path in made.items() if path.exists() and _has_read(about, stage, path)
    ]
    return [metric for stage in ours for metric in _seconds(stage, sha256(made[stage]))]


def _has_read(about: dict[str, Any], stage: str, result: Path) -> bool:
    """Whether a model has read what a stage made, and not something made before or since.

    It is told by the parameters of the stage, which the model's `config.json` has, too.
    """
    made = read_json(result.parent / "config.json", made_by=stage)
    params = made if stage == "teach" else made["params"][stage]
    return all(params.get(key) == value for key, value in about["params"][stage].items())


def _log_baselines(store: Store, run_id: str, evaluation: Path) -> None:
    """Log what stands beside the Transformer: each baseline's metrics, and all accuracies."""
    models = {"transformer": evaluation / "metrics.json"}
    models |= {path.stem: path for path in sorted(evaluation.glob("baselines/*.json"))}
    found = {name: read_json(path, made_by="evaluate") for name, path in models.items()}
    accuracies = ", ".join(f"{name} {of['accuracy']:.2%}" for name, of in found.items())
    store.client.set_tag(run_id, ACCURACY_TAG, accuracies)
    del found["transformer"]  # whose metrics are logged as those of test
    made = read_json(evaluation / "lineage.json", made_by="evaluate")["baseline_sha256"]
    metrics = _points(flatten(found, "/", "baseline"), 0)
    store.log_missing(run_id, metrics + _seconds("baseline", made))


def _belongs(data: Path, model_sha256: str) -> bool:
    """Whether evaluation and report are there, and are of this model."""
    lineage = data / "evaluation" / "lineage.json"
    report = data / "report" / "report.html"
    if not (lineage.exists() and report.exists()):
        return False
    judged = read_json(lineage, made_by="evaluate")["model_sha256"]
    return judged == model_sha256 and model_sha256 in report.read_text(encoding="utf-8")


def _run_of(store: Store, about: dict[str, Any], model_sha256: str) -> str:
    """The run of a model: by its weights, else by its training, else a new one."""
    of_model = store.find(MODEL_TAG, model_sha256)
    of_training = store.find(KEY_TAG, about["training_key"])
    if of_model and of_training and MODEL_TAG not in of_training.data.tags:
        store.client.delete_run(of_training.info.run_id)
        say("the weights are those of an earlier run, which stands for both")
    run_id = store.complete(of_model or of_training, about)
    store.client.set_tag(run_id, MODEL_TAG, model_sha256)
    return run_id


def _pretraining_run(store: Store, data: Path) -> str:
    """The finished run of the language model in `data`, made or completed."""
    folder = data / "pretrained"
    about = read_json(folder / "config.json", made_by="pretrain")
    model_sha256 = sha256(folder / "model.safetensors", made_by="pretrain")
    run_id = _run_of(store, about, model_sha256)
    store.log_missing(run_id, _history(folder, "pretrain") + _seconds("pretrain", model_sha256))
    store.log_folders(run_id, UPLOADED_TAG, model_sha256, folder)
    store.finish(run_id)
    return run_id


def _log_pretraining(store: Store, run_id: str, data: Path, about: dict[str, Any]) -> None:
    """Log the language model there is; in the run of a classifier that began with it, say so."""
    weights = data / "pretrained" / "model.safetensors"
    if not weights.exists():
        return
    _pretraining_run(store, data)
    if _has_read(about, "pretrain", weights):
        pretrained = read_json(data / "pretrained" / "config.json", made_by="pretrain")
        store.client.set_tag(run_id, PRETRAINING_TAG, pretrained["training_key"])
        best = EpochEvent(**pretrained["best"])
        store.log_missing(run_id, _points({"pretrain/perplexity": best.perplexity}, 0))


def _log_report(store: Store, run_id: str, data: Path) -> None:
    """Log report, figures and evaluation, unless this very report is there."""
    report = sha256(data / "report" / "report.html")
    store.log_folders(run_id, REPORT_TAG, report, data / "report", data / "evaluation")


def _log_model(store: Store, run_id: str, model: Path, about: dict[str, Any]) -> None:
    """Log and register the model once, and crown it if it is the best."""
    versions = store.client.search_model_versions(f"name = '{NAME}' and run_id = '{run_id}'")
    if not versions:
        _register(run_id, model)
        versions = store.client.search_model_versions(f"name = '{NAME}' and run_id = '{run_id}'")
    number = str(min(int(found.version) for found in versions))
    validation = about["data"]["splits"]["validation"]["fingerprint"]
    for key, value in (("validation", validation), ("accuracy", about["best"]["valid_accuracy"])):
        store.client.set_model_version_tag(NAME, number, key, value)
    _crown(store, number, validation, about["best"]["valid_accuracy"])


def _register(run_id: str, model: Path) -> None:
    mlflow = _mlflow()
    package = Path(__file__).parents[1]
    pins = [f"{name}=={version(name).split('+')[0]}" for name in SERVING_PACKAGES]
    with mlflow.start_run(run_id=run_id, log_system_metrics=False):
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(model)},
            code_paths=[str(package)],
            pip_requirements=[f"mlflow=={version('mlflow')}", *pins],
            input_example=["A film to remember.", "Two hours that nobody gives back."],
            registered_model_name=NAME,
        )


def _crown(store: Store, number: str, validation: str, accuracy: float) -> None:
    """Move the alias when this version is better on the very validation texts of the champion."""
    if CHAMPION not in store.client.get_registered_model(NAME).aliases:
        store.client.set_registered_model_alias(NAME, CHAMPION, number)
        return
    version = store.client.get_model_version_by_alias(NAME, CHAMPION)
    champion = version.tags
    if champion.get("validation") != validation:
        say(f"{NAME}@{CHAMPION} stays version {version.version}, judged on other validation texts")
    elif accuracy > float(champion["accuracy"]):
        store.client.set_registered_model_alias(NAME, CHAMPION, number)


def _tags(about: dict[str, Any]) -> dict[str, str]:
    """What names and describes a run."""
    tags = {
        KEY_TAG: about["training_key"],
        **{f"{NAME}.{split}": of["fingerprint"] for split, of in about["data"]["splits"].items()},
        "mlflow.source.name": f"pipeline/{about['stage']}.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": output_of("git", "rev-parse", "HEAD"),
        "dvc.stage": about["stage"],
        "dvc.experiment": os.environ.get("DVC_EXP_NAME", ""),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", ""),
    }
    return {key: value for key, value in tags.items() if value}


def _data_inputs(about: dict[str, Any]) -> list[Any]:
    """The splits that a stage is about as MLflow data sets, whose digests are short there."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data, inputs = about["data"], []
    for split, facts in data["splits"].items():
        if split == "test" and about["stage"] == "pretrain":
            continue  # which never reads it
        dataset = Dataset(
            name=f"{data['origin']['name'][:DATASET_CHARACTERS]}, {split}",
            digest=facts["fingerprint"][:32],
            source_type=about["params"]["download"]["source"],
            source=json.dumps(data["origin"]),
            profile=json.dumps(facts),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", split)]))
    return inputs


def _mlflow() -> Any:
    """Import MLflow, quiet, with no telemetry, and with little patience for a dead server."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what fails is said in one line
    return mlflow


@contextmanager
def system_metrics(run_id: str, *, resume: bool) -> Iterator[None]:
    """Log load and memory of the machine beside the curves."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(run_id, resume_logging=resume)
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


@contextmanager
def never_fails(meanwhile: str) -> Iterator[None]:
    """Say in one line why tracking failed, instead of failing."""
    try:
        yield
        return
    except UserError as error:  # of a file that MLflow was to be told of
        why = str(error)
    except Exception as error:  # whatever MLflow, its database and its transport raise
        why = f"MLflow at {tracking_uri()} fails ({_reason(error)})"
    with suppress(OSError):  # nobody may be there to read it
        print(f"{why}; {meanwhile}, `make track` logs this run later", file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    """What an error says, in one line of bearable length."""
    return first_line(error)[:200]
