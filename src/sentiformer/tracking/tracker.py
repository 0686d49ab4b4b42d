"""Logs the files of `data/` in MLflow: runs, curves, data sets, models and reports.

The files are the source; MLflow only shows them. `sync_all` creates or completes the run of the
files on any machine, and may be called again at any time. A failure of MLflow never fails a
training. This module is a `sentiformer.training.run.Tracker`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiformer.console.output import say
from sentiformer.core.events import EpochEvent
from sentiformer.core.files import read_json, sha256
from sentiformer.core.seal import require_sealed
from sentiformer.publish.names import percent
from sentiformer.tracking import metrics
from sentiformer.tracking.live import LiveRun
from sentiformer.tracking.messages import without_passwords
from sentiformer.tracking.model_card import how_to_restore
from sentiformer.tracking.models import TrackedModel
from sentiformer.tracking.names import MODEL_TAG, NAME
from sentiformer.tracking.patience import Patience
from sentiformer.tracking.store import NOTE_TAG, Store, use_store

if TYPE_CHECKING:
    from mlflow.entities import Run

REPORT_TAG = f"{NAME}.report_sha256"  # of the report that is uploaded
PRETRAINING_TAG = f"{NAME}.pretraining_key"  # the training key of a classifier's language model
FOLDERS = {"train": "model", "finetune": "finetuned", "pretrain": "pretrained"}  # in `data`
WEIGHTS = "model.safetensors"
LANGUAGE_MODEL = f"pretrained/{WEIGHTS}"  # in `data`

_of_stage = Patience()  # what is left after the live run is for `sync`


def live_run(about: dict[str, Any]) -> LiveRun:
    """The run of a training that begins now."""
    _of_stage.renew()
    return LiveRun(about, _of_stage)


def sync(stage: str, data: Path) -> None:
    """Log what a stage that trains has written to `data`."""
    if stage == "pretrain":
        use_store(lambda store: _finish(store, _log_pretraining(store, data)), _of_stage)
    else:
        use_store(lambda store: _log_classifier(store, data, stage), _of_stage)


def sync_all(data: Path, seconds: float | None = None) -> bool:
    """Log the files of `data`; returns whether it succeeded.

    Args:
        data: the folder of the stages.
        seconds: by which a server's answers may be late, all together; see `Patience.renew`.

    Raises:
        UserError: there is no model in `data`, or its `config.json` is corrupt.
    """
    read_json(data / "model" / "config.json", made_by="train")
    sha256(data / "model" / WEIGHTS, made_by="train")

    def log(store: Store) -> None:
        for stage in ("train", "finetune"):
            if (data / FOLDERS[stage] / WEIGHTS).exists():
                _log_classifier(store, data, stage)

    return use_store(log, Patience(seconds))


def _log_classifier(store: Store, data: Path, stage: str) -> None:
    """Log the classifier of a stage, its evaluation, and the language model it was made from."""
    about, run = _log_training(store, data, stage)
    run_id, tags = run.info.run_id, run.data.tags
    model = TrackedModel(store, run_id, about)
    best = {"best/valid_accuracy": about["best"]["valid_accuracy"]}
    links = model.links("validation")
    store.log_missing(run_id, metrics.to_metrics(best, about["best"]["step"], **links))
    if stage == "train" and (data / LANGUAGE_MODEL).exists():
        store.finish(_log_pretraining(store, data))
        _link_pretraining(store, run_id, data, about)
    is_evaluated = _is_evaluated(data, tags[MODEL_TAG])
    if is_evaluated:
        _log_evaluation(store, model, data)
    number = model.register_if_best(data / FOLDERS[stage])
    sources = metrics.read_sources(data / "evaluation", stage) if is_evaluated else []
    model.describe(number, sources, how_to_restore(tags, f"{FOLDERS[stage]}/{WEIGHTS}"))
    _finish(store, run_id)


def _finish(store: Store, run_id: str) -> None:
    store.finish(run_id)
    name = store.client.get_run(run_id).info.run_name
    uri = without_passwords(store.client.tracking_uri)
    say(f"tracked: MLflow run {run_id} ({name}) in {uri}; `make ui` shows it")


def _log_training(store: Store, data: Path, stage: str) -> "tuple[dict[str, Any], Run]":
    """Log the curves of a training and the hash of its weights; returns its config and its run."""
    folder = data / FOLDERS[stage]
    about = read_json(folder / "config.json", made_by=stage)
    model_sha256 = sha256(folder / WEIGHTS, made_by=stage)
    run_id = store.run_of(about).info.run_id
    store.client.set_tag(run_id, MODEL_TAG, model_sha256)
    curves = data / "curves" if stage == "train" else folder
    store.log_missing(run_id, metrics.history_metrics(curves, stage))
    return about, store.client.get_run(run_id)


def _log_pretraining(store: Store, data: Path) -> str:
    """Log the language model of `data` in a run of its own; returns its id."""
    about, run = _log_training(store, data, "pretrain")
    run_id: str = run.info.run_id
    store.show_result(run_id, about, f"perplexity {EpochEvent(**about['best']).perplexity:.1f}")
    store.client.set_tag(run_id, NOTE_TAG, how_to_restore(run.data.tags, LANGUAGE_MODEL))
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
    """Whether `data` has an evaluation and a report of the model with these weights."""
    lineage = data / "evaluation" / "lineage.json"
    report = data / "report" / "report.html"
    if not (lineage.exists() and report.exists()):
        return False
    is_known = model_sha256 in read_json(lineage, made_by="evaluate").values()
    return is_known and model_sha256 in report.read_text(encoding="utf-8")


def _log_evaluation(store: Store, model: TrackedModel, data: Path) -> None:
    """Log the headline metrics on test, and the report with its figures and tables."""
    evaluation, report, run_id = data / "evaluation", data / "report", model.run_id
    require_sealed(evaluation, made_by="evaluate")
    values = metrics.headline_values(evaluation, model.about["stage"])
    store.log_missing(run_id, metrics.to_metrics(values, 0, **model.links("test")))
    store.show_result(run_id, model.about, percent(values["test/accuracy"]))
    store.log_folders(run_id, REPORT_TAG, sha256(report / "report.html"), report, evaluation)
