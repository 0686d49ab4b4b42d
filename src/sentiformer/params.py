"""All sections of `params.yaml`: one per stage, and the model."""

from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from sentiformer.baselines.params import TeachParams
from sentiformer.core.errors import UserError
from sentiformer.core.params import Section, parse, read_yaml
from sentiformer.data.params import DownloadParams
from sentiformer.encoder.params import EncoderParams, FinetuneParams
from sentiformer.export.params import ExportParams
from sentiformer.features.params import WordVectorsParams
from sentiformer.model.params import ModelParams
from sentiformer.text.params import BuildVocabParams, TokenizeParams
from sentiformer.training.params import PretrainParams, TrainParams

# Name the columns of the texts and of the labels, in `sentiformer use` and in `make own`.
COLUMN_OPTIONS = ("--text (TEXT of make own)", "--label (LABEL of make own)")


class Params(Section):
    """All sections, in the order of the stages."""

    download: DownloadParams
    tokenize: TokenizeParams
    build_vocab: BuildVocabParams
    word_vectors: WordVectorsParams
    model: ModelParams
    pretrain: PretrainParams
    encoder: EncoderParams
    finetune: FinetuneParams
    teach: TeachParams
    train: TrainParams
    export: ExportParams

    @model_validator(mode="after")
    def _require_the_encoder_that_is_exported(self) -> Self:
        if self.export.format and self.export.model == "finetuned" and self.encoder.name is None:
            raise ValueError(
                "export.model is finetuned, but encoder.name is null; name an encoder, or set "
                "export.model to model"
            )
        return self

    @model_validator(mode="after")
    def _require_the_encoder_of_a_teacher(self) -> Self:
        if self.teach.by in ("encoder", "ensemble") and self.encoder.name is None:
            raise ValueError(
                f"teach.by is {self.teach.by}, but encoder.name is null; name an encoder, or set "
                "teach.by to nb_trigrams or null"
            )
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check all parameters.

    Raises:
        UserError: one line with all problems: file, key, value and fix.
    """
    return parse(Params, read_yaml(path), where=str(path))


def _represent_null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def use_files(
    train: Path, *, text: str | None, label: str | None, language: str | None, path: Path
) -> None:
    """Change the parameters in the file `path` so that the texts come from a file or folder.

    Comments stay. Columns that are not given get their usual names, for which the stage download
    looks first.

    Raises:
        UserError: there is no such file or folder, it has no such columns, or a value is wrong.
            `path` is then unchanged.
    """
    from ruamel.yaml import YAML

    from sentiformer.data.user_files import require_columns_of_train

    train = train.expanduser()
    if not train.exists():
        raise UserError(f"{train} does not exist; give the path of a file or a folder of files")
    read_yaml(path)  # its errors are clear
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.representer.add_representer(type(None), _represent_null)
    values: Any = yaml.load(path.read_text(encoding="utf-8"))
    values["download"] |= {
        **dict.fromkeys(("validation", "test", "unlabeled", "labels")),
        "source": "files",
        "train": str(train),
        "text_column": text or "text",
        "label_column": label or "label",
    }
    if language:
        values["tokenize"]["language"] = language
    download = parse(Params, values, where=str(path)).download
    require_columns_of_train(download, COLUMN_OPTIONS)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        yaml.dump(values, file)
    partial.replace(path)
