"""This machine: variables of the environment, which never make a stage run again."""

import difflib
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sentiformer.core.params import parse
from sentiformer.core.process import available_cores

VARIABLES = "SENTIFORMER_"  # the prefix of our variables
SIMILAR = 0.75  # similarity above which an unknown name is a misspelled one
Precision = Literal["auto", "fp32", "bf16"]


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
        and difflib.get_close_matches(name.removeprefix(VARIABLES), known, cutoff=SIMILAR)
    }
    return parse(Runtime, values, where="environment")


def project_root() -> Path:
    """The project that a stage belongs to; of a DVC experiment's copy, the original."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
