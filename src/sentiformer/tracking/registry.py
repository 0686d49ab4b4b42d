"""Models in MLflow's registry, found by their address and read or downloaded."""

import re
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from sentiformer.core.errors import UserError
from sentiformer.core.runtime import project_root
from sentiformer.core.seal import SEAL
from sentiformer.tracking.database import (
    database_of,
    default_uri,
    model_location,
    prepare_database,
    tracking_uri,
)
from sentiformer.tracking.messages import reason_of, without_passwords
from sentiformer.tracking.names import MODEL_TAG
from sentiformer.tracking.store import KEY_TAG, import_mlflow

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

REGISTERED = re.compile(r"models:/([^/@]+)[/@]([^/@]+)")  # by version or by alias


def download_model(uri: str, folder: Path) -> Path:
    """The folder of a model's files, such as those of `models:/sentiformer@champion`.

    The files of the project's own registry are read in place; others are downloaded to `folder`.

    Raises:
        UserError: there is no such model.
        ModuleNotFoundError: MLflow is not installed, and the files are not in the own registry.
    """
    root, store, is_own = _store_of(uri)
    try:
        if is_own:
            prepare_database(root)
        files = (_own_files(root, uri) if is_own else None) or _downloaded(uri, folder, store)
    except Exception as error:  # the store and its transport raise errors of any class
        if isinstance(error, ModuleNotFoundError) and error.name == "mlflow":
            raise
        raise UserError(
            f"{uri} cannot be loaded from MLflow at {without_passwords(store)}: "
            f"{reason_of(error)}; `make ui` lists the registered models"
        ) from None
    model = files / "artifacts" / "model"
    if not model.exists():
        raise UserError(
            f"{uri}: MLflow at {without_passwords(store)} has no files of this model; "
            "restore them with DVC as its description says, or give another address or a folder"
        )
    if not (model / SEAL).exists():
        raise UserError(
            f"{uri} has no {SEAL}, because an older sentiformer registered it; train again "
            "with `dvc repro`, and `sentiformer track` registers the new model as a version"
        )
    return model


def download_evaluation(uri: str, folder: Path) -> tuple[Path, str]:
    """Download the evaluation of a registered model; with the hash of the model's weights.

    Raises:
        UserError: there is no such model, or its run has no evaluation.
    """
    if (parts := REGISTERED.fullmatch(uri)) is None:
        raise UserError(f"{uri} names no version of a model; write models:/NAME/VERSION")
    root, store, is_own = _store_of(uri)
    try:
        mlflow = _connected(root, store, is_own=is_own)
        client = mlflow.MlflowClient()
        version = _version(client, *parts.groups(), is_alias="@" in uri)
        tags = client.get_run(version.run_id).data.tags
        place = {"run_id": version.run_id, "artifact_path": "evaluation"}
        files = mlflow.artifacts.download_artifacts(**place, dst_path=str(folder))
    except ModuleNotFoundError:
        raise
    except Exception as error:  # the store and its transport raise errors of any class
        raise UserError(
            f"{uri}: MLflow at {without_passwords(store)} has no evaluation of it: "
            f"{reason_of(error)}; `sentiformer track` logs that of the project's model"
        ) from None
    return Path(files), tags[MODEL_TAG]


def find_run(weights: str, training_key: str | None) -> dict[str, str] | None:
    """The run of the model with this SHA-256 of its weights; None if there is none.

    Of several runs with these weights it is that of this training, or else the oldest.

    Raises:
        UserError: the runs cannot be searched.
    """
    root, store, is_own = _store_of("MLflow")
    try:
        client = _connected(root, store, is_own=is_own).MlflowClient()
        names = {found.experiment_id: found.name for found in client.search_experiments()}
        wanted = f"tags.`{MODEL_TAG}` = '{weights}'"
        found = client.search_runs([*names], wanted, order_by=["attributes.start_time ASC"])
    except Exception as error:  # the store and its transport raise errors of any class
        reason = f"{without_passwords(store)} cannot be searched ({reason_of(error)})"
        raise UserError(f"MLflow at {reason}") from None
    for run in sorted(found, key=lambda run: run.data.tags.get(KEY_TAG) != training_key):
        tags, begun = run.data.tags, datetime.fromtimestamp(run.info.start_time / 1000, UTC)
        return {
            "id": run.info.run_id,
            "name": run.info.run_name,
            "experiment": names[run.info.experiment_id],
            "begun": begun.isoformat(timespec="seconds"),
            "by": tags.get("mlflow.user") or run.info.user_id,
            "commit_when_begun": tags.get("mlflow.source.git.commit"),
        }
    return None


def _version(client: "MlflowClient", name: str, number: str, *, is_alias: bool) -> "ModelVersion":
    if is_alias:
        return client.get_model_version_by_alias(name, number)
    return client.get_model_version(name, number)


def _store_of(uri: str) -> tuple[Path, str, bool]:
    """The project's root, the address of the tracking store, and whether it is the project's own.

    Raises:
        UserError: the project's own database is missing.
    """
    root, store = project_root(), tracking_uri()
    is_own = store == default_uri(root)
    if is_own and not (path := database_of(root)).exists():
        raise UserError(f"{uri}: {path} is missing; run from the project's root")
    return root, store, is_own


def _connected(root: Path, store: str, *, is_own: bool) -> Any:
    """MLflow, set to a tracking store; the tables of the project's own are brought up to date."""
    if is_own:
        prepare_database(root)
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(store)
    return mlflow


def _own_files(root: Path, uri: str) -> Path | None:
    """The folder of a registered model in the project's own store; None for other addresses."""
    if (parts := REGISTERED.fullmatch(uri)) is None:
        return None
    with suppress(sqlite3.OperationalError):  # another version of MLflow has other tables
        location = urlsplit(model_location(root, *parts.groups()) or "")
        folder = Path(url2pathname(location.path))
        return folder if location.scheme == "file" and folder.is_dir() else None
    return None


def _downloaded(uri: str, folder: Path, store: str) -> Path:
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(store)
    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(folder)))
