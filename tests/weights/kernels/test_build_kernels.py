"""Kernels by name: what each method and scheme makes of degrees, sparsities, gains and precisions."""

import numpy as np
import pytest

from sao_cli.base.errors import FormatError, InfeasibleError, MemoryLimitError, SaoError
from sao_cli.masks.degrees import kept_entries
from sao_cli.weights.kernels.baselines import lmp_kernel, random_kernel
from sao_cli.weights.kernels.build_kernels import METHODS, SCHEMES, build_kernel
from sao_cli.weights.kernels.delta import delta_kernel
from sao_cli.weights.kernels.eco import eco_kernel
from sao_cli.weights.kernels.soc import soc_kernel

from .operators import operator, singular_values


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("c_out", "c_in"), [(8, 8), (4, 8), (8, 4)])
def test_every_method_builds_every_scheme_at_every_shape(scheme, method, c_out, c_in):
    if method in ("rg-n", "rg-u") and scheme in ("eco", "soc", "uniform" if method == "rg-n" else "normal"):
        with pytest.raises(SaoError, match=f"'{method}' has values of its own"):
            build_kernel(c_out, c_in, scheme=scheme, method=method)
        return
    kernel = build_kernel(c_out, c_in, scheme=scheme, method=method, sparsity=0.5, seed=3, layer=2)
    assert kernel.shape[:2] == (c_out, c_in)
    assert kernel.mask.sparsity == (0 if method == "dense" else 0.5)
    told = kernel.mask.provenance
    law = {"rg-n": "normal", "rg-u": "uniform"}.get(method, scheme)
    expected = {"method": method, "scheme": law, "size": list(kernel.size), "m": c_out, "n": c_in}
    assert (expected | {"seed": 3, "layer": 2}).items() <= told.items()
    assert told.get("requested_sparsity") == (None if method == "dense" else 0.5)
    assert kernel == build_kernel(c_out, c_in, scheme=scheme, method=method, sparsity=0.5, seed=3, layer=2)


def test_the_schemes_are_their_constructions():
    pairs = [
        (build_kernel(6, 4), delta_kernel(6, 4)),
        (build_kernel(6, 4, d=2, seed=1), delta_kernel(6, 4, degree=2, seed=1)),
        (build_kernel(6, 4, 4, scheme="eco", stride=2, layer=2), eco_kernel(6, 4, 4, stride=2, layer=2)),
        (build_kernel(6, 4, scheme="eco", c=3, axes=1), eco_kernel(6, 4, degree=3, axes=1)),
        (build_kernel(4, 4, scheme="soc", terms=3), soc_kernel(4, 4, terms=3)),
        (build_kernel(6, 4, method="rg-u", d=2), random_kernel(6, 4, law="uniform", degree=2)),
        (build_kernel(6, 4, method="lmp", d=2, scheme="eco"), lmp_kernel(eco_kernel(6, 4), 12)),
        (build_kernel(8, 8, d=2, arrangement="minimal"), delta_kernel(8, 8, degree=2, arrangement="minimal")),
    ]
    for found, expected in pairs:
        assert found == expected


@pytest.mark.parametrize("scheme", ["delta", "eco", "soc"])
@pytest.mark.parametrize(("c_out", "c_in"), [(6, 12), (12, 6)])
def test_rg_s_has_the_mask_of_sao_and_values_of_the_dense_kernel(scheme, c_out, c_in):
    options = {"scheme": scheme, "seed": 2}
    kernel, sao, dense = (build_kernel(c_out, c_in, method=m, d=2, **options) for m in ("rg-s", "sao", "dense"))
    assert kernel.mask == sao.mask
    np.testing.assert_array_equal(kernel.values, dense.values * sao.mask.to_dense()[:, :, None, None])


def test_degrees_come_by_degree_by_sparsity_or_are_the_nearest_to_four():
    assert build_kernel(16, 16, sparsity=0.8).mask.provenance["d"] == 4
    assert build_kernel(16, 8, method="sao").mask.row_degrees[0] == 4
    assert build_kernel(16, 8, method="sao", looks_linear=True).mask.row_degrees[0] == 4
    assert build_kernel(16, 8, c=4).mask.row_degrees[0] == 2
    assert build_kernel(12, 8, scheme="eco", sparsity=0.7).mask.nnz == 8 * 4
    assert build_kernel(9, 7, method="lrp", sparsity=0.8).mask.nnz == kept_entries(9, 7, sparsity=0.8)
    assert build_kernel(9, 7).mask.nnz == 63


@pytest.mark.parametrize("options", [{}, {"d": 4}, {"scheme": "eco", "d": 2}, {"method": "lmp", "d": 2}])
def test_looks_linear_blocks_have_half_the_degree(options):
    kernel = build_kernel(8, 16, looks_linear=True, **options)
    half = kernel.values[:4, :8]
    for rows in (0, 1):
        for columns in (0, 1):
            block = kernel.values[4 * rows :, 8 * columns :][:4, :8]
            np.testing.assert_array_equal(block, half * (-1) ** (rows + columns))
    assert kernel.mask.nnz == 8 * options.get("d", 16)
    assert kernel.mask.provenance["looks_linear"]
    if "method" not in options:
        found = singular_values(operator(kernel.values, 3))
        np.testing.assert_allclose(found, np.repeat([2.0, 0.0], [36, 36]), atol=1e-13)
    else:
        assert kernel.mask.provenance["nnz"] == kernel.mask.nnz


def test_gain_multiplies_and_dtype_rounds():
    plain, scaled = build_kernel(8, 8, scheme="eco", d=2), build_kernel(8, 8, scheme="eco", d=2, gain=1.5)
    np.testing.assert_array_equal(scaled.values, 1.5 * plain.values)
    assert scaled.mask.provenance["gain"] == 1.5
    narrow = build_kernel(8, 8, scheme="eco", d=2, dtype="float32")
    assert narrow.dtype == "float32"
    np.testing.assert_array_equal(narrow.values, plain.values.astype(np.float32))
    with pytest.raises(FormatError, match="overflows float16"):
        build_kernel(8, 8, gain=1e6, dtype="float16")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"scheme": "dlta"}, SaoError, r"unknown scheme 'dlta'; did you mean 'delta'\?"),
        ({"method": "lpm"}, SaoError, r"unknown method 'lpm'; did you mean"),
        ({"dtype": "float8"}, SaoError, "unknown dtype"),
        ({"gain": 0.0}, SaoError, "gain 0.0"),
        ({"gain": 5e-324}, SaoError, "overflow, or vanish"),
        ({"stride": 2}, SaoError, "stride 2 is of scheme eco"),
        ({"scheme": "eco", "stride": -1}, SaoError, "stride -1"),
        ({"terms": 3}, SaoError, "terms 3 are of scheme soc"),
        ({"d": 2, "sparsity": 0.5}, SaoError, "give one of them"),
        ({"d": 4}, InfeasibleError, "nearest feasible"),
        ({"d": 4, "scheme": "eco"}, InfeasibleError, "no sao mask of 10 x 10"),
        ({"sparsity": 1.0}, InfeasibleError, "outside 0 <= sparsity < 1"),
        ({"method": "lmp", "d": 11}, InfeasibleError, "d is from 1 to 10"),
        ({"method": "lrp", "arrangement": "minimal"}, SaoError, "method 'lrp' has none"),
        ({"looks_linear": True, "d": 5}, SaoError, "d 5 is odd"),
        ({"size": 0}, SaoError, "size 0"),
        ({"axes": -1}, SaoError, "-1 axes"),
        ({"scheme": "eco", "stride": 10**6}, MemoryLimitError, "a kernel of 10 x 10000000000000"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(options, error, text):
    with pytest.raises(error, match=text) as told:
        build_kernel(10, 10, **options)
    assert "\n" not in str(told.value)
