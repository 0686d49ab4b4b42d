"""Publish a trained model in a folder, or in a repository of the Hugging Face Hub."""

from pathlib import Path
from tempfile import TemporaryDirectory

from sentiformer.console.output import say
from sentiformer.core.errors import plain
from sentiformer.core.files import atomic_folder
from sentiformer.core.runtime import load_runtime
from sentiformer.publish.publication import CARD, prepare, require_free
from sentiformer.publish.repository import log_in, push, target
from sentiformer.serving.model import Model


def publish(model: Path, evaluation: Path, to: str, license_id: str | None) -> str:
    """Publish the model in a folder; returns a line that says what came out.

    Args:
        model: the folder of its files.
        evaluation: the folder of stage evaluate of this model.
        to: a folder, or owner/name on the Hub.
        license_id: the Hub's name of the licence of the model.

    Raises:
        UserError: the model or its evaluation is missing or corrupt, the folder or repository
            holds something else, or the Hub refuses.
    """
    if license_id is None:
        say(
            "the card states no licence of the model; --license apache-2.0, for example, states one"
        )
    place = target(to)
    if isinstance(place, Path):
        require_free(place, model)
        Model.load(model, load_runtime())  # refuses a file that is missing or corrupt
        publication = prepare(model, evaluation, None, license_id)
        with atomic_folder(place) as folder:
            publication.write(folder)
        return plain(
            f"publication → {place}; next: read {place / CARD}, then `hf upload owner/name {place}`"
            ", or run this command with --to owner/name"
        )
    api = log_in(place)
    Model.load(model, load_runtime())
    publication = prepare(model, evaluation, place, license_id)
    with TemporaryDirectory() as temporary:
        publication.write(Path(temporary))
        address = push(api, place, Path(temporary))
    return f"published: {address}; next: `hf download {place} --local-dir model` on any machine"
