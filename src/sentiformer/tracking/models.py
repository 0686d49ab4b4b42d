"""MLflow's models: one logged model for each training, and registered versions of the best ones.

Only a version has weights: a model becomes one if it is better than each earlier version on the
same held-out texts. The alias champion names the best version.
"""

import json
import re
from importlib.metadata import requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sentiformer.console.output import say
from sentiformer.publish.names import size_name, slug
from sentiformer.tracking.datasets import dataset_key
from sentiformer.tracking.metrics import flatten
from sentiformer.tracking.model_card import HEADING, how_to_call, model_card
from sentiformer.tracking.names import NAME, model_name
from sentiformer.tracking.store import NOTE_TAG, Store, import_mlflow, writable_copy

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
VERSIONS_TAG = "mlflow.modelVersions"  # by which MLflow's pages show a logged model's version
SEALED_TAG = "sealed"  # of versions whose files are sealed; older ones cannot be loaded any more
HELD_OUT = ("validation", "test")  # models are compared only if these splits are the same
PREDICTION = {"label": "string", "probability": "double", "reason": "string"}  # types of columns


class TrackedModel:
    """The model of a run: its logged model in MLflow, and its version if it is one of the best."""

    def __init__(self, store: Store, run_id: str, about: dict[str, Any]) -> None:
        self.client, self.run_id, self.about = store.client, run_id, about
        self.name = model_name(about)
        self.model_id = self._logged_model(store.experiment_id)

    def _logged_model(self, experiment_id: str) -> str:
        """The id of the logged model of the run, which is created without files if missing."""
        from mlflow.entities import LoggedModelOutput

        wanted = f"source_run_id = '{self.run_id}'"
        if found := self.client.search_logged_models([experiment_id], wanted):
            return str(found[0].model_id)
        params = flatten(self.about["params"], ".")
        model = self.client.create_logged_model(
            experiment_id,
            name=f"{self.name}-{slug(size_name(self.about))}",
            source_run_id=self.run_id,
            params={key: str(value) for key, value in params.items()},
            model_type="classifier",
        )
        output = LoggedModelOutput(model.model_id, self.about["best"]["step"])
        self.client.log_outputs(self.run_id, [output])
        self.client.finalize_logged_model(model.model_id, "READY")
        return str(model.model_id)

    def links(self, split: str) -> dict[str, str]:
        """What links a metric to this model and to the split that it was measured on."""
        key = dataset_key(self.about, split)
        return {"model_id": self.model_id, **{f"dataset_{name}": key[name] for name in key}}

    def register_if_best(self, folder: Path) -> str | None:
        """Make the model a version, and the champion, if it is the best; `folder` has its files.

        Returns:
            The number of the version; None if an earlier version is as good on the same texts.
        """
        splits, accuracy = self.about["data"]["splits"], self.about["best"]["valid_accuracy"]
        held_out = {split: splits[split]["fingerprint"] for split in HELD_OUT}
        found_versions = self.client.search_model_versions(f"name = '{self.name}'")
        versions = [found for found in found_versions if not _is_outdated(found.tags)]
        numbers = [found.version for found in versions if found.run_id == self.run_id]
        rivals = [found.tags for found in versions if held_out.items() <= found.tags.items()]
        if not numbers and any(float(rival["accuracy"]) >= accuracy for rival in rivals):
            say(
                f"{self.name}@{CHAMPION} is unchanged: this model is not better on validation; the "
                f"weights are in data/{folder.name}"
            )
            return None
        if not numbers:
            upload(self.client, self.model_id, self.run_id, folder)
            numbers = [self._register({**held_out, "accuracy": str(accuracy), SEALED_TAG: "true"})]
        number = str(min(numbers, key=int))
        self._promote_if_best(number, held_out, accuracy)
        return number

    def _register(self, tags: dict[str, str]) -> str:
        """Create a version of the registered model; returns its number."""
        if not self.client.search_registered_models(f"name = '{self.name}'"):
            self.client.create_registered_model(self.name)
        source = f"models:/{self.model_id}"
        created = self.client.create_model_version(
            self.name, source, self.run_id, tags=tags, model_id=self.model_id
        )
        versions = [{"name": self.name, "version": created.version}]
        self.client.set_logged_model_tags(self.model_id, {VERSIONS_TAG: json.dumps(versions)})
        return str(created.version)

    def _promote_if_best(self, number: str, held_out: dict[str, str], accuracy: float) -> None:
        """Move the alias if this version is better than the champion on the same held-out texts."""
        if CHAMPION in self.client.get_registered_model(self.name).aliases:
            champion = self.client.get_model_version_by_alias(self.name, CHAMPION)
            if str(champion.version) == number:
                return
            is_outdated = _is_outdated(champion.tags)
            if not is_outdated and not held_out.items() <= champion.tags.items():
                say(
                    f"{self.name}@{CHAMPION} is still version {champion.version}: version {number} "
                    "has other held-out texts, so they cannot be compared; to prefer it, give it "
                    "the alias on the model's page (`make ui`)"
                )
                return
            if not is_outdated and accuracy <= float(champion.tags["accuracy"]):
                return
        self.client.set_registered_model_alias(self.name, CHAMPION, number)
        say(f"champion: models:/{self.name}@{CHAMPION} is version {number}")

    def describe(
        self, number: str | None, sources: list[dict[str, str]], how_to_restore: str
    ) -> None:
        """Write the model card into the run, the logged model, the version and its model.

        A description of a registered model that a person has written is kept.

        Args:
            number: of the version, or None.
            sources: the metrics of each source of test texts; empty if there is no evaluation.
            how_to_restore: how to get the weights if the model is not a version.
        """
        client, about = self.client, self.about
        use = how_to_restore
        if number is not None:
            use = how_to_call(f"models:/{self.name}/{number}")
            client.update_model_version(self.name, number, model_card(about, sources, use))
            model = client.get_registered_model(self.name)
            is_ours = not model.description or model.description.startswith(HEADING)
            if is_ours and str(model.aliases.get(CHAMPION)) == number:
                call = how_to_call(f"models:/{self.name}@{CHAMPION}")
                client.update_registered_model(self.name, model_card(about, sources, call))
        card = model_card(about, sources, use)
        client.set_tag(self.run_id, NOTE_TAG, card)
        client.set_logged_model_tags(self.model_id, {NOTE_TAG: card})


def _is_outdated(tags: dict[str, str]) -> bool:
    """Whether a version, of these tags, is ours and was registered before models were sealed."""
    return "accuracy" in tags and SEALED_TAG not in tags


def upload(client: "MlflowClient", model_id: str, run_id: str, model: Path) -> None:
    """Upload the files of a model, with the code that predicts, to its logged model."""
    with TemporaryDirectory() as folder:
        served = Path(folder) / "served"
        save_served_model(model, served, run_id=run_id, model_uuid=model_id, model_id=model_id)
        client.log_model_artifacts(model_id, str(served))


def save_served_model(model: Path, folder: Path, **identifiers: str) -> None:
    """Write the files of a model, with the code that predicts, as an MLflow model.

    MLflow executes `served_model.py` when it loads the model, so that nothing is pickled.
    """
    mlflow = import_mlflow()
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import Map

    outputs = [ColSpec(kind, name) for name, kind in PREDICTION.items()]
    outputs.append(ColSpec(Map("double"), "probabilities"))
    with TemporaryDirectory() as temporary:
        copied = writable_copy(model, Path(temporary) / "model")  # MLflow refuses links
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(Path(__file__).with_name("served_model.py")),
            mlflow_model=Model(**identifiers),
            artifacts={"model": str(copied)},
            code_paths=[str(Path(__file__).parents[1])],
            pip_requirements=_pins(model),
            signature=ModelSignature(outputs=Schema(outputs)),
            input_example=["A film to remember."],
        )


def _pins(model: Path) -> list[str]:
    """MLflow and the packages that prediction needs, in their installed versions."""
    lines = [line.partition("; extra == ") for line in requires(NAME) or []]
    needed = [name for name, _, extra in lines if extra in ("", '"torch"')]
    names = ["mlflow", *(re.split(r"[^\w.-]", line)[0] for line in needed)]
    names += ["transformers"] if (model / "encoder").exists() else []
    return [f"{name}=={version(name).split('+')[0]}" for name in dict.fromkeys(names)]
