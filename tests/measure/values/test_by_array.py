"""Singular values of float32 arrays by a float64 Gram matrix, and the density of those that are too large."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import MemoryLimitError
from sao_cli.measure.values import by_array as dense_values
from sao_cli.measure.values.by_array import DenseGram, dense_singular_values
from sao_cli.measure.values.density import SpectralDensity

EPS32 = 2.0**-23


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 12), st.integers(0, 99), st.sampled_from(["f2", "f4"]))
def test_they_are_as_near_as_a_float32_svd_whatever_the_rank(m, n, rank, seed, dtype):
    rng = np.random.default_rng(seed)
    dense = (rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))).astype(dtype)
    truth = np.linalg.svd(dense.astype(np.float64), compute_uv=False)
    found = dense_singular_values(dense)
    assert found.exact
    np.testing.assert_allclose(found.values, truth, rtol=0, atol=EPS32 / 2 * truth[0])


@pytest.mark.parametrize("shape", [(70, 40), (40, 70)])
def test_pieces_add_up(shape, monkeypatch):
    monkeypatch.setattr(dense_values, "_GRAM_ENTRIES", 300)
    dense = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    truth = np.linalg.svd(dense.astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(dense_singular_values(dense).values, truth, rtol=0, atol=1e-13 * truth[0])


def test_float64_has_an_svd_of_its_own():
    dense = np.diag([1.0, 1e-12])
    np.testing.assert_allclose(dense_singular_values(dense).values, [1.0, 1e-12], rtol=1e-10)


@pytest.mark.parametrize(("dtype", "scale"), [("f4", 1.0), ("f8", 1e200), ("f8", 1e-200)])
def test_an_estimate_is_as_near_as_it_says(dtype, scale):
    dense = (scale * np.random.default_rng(1).standard_normal((150, 220))).astype(dtype)
    truth = np.sort(np.linalg.svd(dense.astype(np.float64), compute_uv=False))
    found = dense_singular_values(dense, exact_side=100)
    assert not found.exact
    assert found.values[0] == pytest.approx(truth[-1], rel=1e-6)
    assert found.norm == pytest.approx(scale * np.linalg.norm(dense / dense.dtype.type(scale)), rel=1e-6)
    shares = np.arange(1, 151) / 150
    distance = np.abs(np.searchsorted(np.sort(found.values), truth, side="right") / 150 - shares).max()
    assert distance <= found.error + 1 / 150
    assert "stochastic density" in found.reason


@pytest.mark.parametrize(("dtype", "scale"), [("f4", 1.0), ("f4", 1e30), ("f4", 1e-30), ("f2", 1.0)])
def test_an_estimate_in_single_precision_is_still_a_lower_bound(dtype, scale):
    dense = (scale * np.random.default_rng(1).standard_normal((220, 150))).astype(dtype)
    truth = np.sort(np.linalg.svd(dense.astype(np.float64), compute_uv=False))
    found = dense_singular_values(dense, exact_side=100, single=True, products=512)
    assert truth[-1] * (1 - 1e-4) < found.values[0] < truth[-1]
    distance = np.abs(np.searchsorted(np.sort(found.values), truth, side="right") / 150 - np.arange(1, 151) / 150).max()
    assert distance <= found.error + 1 / 150


@pytest.mark.parametrize("shape", [(30, 20), (20, 30)])
def test_the_operator_is_the_smaller_gram_matrix(shape, monkeypatch):
    monkeypatch.setattr(dense_values, "_VECTOR_ENTRIES", 100)
    dense = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    gram = DenseGram(dense)
    x = np.random.default_rng(3).standard_normal(20)
    wide = (dense if shape[0] < shape[1] else dense.T).astype(np.float64)
    np.testing.assert_allclose(gram.apply(x), wide @ (wide.T @ x), rtol=1e-12)


def test_memory_is_asked_for_first(monkeypatch):
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError, match="Gram matrix of 30 x 40"):
        dense_singular_values(np.ones((30, 40), dtype=np.float32))


@pytest.mark.parametrize("along", [0, 1])
def test_no_estimate_is_below_the_norm_of_a_row_or_column(along, monkeypatch):
    """With so few products the process may not have seen it yet, and the numbers tell."""
    dense = np.random.default_rng(4).standard_normal((60, 80)).astype(np.float32)
    dense[(7, slice(None)) if along else (slice(None), 7)] *= 1e3
    monkeypatch.setattr(
        dense_values, "operator_density", lambda *_, **__: SpectralDensity(size=60, exact=np.ones(60), sigma_max=1.0)
    )
    found = dense_singular_values(dense, exact_side=10)
    assert found.values[0] == pytest.approx(np.linalg.norm(dense, axis=along).max(), rel=1e-6)
    assert found.values[1] == 1
    assert found.norm == pytest.approx(np.linalg.norm(dense), rel=1e-6)
