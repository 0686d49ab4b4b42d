"""A checkpoint of a pretrained encoder, from the Hugging Face Hub or a folder."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sentiformer.console.output import say
from sentiformer.core.errors import UserError, one_line
from sentiformer.core.files import sha256, write_json
from sentiformer.core.hub import Repository
from sentiformer.core.runtime import project_root
from sentiformer.encoder.params import EncoderParams

CONFIG, CARD, WEIGHTS = "config.json", "README.md", "model.safetensors"
TOKENIZER = ["tokenizer*.json", "*_tokens*.json", "vocab.*", "merges.txt", "s*.model"]
ALL_WEIGHTS = [WEIGHTS, "model-*-of-*.safetensors", f"{WEIGHTS}.index.json"]


def fetch_encoder(params: EncoderParams, folder: Path) -> None:
    """Write a checkpoint to a folder, and what is known of it to `source.json`.

    Only its configuration, its tokenizer and weights in safetensors are read; no code of it is run.
    Without `encoder.name`, `source.json` is the only file.

    Raises:
        UserError: the checkpoint cannot be found or loaded, or is not an encoder of texts.
    """
    if params.name is None:
        about: dict[str, Any] = {"name": None}
        say("encoder.name is null: no pretrained encoder is used")
    else:
        about = _fetch(params.name, folder)
        say("{name}: {architecture}, {parameters:,} parameters, licence {licence}".format(**about))
    write_json(folder / "source.json", about)


def _fetch(name: str, folder: Path) -> dict[str, Any]:
    at = f"encoder.name {name}"
    place, hub = _local_folder(name), None
    if place is None:
        owner_and_name, _, commit = name.partition("@")
        hub = Repository("model", owner_and_name, commit, at)
        hub.require_commit("a folder or owner/name@commit")
        place = hub.download([CONFIG, CARD, *TOKENIZER])
    _copy([CONFIG, *TOKENIZER], place, folder)
    if not (folder / CONFIG).exists():
        inside = [*place.glob(f"*/{CONFIG}"), *place.glob(f"*/*/{CONFIG}")]
        fix = f"set it to {min(inside).parent}" if inside else "give another folder or name"
        raise UserError(f"{at} has no {CONFIG}; {fix}")
    from sentiformer.encoder.check import check_tokenizer, check_weights  # takes seconds

    config, tokenizer = check_tokenizer(folder, at)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))  # as completed by the library
    if hub:
        say(f"{name}: weights from the Hub or its cache")
        hub.download(ALL_WEIGHTS)
    _copy(ALL_WEIGHTS, place, folder)
    return {
        "name": name,
        "revision": hub and hub.revision,
        "files": {path.name: sha256(path) for path in sorted(folder.iterdir())},
        "parameters": check_weights(folder, config, tokenizer, at),
        "architecture": config.model_type,
        "padding": tokenizer.pad_token_id,
        **_card(place / CARD),
        "url": hub and f"{hub.page}/tree/{hub.revision}",
    }


def _copy(patterns: Iterable[str], place: Path, folder: Path) -> None:
    for pattern in patterns:
        for path in place.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def _local_folder(name: str) -> Path | None:
    """The folder that `encoder.name` means, relative to the project's root; None for the Hub."""
    place = project_root() / os.path.expanduser(name)  # noqa: PTH111, which keeps an unknown user
    if place.is_dir():
        return place
    if place.exists() or name.startswith(("/", "./", "../", "~")):
        raise UserError(f"encoder.name {name} is not a folder; give the folder of a checkpoint")
    return None


def _card(path: Path) -> dict[str, str]:
    """The licence and the training data that the model card states."""
    from huggingface_hub.repocard import metadata_load

    try:
        card = metadata_load(path) or {}
    except Exception:  # there is no card, or no YAML in it
        card = {}
    stated = {"licence": card.get("license"), "trained_on": card.get("datasets")}
    lists = {k: v if isinstance(v, list) else [v or "not stated"] for k, v in stated.items()}
    return {key: one_line(", ".join(map(str, values))) for key, values in lists.items()}
