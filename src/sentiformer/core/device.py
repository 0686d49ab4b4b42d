"""The machine that computes: device, threads, precision, and what of it decides the bits."""

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from sentiformer.core.errors import UserError, first_line, is_disk_full, is_out_of_memory
from sentiformer.core.runtime import Precision, Runtime


@dataclass(frozen=True)
class Device:
    """Where tensors live, and in what precision matrices are multiplied.

    Attributes:
        device: torch's device.
        precision: `fp32` or `bf16`.
        environment: what a Transformer's bits depend on, besides code, parameters and data.
    """

    device: torch.device
    precision: str
    environment: dict[str, str | int]

    def autocast(self) -> AbstractContextManager[None]:
        """Multiply matrices in this precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def memory(self) -> str:
        """How much of a GPU's memory has been in use at most; nothing on a CPU."""
        if self.device.type != "cuda":
            return ""
        total = torch.cuda.get_device_properties(self.device).total_memory
        peak = torch.cuda.max_memory_allocated(self.device)
        return f", GPU memory {peak / 2**30:.1f} of {total / 2**30:.1f} GiB"


def prepare_device(runtime: Runtime, precision: Precision = "fp32") -> Device:
    """Fix device, threads and deterministic kernels for this process.

    Raises:
        UserError: a GPU is asked for and torch sees none.
    """
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "SENTIFORMER_DEVICE is cuda, but torch sees no GPU here; unset it, or install a CUDA "
            "build of torch and its driver"
        )
    if runtime.device != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # torchrun's number
        torch.cuda.set_device(device)
        torch.cuda.set_stream(torch.cuda.Stream())  # on the default one nothing can be recorded
    else:
        device = torch.device("cpu")
    torch.set_num_threads(runtime.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Every shape of batch has kernels of its own, which a CPU keeps: a thousand cost a gigabyte.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    if runtime.compile:
        torch.use_deterministic_algorithms(True)  # imports the compiler too, which takes seconds
    else:
        torch.set_deterministic_debug_mode("error")  # the same for all kernels that are there
    # Filling new memory would cost time, and nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if precision == "auto":
        precision = "bf16" if is_fast_in_bf16(device) else "fp32"
    return Device(device, precision, _environment(device, precision, runtime))


@contextmanager
def compiling() -> Iterator[None]:
    """Say in one line that torch cannot compile here.

    Raises:
        UserError: no compiler is installed, or it fails.
    """
    try:
        yield
    except Exception as error:
        from torch._dynamo.exc import BackendCompilerFailed

        if (
            not isinstance(error, BackendCompilerFailed)
            or is_disk_full(error)
            or is_out_of_memory(error)
        ):
            raise
        raise UserError(
            "SENTIFORMER_COMPILE is set, but torch cannot compile here "
            f"({first_line(error.inner_exception)}); install a C++ compiler, such as g++, or "
            "unset it"
        ) from None


def is_fast_in_bf16(device: torch.device) -> bool:
    """Whether matrix products in bf16 have hardware of their own."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def _environment(device: torch.device, precision: str, runtime: Runtime) -> dict[str, str | int]:
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "processor": processor_name(),
        "threads": runtime.threads,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "precision": precision,
        "compile": runtime.compile,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "platform": platform.system(),
    }


def processor_name() -> str:
    """The processor as the system names it, with the vector instructions that torch uses."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"
