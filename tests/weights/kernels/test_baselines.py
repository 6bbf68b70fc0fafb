"""Kernels without isometry: laws with their variance, and what masks and pruning leave of a dense kernel."""

import numpy as np
import pytest
from scipy.stats import kstest

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.data.kernel import Kernel
from sao_cli.masks.lrp import lrp_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.kernels.baselines import lmp_kernel, lrp_kernel, masked_kernel, random_kernel
from sao_cli.weights.kernels.eco import eco_kernel


@pytest.mark.parametrize(("law", "shape"), [("normal", ("norm", ())), ("uniform", ("uniform", (-(3**0.5), 12**0.5)))])
@pytest.mark.parametrize(("axes", "size", "degree"), [(2, 3, None), (2, 3, 8), (1, 6, 4), (3, (1, 2, 2), 8)])
def test_values_have_their_law_and_the_variance_of_their_fan_in(law, shape, axes, size, degree):
    kernel = random_kernel(32, 64, size, law=law, axes=axes, degree=degree, seed=2)
    taps = np.prod(kernel.size)
    standard = kernel.values[kernel.mask.to_dense()] * np.sqrt((degree or 64) * taps)
    assert standard.shape[0] == 32 * (degree or 64)
    assert kstest(standard.reshape(-1), shape[0], shape[1]).pvalue > 1e-3
    assert not kernel.values[~kernel.mask.to_dense()].any()
    if degree:
        assert kernel.mask == sao_mask(32, 64, degree, seed=2)


def test_a_mask_keeps_kernels_as_wholes():
    dense = eco_kernel(8, 8, seed=1)
    kernel = masked_kernel(dense, sao_mask(8, 8, 2))
    np.testing.assert_array_equal(kernel.values, dense.values * sao_mask(8, 8, 2).to_dense()[:, :, None, None])
    told = kernel.mask.provenance
    assert (told["method"], told["scheme"], told["c"], told["d"], told["arrangement"]) == (
        "rg-s",
        "eco",
        2,
        2,
        "random",
    )


def test_lmp_keeps_the_largest_norms():
    dense = random_kernel(6, 7, seed=3)
    kernel = lmp_kernel(dense, 10)
    norms = np.array([[np.linalg.norm(dense.values[i, j]) for j in range(7)] for i in range(6)])
    kept = kernel.mask.to_dense()
    assert kept.sum() == 10
    assert norms[kept].min() > norms[~kept].max()
    np.testing.assert_array_equal(kernel.values[kept], dense.values[kept])
    assert {"method": "lmp", "nnz": 10, "c": None}.items() <= kernel.mask.provenance.items()
    ties = lmp_kernel(Kernel.from_dense(np.ones((2, 2, 3))), 3)
    np.testing.assert_array_equal(ties.mask.to_dense(), [[True, True], [True, False]])


def test_lrp_keeps_kernels_at_random_places():
    dense = random_kernel(6, 7, seed=3)
    kernel = lrp_kernel(dense, 10, seed=3, layer=2)
    assert kernel.mask == lrp_mask(6, 7, 10, seed=3, layer=2)
    np.testing.assert_array_equal(kernel.values[kernel.mask.to_dense()], dense.values[kernel.mask.to_dense()])


def test_bad_input_is_refused():
    with pytest.raises(SaoError, match=r"unknown law 'norml'; did you mean 'normal'\?"):
        random_kernel(4, 4, law="norml")
    with pytest.raises(InfeasibleError, match="nearest feasible"):
        random_kernel(10, 10, degree=4)
    with pytest.raises(MemoryLimitError, match="a kernel of 100000 x 100000 x 3 x 3"):
        random_kernel(10**5, 10**5)
    for prune in (lmp_kernel, lrp_kernel):
        with pytest.raises(InfeasibleError, match="keeps 17"):
            prune(random_kernel(4, 4), 17)
