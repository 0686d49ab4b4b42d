"""MLflow's model registry: the versions of the model, and the best one, which is the champion."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from sentiformer.console.output import say
from sentiformer.core.errors import UserError
from sentiformer.core.runtime import project_root
from sentiformer.tracking.database import database_of, default_uri, prepare_database, tracking_uri
from sentiformer.tracking.store import NAME, Store, import_mlflow, reason_of

CHAMPION = "champion"
SERVING_PACKAGES = ("numpy", "pyarrow", "pydantic", "safetensors", "spacy", "torch")


def log_model(store: Store, run_id: str, model: Path, about: dict[str, Any]) -> None:
    """Register the model of a run once, and make it the champion if it is the best."""
    wanted = f"name = '{NAME}' and run_id = '{run_id}'"
    versions = store.client.search_model_versions(wanted)
    if not versions:
        register(run_id, model)
        versions = store.client.search_model_versions(wanted)
    number = min((found.version for found in versions), key=int)
    validation = about["data"]["splits"]["validation"]["fingerprint"]
    accuracy = about["best"]["valid_accuracy"]
    store.client.set_model_version_tag(NAME, number, "validation", validation)
    store.client.set_model_version_tag(NAME, number, "accuracy", accuracy)
    _promote_if_best(store, number, validation, accuracy)


def register(run_id: str, model: Path) -> None:
    """Log the files of a model, with the code that predicts, as a new version."""
    mlflow = import_mlflow()
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


def _promote_if_best(store: Store, number: str, validation: str, accuracy: float) -> None:
    """Move the alias if this version is better than the champion on the same validation texts."""
    if CHAMPION not in store.client.get_registered_model(NAME).aliases:
        store.client.set_registered_model_alias(NAME, CHAMPION, number)
        return
    champion = store.client.get_model_version_by_alias(NAME, CHAMPION)
    if champion.tags.get("validation") != validation:
        say(
            f"{NAME}@{CHAMPION} is still version {champion.version}: "
            "it was evaluated on other validation texts"
        )
    elif accuracy > float(champion.tags["accuracy"]):
        store.client.set_registered_model_alias(NAME, CHAMPION, number)


def download_model(uri: str, folder: Path) -> Path:
    """Download a model, such as `models:/sentiformer@champion`; returns the folder of its files.

    Raises:
        UserError: there is no such model.
    """
    root, store = project_root(), tracking_uri()
    is_own = store == default_uri(root)
    if is_own and not database_of(root).exists():
        raise UserError(
            f"--model {uri}: {database_of(root)} is missing; run from the project's root"
        )
    mlflow = import_mlflow()
    mlflow.set_tracking_uri(store)
    try:
        if is_own:
            prepare_database(root)
        files = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder))
    except Exception as error:  # the store and its transport raise errors of any class
        raise UserError(
            f"--model {uri} cannot be loaded from MLflow at {store}: {reason_of(error)}"
        ) from None
    model = Path(files) / "artifacts" / "model"
    if not model.exists():
        raise UserError(
            f"--model {uri}: MLflow at {store} has no model of this project there, or its "
            "files are gone; give another address, or the folder of a model"
        )
    return model
