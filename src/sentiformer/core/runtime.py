"""Settings of this machine: environment variables, which never make a stage run again."""

import difflib
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sentiformer.core.params import parse
from sentiformer.core.process import available_cores

PREFIX = "SENTIFORMER_"
SIMILAR = 0.75  # similarity above which an unknown variable counts as a misspelled one
Precision = Literal["auto", "fp32", "bf16"]


def _default_threads() -> int:
    """The cores of this machine, divided by the processes that torchrun started on it."""
    return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class Runtime(BaseModel):
    """Settings from the environment variables `SENTIFORMER_*`.

    Attributes:
        threads: threads of torch in each process that torchrun starts, or in the one process of
            a training; also processes of the other stages and of prediction. The bits of a
            Transformer depend on it.
        device: `auto` uses a GPU if torch finds one.
        precision: of the model in prediction. fp32; bf16, which is faster on processors with
            bf16 instructions and changes probabilities by about 0.003; or auto, which is bf16 on
            such processors. Stages do not use it.
        torchrun: arguments of torchrun for a training, such as `--nproc-per-node 2`.
        checkpoint_seconds: seconds between two checkpoints.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        alias_generator=lambda field: f"{PREFIX}{field.upper()}",
    )

    threads: int = Field(default_factory=_default_threads, gt=0, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"
    torchrun: str = ""
    checkpoint_seconds: float = Field(default=15.0, ge=0)


def load_runtime() -> Runtime:
    """Read the environment variables of `Runtime`.

    Variables with our prefix and a very different name are ignored: for instance, Kubernetes sets
    some for a service that is called sentiformer.

    Raises:
        UserError: a value is not allowed, or a name looks like a misspelled one.
    """
    known = [name.upper() for name in Runtime.model_fields]
    values = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIX)
        and value
        and difflib.get_close_matches(name.removeprefix(PREFIX), known, cutoff=SIMILAR)
    }
    return parse(Runtime, values, where="environment")


def project_root() -> Path:
    """The project's folder; in the copy of a DVC experiment, the folder of the original."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
