"""Devices: names that are refused, and arithmetic that is float32's own."""

import contextlib

import pytest
import torch

from sao_cli import SaoError
from sao_cli.nets.devices import find_device, full_precision

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
