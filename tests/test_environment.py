"""What decides the bits of a result is recorded, and a setting that changes them is shown."""

import json
import os
import subprocess
import sys

import pytest

from sentiformer.core.environment import SETTINGS, environment, settings, write_environment


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


def test_a_variable_that_selects_kernels_is_recorded(monkeypatch, tmp_path):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    write_environment(tmp_path)
    recorded = json.loads((tmp_path / "environment.json").read_text())
    assert recorded["settings"] == "OPENBLAS_CORETYPE=Haswell, ONEDNN_MAX_CPU_ISA=AVX2"


def test_without_variables_there_are_no_settings(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "")
    assert settings() == ""


def test_the_kernel_that_openblas_chose_is_recorded():
    program = "from sentiformer.core.environment import environment; print(environment()['blas'])"
    if "openblas" not in str(environment()["blas"]) or os.uname().machine != "x86_64":
        pytest.skip("NumPy has another library for linear algebra here")
    command, variables = [sys.executable, "-c", program], dict(os.environ)
    variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command, env={**variables, "OPENBLAS_CORETYPE": "Haswell"}, capture_output=True, text=True
    )
    assert "Haswell" in done.stdout


def test_a_library_that_another_package_has_loaded_is_not_recorded():
    before = environment()["blas"]
    import scipy.linalg  # noqa: F401, it loads one of its own

    assert environment()["blas"] == before
    assert "," not in str(before)
