"""Device, threads and precision of the computation."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from sentiformer.core.environment import environment, processor_name
from sentiformer.core.errors import UserError
from sentiformer.core.runtime import Precision, Runtime


@dataclass(frozen=True)
class Device:
    """The device of the tensors, and the precision of matrix products, `fp32` or `bf16`."""

    device: torch.device
    precision: str

    @property
    def environment(self) -> dict[str, str | int]:
        """What the bits of a model depend on, in addition to code, parameters and data."""
        is_gpu = self.device.type == "cuda"
        return {
            **environment(),
            "device": torch.cuda.get_device_name() if is_gpu else "cpu",
            "processor": f"{processor_name()} ({torch.backends.cpu.get_cpu_capability()})",
            "threads": torch.get_num_threads(),
            "processes": int(os.environ.get("WORLD_SIZE", "1")),
            "precision": self.precision,
        }

    def autocast(self) -> AbstractContextManager[None]:
        """Compute matrix products in this precision within the block."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def memory(self) -> str:
        """The largest amount of GPU memory used so far, as a note; empty on a CPU."""
        if self.device.type != "cuda":
            return ""
        total = torch.cuda.get_device_properties(self.device).total_memory
        peak = torch.cuda.max_memory_allocated(self.device)
        return f", GPU memory {peak / 2**30:.1f} of {total / 2**30:.1f} GiB"


def prepare_device(runtime: Runtime, precision: Precision = "fp32") -> Device:
    """Choose the device, and set threads and deterministic kernels for this process.

    Raises:
        UserError: the environment asks for a GPU, and torch finds none.
    """
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "SENTIFORMER_DEVICE is cuda, but torch finds no GPU; unset the variable, or install a "
            "CUDA build of torch and the GPU's driver"
        )
    if runtime.device != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # set by torchrun
        torch.cuda.set_device(device)
        torch.cuda.set_stream(torch.cuda.Stream())  # the default stream cannot capture CUDA graphs
    else:
        device = torch.device("cpu")
    torch.set_num_threads(runtime.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # oneDNN caches kernels for each shape of a batch; a thousand of them take a gigabyte.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
    # use_deterministic_algorithms(True) would do the same, but imports torch's compiler (seconds).
    torch.set_deterministic_debug_mode("error")
    # Filling new memory takes time, and no code here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if precision == "auto":
        precision = "bf16" if is_fast_in_bf16(device) else "fp32"
    return Device(device, precision)


def is_fast_in_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for matrix products in bf16, and oneDNN uses them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    has_instructions = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    # ONEDNN_MAX_CPU_ISA may exclude them; oneDNN then emulates them, ten times slower.
    return bool(has_instructions and torch.ops.mkldnn._is_mkldnn_bf16_supported())
