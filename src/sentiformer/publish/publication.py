"""A publication: the files from which a model predicts, and its model card `README.md`."""

import json
import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sentiformer.baselines.ngram_model import FILES as NGRAM_FILES
from sentiformer.core.errors import UserError, listed
from sentiformer.core.files import read_json, sha256, write_json
from sentiformer.core.seal import SEAL, seal
from sentiformer.encoder.finetune import CHECKPOINT_FILES, NGRAMS
from sentiformer.publish.card import as_text, card_sections
from sentiformer.publish.header import LIBRARY, card_header
from sentiformer.publish.measured import measured
from sentiformer.publish.names import data_name
from sentiformer.publish.rebuild import how_to_rebuild
from sentiformer.serving.exported import ENCODER, GRAPH, KEYS, RULES, SCALES, VECTORS
from sentiformer.training.coverage import FILE as COVERAGE

CARD, CONFIG, WEIGHTS = "README.md", "config.json", "model.safetensors"
FILES = (  # that a model may have for prediction
    *(SEAL, CONFIG, WEIGHTS, "vocab.txt", COVERAGE, GRAPH, RULES, VECTORS, SCALES, *KEYS),
    *(f"{ENCODER}/{name}" for name in CHECKPOINT_FILES),
    *(f"{NGRAMS}/{name}" for name in NGRAM_FILES),
)
ENSEMBLE = (  # of the Transformer with the n-gram model in its folder
    " It predicts by the mean of its probabilities and those of the n-gram model nb_trigrams. The "
    "accuracy on validation is that of the Transformer alone."
)
PATHS = ("train", "validation", "test", "unlabeled")  # parameters of the section download
SHOWN_FILES = 3  # of a folder that is no publication
PACKAGES = {"train": "torch", "finetune": "encoder", "export": "onnx"}  # extras, by stage


class Publication(NamedTuple):
    """A model that is to be published.

    Attributes:
        model: the folder with its files.
        about: its `config.json`, without the folders of this machine.
        card: its model card, with the header.
    """

    model: Path
    about: dict[str, Any]
    card: str

    def write(self, folder: Path) -> None:
        """Write the files, their seal and the card to an empty folder."""
        for name in FILES:
            if (self.model / name).exists():
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(self.model / name, folder / name)
        write_json(folder / CONFIG, self.about)
        source = folder / ENCODER / "source.json"
        if source.exists():
            about, name = json.loads(source.read_bytes()), self.about["encoder"]["name"]
            if about["name"] != name:
                write_json(source, {**about, "name": name})
        seal(folder)  # without the card, which others may edit
        (folder / CARD).write_text(self.card, encoding="utf-8")


def prepare(
    model: Path, evaluation: Path, repository: str | None, license_id: str | None
) -> Publication:
    """Describe the model in a folder, which has been loaded; `evaluation` is of stage evaluate.

    `repository` is the name on the Hub, of which the card speaks.

    Raises:
        UserError: a file is missing or corrupt, or the evaluation is of another model.
    """
    config = read_json(model / CONFIG, made_by="train")
    exported_from = config.get("made_from", {}).get(WEIGHTS)
    weights = exported_from if config["stage"] == "export" else sha256(model / WEIGHTS)
    about = without_folders(config)
    found = measured(model, evaluation, about, weights)
    sections = card_sections(about, found.sources, alone=False)
    if config["stage"] == "train" and (model / NGRAMS).exists():
        sections["Model"] += ENSEMBLE
    sections["Limits"] = "\n".join(f"- {limit}" for limit in (sections["Limits"], *found.limits))
    if config["stage"] == "export":
        sections["Metrics"] += "\n\nThey were measured before the model was exported."
    sections["How to use it"] = how_to_use(about, repository)
    sections["How to rebuild it"] = how_to_rebuild(model, about, weights)
    text = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    header = card_header(about, found.sources, license_id)
    return Publication(
        model, about, f"{header}\n# sentiformer: {as_text(data_name(about))}\n\n{text}\n"
    )


def without_folders(about: Mapping[str, Any]) -> dict[str, Any]:
    """A `config.json` without the folders of files outside the project: they may name a person."""
    params = about["params"]
    places = [params["download"].get(name) for name in PATHS]
    places.append(params.get("encoder", {}).get("name"))
    text = json.dumps(about)
    for place in sorted(filter(None, places), key=len, reverse=True):
        if Path(place).is_absolute() or place.startswith(("~", "..")):
            old, new = (json.dumps(name)[1:-1] for name in (place, Path(place).name or "texts"))
            text = text.replace(old, new)
    found: dict[str, Any] = json.loads(text)
    return found


def how_to_use(about: Mapping[str, Any], repository: str | None) -> str:
    """How to call the model in the shell and in Python, as Markdown."""
    extra = PACKAGES[about["stage"]]
    download = f"hf download {repository} --local-dir model\n" if repository else ""
    client = "The command `hf` is in the Python package `huggingface_hub`."
    note = client if repository else "Here, `model` is this folder."
    return f"""\
Install `sentiformer` with `pip install '.[{extra}]'` in a copy of its project. {note}
In the shell:

```
{download}sentiformer predict --model model "a text"
```

In Python:

```python
import sentiformer

model = sentiformer.load("model")
print(model.predict("a text").label)
```"""


def require_free(folder: Path, model: Path) -> None:
    """Check that a publication of the model may be written to a folder.

    Raises:
        UserError: the folder holds other files than an earlier publication, or is in the model's.
    """
    if folder.resolve().is_relative_to(model.resolve()):
        raise UserError(
            f"--to {folder} is in the folder of the model, {model}; give another folder"
        )
    if not folder.is_dir():
        return
    paths = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    most = len((*FILES, CARD)) + 1  # so many have another file, and no more of a disk is read
    names = sorted(path.relative_to(folder).as_posix() for path in islice(paths, most))
    others = [name for name in names if name not in (*FILES, CARD)]
    if others or (names and not _is_ours(folder / CARD)):
        shown = listed((others or names)[:SHOWN_FILES])
        raise UserError(
            f"--to {folder} holds what is no earlier publication: {shown}; give a new folder"
        )


def _is_ours(card: Path) -> bool:
    from huggingface_hub.repocard import metadata_load

    try:
        return (metadata_load(card) or {}).get("library_name") == LIBRARY
    except Exception:  # there is no card, or no YAML in it
        return False
