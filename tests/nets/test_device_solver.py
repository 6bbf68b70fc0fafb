"""The device's way to singular values, taken on the processor too, against an SVD and against the audit without it."""

import pickle

import numpy as np
import pytest
import torch

from sao_cli.base import memory
from sao_cli.io.checkpoints import write_checkpoint
from sao_cli.models.audit.stream import audit_checkpoint
from sao_cli.nets import device_solver
from sao_cli.nets.device_solver import DeviceSolver

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=cuda)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (9, 30), (70, 20)])
def test_they_are_the_singular_values(device, dtype, shape, monkeypatch):
    monkeypatch.setattr(device_solver, "_ENTRIES", 100)
    dense = np.random.default_rng(1).standard_normal(shape[::-1]).astype(dtype).T[::-1]
    dense.setflags(write=False)
    wanted = np.linalg.svd(dense.astype(np.float64), compute_uv=False)
    found = DeviceSolver(device)(dense)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * wanted[0])
    np.testing.assert_allclose(DeviceSolver(device)(np.ones(shape, dtype))[1:], 0, atol=1e-6 * wanted[0])


@pytest.mark.parametrize("device", DEVICES)
def test_an_audit_says_the_same_with_it(device, tmp_path):
    rng = np.random.default_rng(2)
    sparse = np.where(rng.random((24, 24)) < 0.1, rng.standard_normal((24, 24)), 0)
    dead = rng.standard_normal((20, 12)).astype(np.float32)
    dead[3] = 0
    state = {"a.weight": dead, "b.weight": sparse, "c.weight": rng.standard_normal((6, 4, 3, 3), dtype=np.float32)}
    write_checkpoint(state, path := tmp_path / "m.safetensors")
    solver = pickle.loads(pickle.dumps(DeviceSolver(device)))
    with_it, without = (audit_checkpoint(path, image=6, solver=one).rows for one in (solver, None))
    for one, other in zip(with_it, without, strict=True):
        np.testing.assert_allclose(one.singular_values, other.singular_values, rtol=0, atol=1e-12)
        assert (one.exact, one.rank, one.reason) == (other.exact, other.rank, other.reason)
        if other.kind == "kernel":
            assert one.reshaped_sigma_max == pytest.approx(other.reshaped_sigma_max, rel=1e-12)


def test_memory_is_asked_for_before_it_is_taken_and_the_row_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000.0)
    write_checkpoint({"a.weight": np.eye(30, dtype=np.float32) + 1}, path := tmp_path / "m.safetensors")
    [row] = audit_checkpoint(path, solver=DeviceSolver("cpu"))
    assert row.sigma_max is None
    assert "the Gram matrix of 30 x 30 needs" in row.reason


def test_the_processor_needs_no_solver():
    assert DeviceSolver.of("cpu") is None
