"""Device and precision are those asked for, and what the environment says of them is true."""

from types import SimpleNamespace

import pytest
import torch
from conftest import RUNTIME

from sentiformer.core.device import Device, prepare_device
from sentiformer.training.batching import copied


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({}, "fp32"),
        ({"avx512_f": True, "avx512_bf16": False}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
    ],
)
def test_auto_is_bf16_where_the_processor_is_made_for_it(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    device = prepare_device(RUNTIME, "auto")
    assert (device.precision, device.environment["precision"]) == (precision, precision)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_a_precision_that_is_named_is_that_in_which_matrices_are_multiplied(precision, kind):
    device = prepare_device(RUNTIME, precision)
    assert device.environment["precision"] == precision
    with device.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, kind)


def test_every_kernel_is_a_deterministic_one():
    prepare_device(RUNTIME)
    assert torch.are_deterministic_algorithms_enabled()


def test_the_memory_of_a_gpu_is_told(monkeypatch):
    properties = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**29)
    assert Device(torch.device("cuda"), "fp32", {}).memory() == ", GPU memory 1.5 of 8.0 GiB"
    assert Device(torch.device("cpu"), "fp32", {}).memory() == ""


def test_a_gpu_gets_a_tensor_from_pinned_memory_without_being_waited_for():
    pinned = SimpleNamespace(to=lambda *to, **how: (to, how))
    tensor = SimpleNamespace(is_cpu=True, pin_memory=lambda: pinned)
    gpu = torch.device("cuda")
    assert copied(tensor, gpu) == ((gpu,), {"non_blocking": True})
