"""Devices: names that are refused, and arithmetic that is float32's own."""

import contextlib
import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch

from sao_cli import SaoError
from sao_cli.nets import devices
from sao_cli.nets.devices import device_name, find_device, full_precision

SWITCHES = [
    (owner, name)
    for owner in (torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv", torch.backends.cudnn))
    for name in ("fp32_precision" if hasattr(torch.backends.cuda.matmul, "fp32_precision") else "allow_tf32",)
]


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_refused_by_its_name(name):
    with pytest.raises(SaoError, match=repr(name)):
        find_device(name)


@pytest.mark.parametrize(("owner", "name"), SWITCHES)
def test_full_precision_turns_tf32_off_and_puts_it_back_after_an_error(owner, name):
    before, threads = getattr(owner, name), torch.get_num_threads()
    torch.set_num_threads(2)
    on = "tf32" if name == "fp32_precision" else True
    setattr(owner, name, on)
    try:
        with contextlib.suppress(ZeroDivisionError), full_precision(8):
            assert getattr(owner, name) in ("ieee", False)
            assert torch.get_num_threads() == 1
            raise ZeroDivisionError
        assert getattr(owner, name) == on
        assert torch.get_num_threads() == 2
    finally:
        setattr(owner, name, before)
        torch.set_num_threads(threads)


def test_a_device_s_name_is_what_torch_calls_it():
    assert device_name() == str(find_device())
    assert device_name("cpu", "float32") == "cpu"
    with pytest.raises(SaoError, match="'gpu'"):
        device_name("gpu")


@pytest.mark.parametrize(
    ("version", "driver", "asked"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", True, False),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", True, True),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", False, False),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4'\n", False, True),
        ("", False, True),
        (None, False, True),
    ],
)
def test_torch_is_asked_for_a_gpu_only_where_there_may_be_one(version, driver, asked, monkeypatch, tmp_path):
    if version is not None:
        (tmp_path / "version.py").write_text(version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: SimpleNamespace(origin=str(tmp_path / "__init__.py")))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices.ctypes, "CDLL", str if driver else _no_library)
    with monkeypatch.context() as loaded:
        loaded.delitem(sys.modules, "torch")
        devices._built_for.cache_clear()
        assert devices._may_have_cuda() == asked
    devices._built_for.cache_clear()
    assert devices._may_have_cuda()  # torch is loaded, and asked


def _no_library(name):
    raise OSError(name)
