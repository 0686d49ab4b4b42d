"""Benchmarks run, and the one for a GPU needs few packages."""

import argparse
import importlib
import json
import os
import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, made_up_reviews

from benchmarks import large_corpus
from benchmarks.faults.__main__ import COUNTS

ABSENT = ("datasets", "dvc", "mlflow", "spacy")


@pytest.mark.slow
def test_the_gpu_benchmark_needs_none_of_the_pipeline_s_packages(data, tmp_path):
    for name in ABSENT:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n")
    setup = tmp_path / "setup"
    setup.write_text("model.d_model=8\nmodel.max_len=16\nword_vectors.window=0\n")
    inputs = ("--tokens", data / "tokens", "--vocab", data / "vocab", "--setup", setup)
    done = subprocess.run(
        (sys.executable, ROOT / "benchmarks/gpu.py", *inputs, "--steps=0", "--epochs=1"),
        env={**os.environ, "PYTHONPATH": str(tmp_path), "SENTIFORMER_DEVICE": "cpu"}
        | {"SENTIFORMER_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, speed, accuracy = done.stdout.splitlines()
    assert re.match(r"\d+ epochs with validation: ", speed)
    assert accuracy.startswith("test accuracy 0.")


def test_the_memory_of_a_stage_is_measured(tmp_path):
    rows = large_corpus.prepare(tmp_path, 20_000)
    peak, seconds = large_corpus.run("download", tmp_path)
    assert 10 * large_corpus.MB < peak < 1000 * large_corpus.MB
    assert 0 < seconds < 60
    splits = json.loads((tmp_path / "data/raw/dataset.json").read_text())["splits"]
    assert sum(split["rows"] for split in splits.values()) == rows


def test_each_module_of_faults_has_a_check():
    paths = (ROOT / "benchmarks/faults").glob("[a-z]*.py")
    assert {path.stem for path in paths if "\ndef check(" in path.read_text()} == COUNTS.keys()
    for name in COUNTS:
        assert callable(importlib.import_module(f"benchmarks.faults.{name}").check)


def run(name, *arguments):
    done = subprocess.run(
        (sys.executable, ROOT / "benchmarks" / name, *map(str, arguments)),
        env={**os.environ, "SENTIFORMER_DEVICE": "cpu", "SENTIFORMER_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_speed_of_tokens_and_predictions_is_measured(data, tmp_path):
    assert "spaCy's loop, scaled from 20 texts: " in run(
        "tokenize_speed.py", "--raw", data / "raw", "--sample", 20
    )
    made_up_reviews(60).to_parquet(tmp_path / "test.parquet")
    few = ("--texts", 20, "--single", 2, "--bf16")
    lines = run("predict_speed.py", "--model", data / "model", "--raw", tmp_path, *few)
    assert lines.count("reviews/s") >= 4, "in bulk and in one process, in fp32 and in bf16"


def test_every_method_trains(data, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    turns = __import__("turns")
    once = {"steps": 1, "rounds": 1, "warm_up": 1}
    options = argparse.Namespace(tokens=data / "tokens", vocab=data / "vocab", **once)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        for name, method in turns.METHODS.items():
            if "Trainer" not in name:  # its package is not a requirement of the project
                task, batches = turns.prepare(options, "default", method, None)
                method.train(task, batches)
                assert next(batches, None) is None, name
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
