"""The benchmark of devices runs, at small sizes and on a CPU, so that a device's time is not spent on its mistakes."""

import importlib
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """The script as a module, which sets the threads of processes that this one starts; that is taken back."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr("sys.argv", ["bench_device.py"])
    return importlib.import_module("bench_device")


def test_every_path_has_a_time_and_two_floors(benchmark):
    jobs, *numbers = zip(*benchmark.table(benchmark.Device("cpu", 64), benchmark.SMALL), strict=True)
    assert {job.split(",")[0] for job in jobs} >= {
        "SAOLinear",
        "SAOConv2d",
        "a training step",
        "chain",
        "snip",
        "singular values",
    }
    assert all(number > 0 for column in numbers for number in column)


def test_without_a_device_it_measures_nothing(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    benchmark.main()
    assert capsys.readouterr().out == "no device: nothing measured\n"
