"""Settings of this machine: environment variables, which never make a stage run again."""

import difflib
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sentiformer.core.errors import UserError
from sentiformer.core.params import parse

SIMILAR = 0.9  # similarity above which an unknown variable counts as a misspelled one
Precision = Literal["auto", "fp32", "bf16"]


def _default_threads() -> int:
    """The cores that this process may use, divided by torchrun's processes on this machine."""
    from joblib import cpu_count

    return max(1, cpu_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class Runtime(BaseModel):
    """Settings from the environment variables `SENTIFORMER_*`.

    Attributes:
        threads: threads of torch in each process of a training; processes of the other stages and
            of prediction. The bits of a Transformer depend on it.
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
        alias_generator=lambda field: f"SENTIFORMER_{field.upper()}",
    )

    threads: int = Field(default_factory=_default_threads, gt=0, le=1024)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "fp32"
    torchrun: str = ""
    checkpoint_seconds: float = Field(default=15.0, ge=0)


def load_runtime() -> Runtime:
    """Read the environment variables of `Runtime`.

    Raises:
        UserError: a value is not allowed, or the name of a variable is misspelled.
    """
    known = [str(field.alias) for field in Runtime.model_fields.values()]
    for name in os.environ:
        near = difflib.get_close_matches(name, known, n=1, cutoff=SIMILAR)
        if near and name not in known:
            raise UserError(f"environment: {name} is not a known variable; did you mean {near[0]}?")
    values = {name: os.environ[name] for name in known if os.environ.get(name)}
    return parse(Runtime, values, where="environment")


def project_root() -> Path:
    """The project's folder; in the copy of a DVC experiment, the folder of the original."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
