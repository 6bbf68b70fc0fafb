"""Compiled sums against scipy's, bit for bit; and a verdict that does not know which it had."""

import sys

import numpy as np
import pytest
from scipy.sparse import csr_array

from sao_cli.base import compiled
from sao_cli.masks.biregular import biregular_mask
from sao_cli.measure.graph import components
from sao_cli.measure.graph.expansion import expansion
from sao_cli.measure.krylov import gather, recurrence
from sao_cli.measure.krylov.gather import product_of

from .. import known_graphs as known


@pytest.fixture(autouse=True)
def _compiled():
    pytest.importorskip("numba")


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
@pytest.mark.parametrize("degree", [1, 2, 4, 8, 9, None])
def test_they_are_the_same_bits(dtype, degree):
    rng = np.random.default_rng(degree)
    if degree is None:
        dense = rng.random((60, 40)) < rng.random((60, 1))
        dense[7] = False
        matrix = csr_array(dense.astype(dtype))
    else:
        indices = np.concatenate([rng.choice(40, degree, replace=False) for _ in range(60)]).astype(np.int32)
        matrix = csr_array((np.ones(60 * degree, dtype), indices, np.arange(61, dtype=np.int32) * degree), (60, 40))
    x = (rng.standard_normal(40) * 1e6).astype(dtype)
    x[:5] = -0.0
    product = product_of(matrix)
    assert "product_of" in product.__qualname__
    assert product(x).tobytes() == (matrix @ x).tobytes()


@pytest.mark.parametrize(
    "mask",
    [
        biregular_mask(5000, 5000, d=3, seed=1),
        biregular_mask(3000, 6000, d=6, seed=2),
        known.random_pattern(2000, 1500, 0.004, 0),
    ],
    ids=["square", "wide", "irregular"],
)
def test_a_verdict_is_the_same_with_it_and_without(mask, monkeypatch):
    found = expansion(mask)
    for module in (gather, recurrence, components):
        monkeypatch.setattr(module, "is_worth_it", lambda ones: False)
    fresh = type(mask)(mask.indptr, mask.indices, mask.shape)
    assert expansion(fresh) == found


def test_small_masks_do_not_load_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "numba")
    assert not compiled.is_worth_it(compiled.ONES - 1)
    assert compiled.is_worth_it(compiled.ONES)
