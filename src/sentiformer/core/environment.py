"""The environment of this machine on which the bits of floating-point results depend."""

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sentiformer.core.files import write_json
from sentiformer.core.runtime import load_runtime

FILE = "environment.json"  # beside results that have no config.json
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pyarrow", "spacy")
INSTRUCTIONS = (  # those for which the libraries have kernels of their own
    *("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"),
    *("asimd", "sve", "bf16"),  # of ARM
)
SETTINGS = (  # variables by which libraries choose other kernels or another precision
    *("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NVIDIA_TF32_OVERRIDE"),
)


def environment() -> dict[str, str | int]:
    """What the bits of results depend on, in addition to code, parameters and data."""
    return {
        "processor": processor_name(),
        "instructions": " ".join(name for name in INSTRUCTIONS if name in _flags()),
        "blas": _blas(),
        "settings": settings() or "none",
        "threads": load_runtime().threads,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **_versions(),
    }


def write_environment(folder: Path) -> None:
    """Write `environment.json` beside the results of a stage, which are there already."""
    write_json(folder / FILE, environment())


def settings() -> str:
    """The variables of this process that change bits, as `NAME=value, …`."""
    return ", ".join(f"{name}={os.environ[name]}" for name in SETTINGS if os.environ.get(name))


def processor_name() -> str:
    """The processor's name."""
    found = re.search(r"^model name\s*: *(.*\S)", _processor_facts(), re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _flags() -> list[str]:
    found = re.search(r"^(?:flags|Features)\s*:(.*)", _processor_facts(), re.MULTILINE)
    return found[1].split() if found else []


def _processor_facts() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text(errors="replace") if info.exists() else ""


def _versions() -> dict[str, str]:
    """The versions of the packages that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _blas() -> str:
    """The library for linear algebra of NumPy, with the kernels that it chose.

    Others that are loaded, such as SciPy's, are left out: which they are depends on the process.
    """
    try:
        import numpy  # noqa: F401, it loads the library
        from threadpoolctl import threadpool_info
    except ImportError:  # not all machines that train have what the stages before need
        return "unknown"
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    found = [library for library in found if "numpy" in library["filepath"]] or found
    names = {
        f"{library['internal_api']} {library['version']} {library.get('architecture', '')}".strip()
        for library in found
    }
    return ", ".join(sorted(names))
