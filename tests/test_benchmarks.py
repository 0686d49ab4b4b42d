"""What a benchmark promises of where it runs."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

ABSENT = ("datasets", "dvc", "mlflow", "spacy")


@pytest.mark.slow
def test_the_gpu_benchmark_needs_none_of_the_pipeline_s_packages(data, tmp_path):
    for name in ABSENT:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    setup = tmp_path / "setup"
    setup.write_text("model.d_model=8\nmodel.max_len=16\nword_vectors.window=0\ntrain.soup=1\n")
    inputs = ("--tokens", data / "tokens", "--vocab", data / "vocab", "--setup", setup)
    done = subprocess.run(
        (sys.executable, ROOT / "benchmarks/gpu.py", *inputs, "--steps=0", "--epochs=1"),
        env={**os.environ, "PYTHONPATH": str(tmp_path), "SENTIFORMER_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, speed, accuracy = done.stdout.splitlines()
    assert speed.startswith("1 epochs with validation: ")
    assert accuracy.startswith("test accuracy 0.")
