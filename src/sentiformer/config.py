"""The parameters: what `params.yaml` may hold, and what the environment says about this machine.

The classes have no defaults: every key stands in `params.yaml`, where DVC tracks it. What must
never make a stage run again (device, threads, checkpoint interval) comes from the environment.
"""

import difflib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sentiformer.console import ICONV, UserError
from sentiformer.process import available_cores

SPECIAL_TOKENS = ("<pad>", "<unk>")
SPLITS = ("train", "validation", "test")  # of the labelled texts
UNLABELED = "unlabeled"  # the split of texts that have no label
PRETRAINING_SPLITS = ("train", UNLABELED)  # that words are learnt from without labels; never test
VARIABLES = "SENTIFORMER_"  # how those of the environment begin that are ours
NEARLY = 0.75  # how alike two names are of which one is a slip
Parsed = TypeVar("Parsed", bound=BaseModel)
Fraction = Field(gt=0, lt=1)
Size = Field(gt=0, lt=2**31)
Name = Annotated[str, Field(min_length=1)]
Labels = Annotated[list[Name], Field(min_length=2)]
CValues = Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(min_length=1)]
Bins = Field(gt=0, le=1000)
Precision = Literal["auto", "fp32", "bf16"]
Truncation = Literal["head", "tail", "head_tail"]


class Section(BaseModel):
    """A section of `params.yaml`: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DownloadParams(Section):
    """Where the texts come from and how many are held out.

    Paths are relative to the project's root. What a source does not use, it ignores; a split that
    a source does not have is held out of its train.
    """

    source: Literal["bundled", "hub", "files"]
    hub_dataset: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    hub_revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    train: Name | None
    validation: Name | None
    test: Name | None
    unlabeled: Name | None
    text_column: Name
    label_column: Name
    labels: Labels | None
    validation_fraction: float = Fraction
    test_fraction: float = Fraction

    @model_validator(mode="after")
    def _say_where_the_texts_are(self) -> Self:
        if self.source == "files" and self.train is None:
            raise ValueError(
                "source is 'files' and train is null; give train a path, a glob or a folder"
            )
        if self.text_column == self.label_column:
            raise ValueError(
                f"text_column and label_column are both {self.text_column!r}; name two columns"
            )
        if self.labels and len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels {self.labels} name a label twice; name each once")
        return self

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} + test_fraction "
                f"{self.test_fraction} leave nothing to train on; their sum must be below 1"
            )
        return self


class TokenizeParams(Section):
    """How a text is cut into tokens."""

    language: str = Field(min_length=2)


class BuildVocabParams(Section):
    """How many types the model knows, the specials included."""

    max_size: int = Field(gt=len(SPECIAL_TOKENS), lt=2**31)


class WordVectorsParams(Section):
    """How far the company of a word reaches that its first vector is made from; 0 for none."""

    window: int = Field(ge=0, le=1000)
    pairs: int = Field(ge=0, lt=2**31)
    triples: int = Field(ge=0, lt=2**31)
    regions: int = Field(ge=0, le=10_000)


class BaselineParams(Section):
    """Which n-grams the baselines know, and how freely their weights may grow."""

    min_count: int = Size
    c_values: CValues


class ModelParams(Section):
    """The size of the Transformer."""

    d_model: int = Size
    num_heads: int = Size
    num_layers: int = Field(gt=0, le=1000)
    d_ff: int = Size
    norm: Literal["post", "pre"]
    dropout: float = Field(ge=0, lt=1)
    token_dropout: float = Field(ge=0, lt=1)
    max_len: int = Size
    truncation: Truncation

    @model_validator(mode="after")
    def _heads_divide_the_model(self) -> Self:
        if self.d_model % self.num_heads:
            raise ValueError(
                f"d_model {self.d_model} is not divisible by num_heads {self.num_heads}; "
                "change one of the two"
            )
        if self.d_model % 2:
            raise ValueError(
                f"d_model {self.d_model} is odd; sinusoidal positions pair a sine with a cosine, "
                "so choose an even number"
            )
        return self


class FitParams(Section):
    """How weights are fitted, whatever to."""

    seed: int = Field(ge=0, lt=2**31)
    epochs: int = Size
    batch_size: int = Size
    optimizer: Literal["adam", "adamw", "lazy_adamw", "muon"]
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0, le=100)
    schedule: Literal["constant", "linear", "cosine"]
    warmup_fraction: float = Field(ge=0, lt=1)
    clip_norm: float = Field(gt=0)
    precision: Precision


class PretrainParams(FitParams):
    """How the encoder learns the language; in no epoch, it learns nothing."""

    epochs: int = Field(ge=0, lt=2**31)
    window: int = Size
    dropout: float = Field(ge=0, lt=1)
    masked_fraction: float = Fraction


class TrainParams(FitParams):
    """How the classifier is fitted; patience is for one training, those of a soup do all epochs."""

    word_dropout: float = Field(ge=0, lt=1)
    class_weights: Literal["balanced"] | None
    patience: int = Size
    soup: int = Field(gt=0, le=100)


class TeachParams(Section):
    """Who labels the texts that have no label, for the classifier to learn from."""

    by: Literal["nobody", "nb_trigrams", "text_vectors", "both"]


class EvaluateParams(Section):
    """How finely the predictions are judged."""

    calibration_bins: int = Bins
    length_bins: int = Bins


class ReportParams(Section):
    """What the report page shows."""

    mistakes: int = Field(ge=0)


class Params(Section):
    """The whole of `params.yaml`: one section per stage, and the model."""

    download: DownloadParams
    tokenize: TokenizeParams
    baseline: BaselineParams
    build_vocab: BuildVocabParams
    word_vectors: WordVectorsParams
    model: ModelParams
    pretrain: PretrainParams
    teach: TeachParams
    train: TrainParams
    evaluate: EvaluateParams
    report: ReportParams


def _own_cores() -> int:
    """The cores that this process may use, shared with those that torchrun started beside it."""
    return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class Runtime(BaseModel):
    """This machine, from `SENTIFORMER_*` variables of the environment.

    Attributes:
        threads: threads of torch, and processes of tokenizer, baselines, word vectors and
            prediction; the bits of a Transformer, and of vectors of texts, depend on it.
        device: `auto` takes a GPU where torch sees one.
        compile: whether training compiles the model by `torch.compile`; the bits depend on it.
        precision: in which a trained model predicts: fp32, bf16 (faster where the processor is
            made for it; probabilities then differ by some 0.003), or auto. No stage uses it.
        torchrun: arguments of torchrun to train under, such as `--nproc-per-node 2`.
        checkpoint_seconds: between two checkpoints; there is one at every tenth step at most.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda field: f"{VARIABLES}{field.upper()}",
    )

    threads: int = Field(default_factory=_own_cores, gt=0, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: bool = False
    precision: Precision = "fp32"
    torchrun: str = ""
    checkpoint_seconds: float = Field(default=15.0, ge=0)


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate the parameters, as DVC reads them: YAML 1.2, where 1e-3 is a number.

    Raises:
        UserError: one line with every problem found: file, key, value, fix.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        values = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the project's root") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no UTF-8; convert it, for instance with `{ICONV}`") from None
    except (YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise UserError(f"{path} is no valid YAML: {reason}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold sections such as `model:`, it holds {values!r}")
    return parse(Params, values, where=str(path))


def load_runtime() -> Runtime:
    """Read the variables of the environment that `Runtime` names.

    Others that begin like ours may be somebody else's, such as a cluster's for a service.

    Raises:
        UserError: a value is out of range, or a variable nearly named like one of these.
    """
    known = [name.upper() for name in Runtime.model_fields]
    values = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(VARIABLES)
        and value
        and difflib.get_close_matches(name.removeprefix(VARIABLES), known, cutoff=NEARLY)
    }
    return parse(Runtime, values, where="environment")


def project_root() -> Path:
    """The project that a stage belongs to; of a DVC experiment's copy, the original."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def parse(kind: type[Parsed], values: Any, *, where: str) -> Parsed:
    """Validate `values` as `kind`.

    Raises:
        UserError: one line with every problem found.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_problem(kind, dict(item)) for item in error.errors())
        raise UserError(f"{where}: {problems}") from None


def _problem(kind: type[BaseModel], item: dict[str, Any]) -> str:
    """One problem in words: the key, what it holds, what it should hold."""
    *parents, key = [str(part) for part in item["loc"]] or ["it"]
    name = ".".join([*parents, key])
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, _known_keys(kind, parents), n=1)
        return f"{name} is not a known key; " + (f"meant {near[0]}?" if near else "remove it")
    if item["type"] == "missing":
        return f"{name} is missing; add it"
    if item["type"] == "value_error":
        contradiction = str(item["ctx"]["error"])
        return f"{name}: {contradiction}" if item["loc"] else contradiction
    if item["type"] == "model_type":
        first, *_ = _known_keys(kind, item["loc"])
        return f"{name} is {item['input']!r}: it should hold keys, such as {first}"
    fix = item["msg"][0].lower() + item["msg"][1:]
    if item["type"] in ("int_type", "float_type") and _is_number(item["input"]):
        fix += " (write it without quotes)"
    if item["type"] == "string_type" and isinstance(item["input"], int | float):
        fix += " (write it in quotes)"
    if key in (*SPLITS, UNLABELED) and isinstance(item["input"], list):
        fix += " (one alone; a glob or a folder names several files)"
    return f"{name} is {item['input']!r}: {fix}"


def _known_keys(kind: type[BaseModel], parents: Sequence[str]) -> list[str]:
    for parent in parents:
        annotation = kind.model_fields[parent].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        kind = annotation
    return [field.alias or name for name, field in kind.model_fields.items()]


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False
