"""Device, precision and threads are those of the settings, and the environment records them."""

from types import SimpleNamespace

import pytest
import torch
from conftest import RUNTIME

from sentiformer.core.device import Device, prepare_device
from sentiformer.training.batching import to_device


@pytest.mark.parametrize(
    ("capabilities", "is_used", "precision"),
    [
        ({}, False, "fp32"),
        ({"avx512_f": True, "avx512_bf16": False}, True, "fp32"),
        ({"avx512_bf16": True}, True, "bf16"),
        ({"avx512_bf16": True}, False, "fp32"),
        ({"amx_bf16": True}, True, "bf16"),
    ],
)
def test_auto_is_bf16_if_the_processor_has_instructions_for_it_and_onednn_uses_them(
    monkeypatch, capabilities, is_used, precision
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: is_used)
    device = prepare_device(RUNTIME, "auto")
    assert (device.precision, device.environment["precision"]) == (precision, precision)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_a_given_precision_is_that_of_matrix_products(precision, kind):
    device = prepare_device(RUNTIME, precision)
    assert device.environment["precision"] == precision
    with device.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, kind)


def test_kernels_are_deterministic():
    prepare_device(RUNTIME)
    assert torch.are_deterministic_algorithms_enabled()


def test_the_recorded_threads_are_those_of_torch():
    try:
        for threads in (2, 1):
            device = prepare_device(RUNTIME.model_copy(update={"threads": threads}))
            assert torch.get_num_threads() == device.environment["threads"] == threads
    finally:
        torch.set_num_threads(RUNTIME.threads)


def test_the_note_shows_the_memory_of_a_gpu(monkeypatch):
    properties = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**29)
    assert Device(torch.device("cuda"), "fp32").memory() == ", GPU memory 1.5 of 8.0 GiB"
    assert Device(torch.device("cpu"), "fp32").memory() == ""


def test_a_copy_to_a_gpu_uses_pinned_memory_and_does_not_block():
    pinned = SimpleNamespace(to=lambda *to, **how: (to, how))
    tensor = SimpleNamespace(is_cpu=True, pin_memory=lambda: pinned)
    gpu = torch.device("cuda")
    assert to_device(tensor, gpu) == ((gpu,), {"non_blocking": True})
