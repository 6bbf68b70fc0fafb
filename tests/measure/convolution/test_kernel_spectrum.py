"""The facts of a convolution's spectrum by their definitions, and why an orthogonal scheme is none somewhere."""

import json
import math
from dataclasses import fields

import numpy as np
import pytest

from sao_cli.base.errors import FormatError
from sao_cli.data.kernel import Kernel
from sao_cli.data.matrix import Matrix
from sao_cli.measure.convolution.kernel_spectrum import kernel_spectrum
from sao_cli.measure.layer.spectrum import spectrum
from sao_cli.measure.values.facts import Comparison
from sao_cli.measure.values.ks import ks_test
from sao_cli.reports.spectra import LayerSpectrum
from sao_cli.weights.kernels.build_kernels import build_kernel

from .explicit import explicit_operator, explicit_values

NONE = Comparison(reference="none")


def test_the_facts_are_those_of_the_explicit_operator_as_a_layer():
    kernel = build_kernel(4, 3, 3, scheme="normal")
    found = kernel_spectrum(kernel, (6, 8), padding="zeros", stride=2)
    layer = spectrum(Matrix.from_dense(explicit_operator(kernel.values, (6, 8), "zeros", 2)))
    for name in ("m", "n", "sigma_max", "sigma_min", "mean", "std", "rank", "condition", "isometry_error",
                 "frobenius_norm", "stable_rank", "effective_rank", "exact"):  # fmt: skip
        assert getattr(found, name) == pytest.approx(getattr(layer, name), rel=1e-9), name
    assert found.ks.to_dict() == pytest.approx(layer.ks.to_dict())
    assert (found.output_image, found.stride, found.kernel) == ((3, 4), (2, 2), (4, 3, 3, 3))
    assert found.reshaped_sigma_max == pytest.approx(np.linalg.norm(kernel.values.reshape(4, 27), 2))
    keys = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {field.name for field in fields(LayerSpectrum) if field.repr} < set(keys)


def test_the_mask_s_facts_are_of_whole_kernels():
    kernel = build_kernel(16, 16, 3, scheme="eco", d=4)
    found = kernel_spectrum(kernel, 9, dilation=3)
    assert (found.method, found.scheme, found.nnz, found.sparsity, found.c, found.d) == ("sao", "eco", 64, 0.75, 4, 4)
    assert (found.rank, found.ks.pvalue, found.reason) == (1296, 1.0, None)
    assert found.isometry_error < 1e-13
    grouped = kernel_spectrum(np.ones((6, 2, 3)), 8, groups=3, comparison=NONE)
    assert (grouped.n, grouped.c, grouped.d) == (48, 2, 2)


def test_a_kernel_born_in_float32_is_measured_as_one():
    for scheme in ("delta", "eco"):
        kernel = build_kernel(16, 16, 3, scheme=scheme, d=4, dtype="float32")
        found = kernel_spectrum(kernel, 9, dilation=3)
        assert (found.rank, found.ks.pvalue, found.reason) == (1296, 1.0, None)
        assert 1e-12 < found.isometry_error < 1e-6


@pytest.mark.parametrize(
    ("kernel", "image", "options", "said"),
    [
        ({"scheme": "eco"}, 10, {"dilation": 3}, "10 does not divide 3 * 3"),
        ({"scheme": "eco"}, 9, {"dilation": 3, "padding": "zeros"}, "ECO kernels are orthogonal with circular padding"),
        ({"scheme": "eco", "c_out": 16}, 9, {"dilation": 3, "stride": 3}, "a stride leaves some out"),
        ({"scheme": "soc", "terms": 4}, 12, {"padding": "zeros"}, "SOC kernels are orthogonal with circular padding"),
        ({"size": 2}, 8, {"padding": "zeros"}, "reads zeros beyond the edge"),
        ({"size": 2}, 8, {"padding": "reflect"}, "reads some places twice"),
        ({"c_out": 16}, 8, {"stride": 2}, "leaves places unread"),
        ({"looks_linear": True}, 8, {}, "as many zeros"),
    ],
)
def test_an_orthogonal_scheme_says_why_it_is_no_isometry_there(kernel, image, options, said):
    given = build_kernel(**({"c_out": 8, "c_in": 8, "size": 3, "d": 4} | kernel))
    found = kernel_spectrum(given, image, comparison=NONE, **options)
    assert found.sigma_max - found.sigma_min > 1e-3
    (cause,) = [part for part in found.reason.split("; ") if not part.startswith("no condition number")]
    assert said in cause


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ({"scheme": "eco", "size": 2}, {"dilation": 4}),
        ({"scheme": "eco", "size": 1}, {"padding": "zeros"}),
        ({"scheme": "soc", "terms": 4}, {}),
        ({"size": 2}, {}),
        ({"c_in": 16}, {"stride": 2, "padding": "same"}),
        ({"gain": 1.5}, {}),
        ({"scheme": "normal"}, {"padding": "same"}),
    ],
)
def test_nothing_is_explained_where_it_is_one_or_never_was(kernel, options):
    given = build_kernel(**({"c_out": 8, "c_in": 8, "size": 3, "d": 4} | kernel))
    found = kernel_spectrum(given, 16 if kernel.get("terms") else 8, comparison=NONE, **options)
    assert found.reason is None
    bound = given.mask.provenance.get("error_bound", 0)
    if kernel.get("scheme") != "normal":
        assert np.abs(found.singular_values / kernel.get("gain", 1) - 1).max() <= bound + 1e-13


def test_a_reference_is_dense_a_law_or_a_kernel_on_the_same_image():
    one, other = (build_kernel(8, 8, 3, scheme="normal", seed=seed) for seed in (0, 1))
    found = kernel_spectrum(one, 8, padding="zeros", comparison=Comparison(reference=[other], name="other"))
    again = kernel_spectrum(other, 8, padding="zeros", comparison=NONE)
    np.testing.assert_array_equal(found.reference_values, again.singular_values)
    test = ks_test(found.singular_values, again.singular_values, resolution=found.ks.resolution, reference="other")
    assert found.ks == test
    law = kernel_spectrum(one, 8, comparison=Comparison(reference="marchenko-pastur"))
    assert law.ks.n2 is None
    assert law.ks.pvalue > 1e-3  # a Gaussian kernel's frequencies are Gaussian matrices
    for wrong in ([Matrix.from_dense(np.eye(8))], [one, other]):
        with pytest.raises(FormatError, match="a convolution is compared with one kernel"):
            kernel_spectrum(one, 8, comparison=Comparison(reference=wrong))
    with pytest.raises(FormatError, match="is a convolution kernel, and the layer a matrix"):
        spectrum(np.eye(8), comparison=Comparison(reference=[one]))


def test_a_large_isometry_is_compared_with_a_dense_one_without_a_matrix():
    found = kernel_spectrum(build_kernel(32, 32, 3, d=4), 64, padding="zeros")
    assert (found.m, found.n, found.ks.statistic) == (2**17, 2**17, 0.0)
    assert "asymptotic" in found.ks.note


def test_an_estimate_says_so_and_keeps_what_can_t_be_told_open():
    kernel = build_kernel(4, 4, 3, scheme="eco", d=2)
    found = kernel_spectrum(kernel, 9, padding="zeros", dilation=3, exact_cost=1.0)
    assert (found.exact, found.rank, found.sigma_min, found.condition) == (False, None, None, None)
    assert found.reason.startswith("stochastic density: ")
    assert "sigma_max a lower bound; too low by about" in found.reason
    assert (found.error_kind, found.density_error > 0) == ("estimate", True)
    exact = explicit_values(kernel.values, (9, 9), "zeros", dilation=3)
    assert found.sigma_max == pytest.approx(exact[0], rel=1e-9)
    assert found.frobenius_norm == pytest.approx(np.linalg.norm(exact), rel=1e-13)
    assert found.stable_rank == pytest.approx(np.square(exact / exact[0]).sum(), rel=1e-9)
    assert "circular padding only" in found.reason


def test_the_norm_is_between_the_reshaped_one_and_k_times_it():
    for seed in range(5):
        found = kernel_spectrum(build_kernel(4, 6, 3, scheme="normal", seed=seed), 12, stride=2, comparison=NONE)
        assert found.reshaped_sigma_max <= found.sigma_max <= 3 * found.reshaped_sigma_max


def test_a_kernel_of_zeros_has_a_spectrum_too():
    found = kernel_spectrum(Kernel.from_dense(np.zeros((2, 3, 3))), 5)
    assert (found.sigma_max, found.rank, found.reshaped_sigma_max) == (0.0, 0, 0.0)
    assert found.reason.startswith("the operator is zero")
    assert not math.isnan(found.mean)
