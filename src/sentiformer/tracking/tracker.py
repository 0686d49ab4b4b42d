"""Logs the files of `data/` in MLflow: runs, curves, data sets, models and reports.

The files are the source; MLflow only shows them. `sync_all` creates or completes the run of the
files on any machine, and may be called again at any time. A failure of MLflow never fails a
training. This module is a `sentiformer.training.run.Tracker`.
"""

from pathlib import Path
from typing import Any

from sentiformer.console.output import say
from sentiformer.core.events import EpochEvent
from sentiformer.core.files import read_json, sha256
from sentiformer.tracking import metrics
from sentiformer.tracking.live import LiveRun
from sentiformer.tracking.registry import log_model
from sentiformer.tracking.store import MODEL_TAG, NAME, Store, use_store

REPORT_TAG = f"{NAME}.report_sha256"  # of the report that is uploaded
UPLOADED_TAG = f"{NAME}.uploaded_sha256"  # of the language model that is uploaded
ACCURACY_TAG = f"{NAME}.test_accuracy"
PRETRAINING_TAG = f"{NAME}.pretraining_key"  # the training key of a classifier's language model
BEST = ("epoch", "valid_accuracy", "valid_loss")  # of the best epoch, on the page of a run
LANGUAGE_MODEL = "pretrained/model.safetensors"  # in `data`

live_run = LiveRun


def sync(stage: str, data: Path) -> None:
    """Log what stage train or pretrain has written to `data`."""
    if stage == "train":
        sync_all(data)
    else:
        use_store(lambda store: _finish(store, _log_pretraining(store, data)))


def sync_all(data: Path) -> bool:
    """Log the files of `data`; returns whether it succeeded.

    Raises:
        UserError: there is no model in `data`, or its `config.json` is corrupt.
    """
    about = read_json(data / "model" / "config.json", made_by="train")
    model_sha256 = sha256(data / "model" / "model.safetensors", made_by="train")

    def log(store: Store) -> None:
        run_id = _log_training(store, data / "model", about, model_sha256)
        best = {f"best/{name}": about["best"][name] for name in BEST}
        store.log_missing(run_id, metrics.to_metrics(best, about["best"]["step"]))
        if (data / LANGUAGE_MODEL).exists():
            store.finish(_log_pretraining(store, data))
            _link_pretraining(store, run_id, data, about)
        if _is_evaluated(data, model_sha256):
            _log_evaluation(store, run_id, data)
        log_model(store, run_id, data / "model", about)
        _finish(store, run_id)

    return use_store(log)


def _finish(store: Store, run_id: str) -> None:
    store.finish(run_id)
    say(f"tracked: MLflow run {run_id} in {store.client.tracking_uri}")


def _log_training(store: Store, folder: Path, about: dict[str, Any], model_sha256: str) -> str:
    """Log the curves of a training, and name its model; returns the id of its run."""
    run_id: str = store.run_of(about).info.run_id
    store.client.set_tag(run_id, MODEL_TAG, model_sha256)
    store.log_missing(run_id, metrics.history_metrics(folder, about["stage"]))
    return run_id


def _log_pretraining(store: Store, data: Path) -> str:
    """Log the language model of `data` in a run of its own; returns its id."""
    about = read_json(data / "pretrained" / "config.json", made_by="pretrain")
    model_sha256 = sha256(data / LANGUAGE_MODEL, made_by="pretrain")
    run_id = _log_training(store, data / "pretrained", about, model_sha256)
    store.log_folders(run_id, UPLOADED_TAG, model_sha256, data / "pretrained")
    return run_id


def _link_pretraining(store: Store, run_id: str, data: Path, about: dict[str, Any]) -> None:
    """Name the language model of `data` in the run of a classifier that was made from it."""
    if about.get("made_from", {}).get(LANGUAGE_MODEL) != sha256(data / LANGUAGE_MODEL):
        return
    pretrained = read_json(data / "pretrained" / "config.json", made_by="pretrain")
    store.client.set_tag(run_id, PRETRAINING_TAG, pretrained["training_key"])
    perplexity = EpochEvent(**pretrained["best"]).perplexity
    store.log_missing(run_id, metrics.to_metrics({"pretrain/perplexity": perplexity}, 0))


def _is_evaluated(data: Path, model_sha256: str) -> bool:
    """Whether `data` has an evaluation and a report of this model."""
    lineage = data / "evaluation" / "lineage.json"
    report = data / "report" / "report.html"
    if not (lineage.exists() and report.exists()):
        return False
    evaluated = read_json(lineage, made_by="evaluate")["model_sha256"]
    return evaluated == model_sha256 and model_sha256 in report.read_text(encoding="utf-8")


def _log_evaluation(store: Store, run_id: str, data: Path) -> None:
    """Log the metrics on test, those of the baselines, and the report with its figures."""
    evaluation, report = data / "evaluation", data / "report"
    paths = {"transformer": evaluation / "metrics.json"}
    paths |= {path.stem: path for path in sorted(evaluation.glob("baselines/*.json"))}
    found = {name: read_json(path, made_by="evaluate") for name, path in paths.items()}
    accuracies = ", ".join(f"{name} {values['accuracy']:.2%}" for name, values in found.items())
    store.client.set_tag(run_id, ACCURACY_TAG, accuracies)
    del found["transformer"]  # `test_metrics` has it
    values = metrics.flatten({f"baseline/{name}": found[name] for name in found}, "/")
    store.log_missing(run_id, metrics.test_metrics(evaluation) + metrics.to_metrics(values, 0))
    store.log_folders(run_id, REPORT_TAG, sha256(report / "report.html"), report, evaluation)
