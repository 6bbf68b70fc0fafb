"""An audit's row: every fact by a second route, on arrays in their own precision, matrices and kernels."""

import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import rounded
from sao_cli.measure.convolution.kernel_spectrum import kernel_spectrum
from sao_cli.measure.graph.expansion import expansion
from sao_cli.measure.layer.spectrum import spectrum
from sao_cli.measure.values.by_array import dense_singular_values
from sao_cli.measure.values.facts import Comparison
from sao_cli.models.audit import layer_values
from sao_cli.models.audit import row as audit
from sao_cli.models.audit.reasons import ALL_ONES, MANY_ONES, NO_IMAGE
from sao_cli.models.audit.row import audit_weight, skipped_row, too_large
from sao_cli.weights.orthogonal import sao_weight

GRAPH = ("biregular", "row_degree", "column_degree", "components", "connected", "dead_inputs", "dead_outputs")
VERDICTS = ("lambda_2", "bound", "ramanujan", "ramanujan_paper")
SPECTRUM = (
    *("sigma_max", "sigma_min", "mean", "std", "rank", "condition", "frobenius_norm", "stable_rank"),
    *("effective_rank", "isometry_error"),
)


def gaussian(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def orthogonal(n, seed=0):
    return np.linalg.qr(gaussian(n, n, seed=seed, dtype=np.float64))[0]


def facts(row, keys):
    return {key: getattr(row, key) for key in keys}


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["f4", "f8"]), st.integers(0, 50))
def test_it_says_of_an_array_what_verify_and_spectrum_say(m, n, dtype, seed):
    rng = np.random.default_rng(seed)
    dense = (rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.6)).astype(dtype)
    dense[0, 0] = 1.0
    row = audit_weight(dense, name="layer")
    expected = spectrum(Matrix.from_dense(dense))
    slack = 1e-6 if dtype == "f4" else 1e-12
    for key, value in facts(expected, SPECTRUM).items():
        if key == "condition" and value is not None:
            slack *= value
        found = getattr(row, key)
        assert found is None if value is None else found == pytest.approx(value, rel=max(1e-5, slack), abs=slack)
    assert facts(row, GRAPH) == facts(expansion(Mask.from_dense(dense)), GRAPH)
    if row.nnz < m * n:
        assert facts(row, VERDICTS) == facts(expansion(Mask.from_dense(dense)), VERDICTS)
    else:
        assert facts(row, VERDICTS) == dict.fromkeys(VERDICTS)
        assert row.reason.startswith(ALL_ONES)
    assert (row.nnz, row.sparsity) == (np.count_nonzero(dense), 1 - np.count_nonzero(dense) / dense.size)
    assert row.scale == pytest.approx(np.linalg.norm(dense) / math.sqrt(min(m, n)), rel=1e-6)


def test_a_dense_array_costs_no_sparse_matrix(monkeypatch):
    monkeypatch.setattr(layer_values, "measured_singular_values", None)
    monkeypatch.setattr(audit, "expansion", None)
    dense = gaussian(60, 40)
    row = audit_weight(dense, name="layer")
    np.testing.assert_allclose(row.singular_values, np.linalg.svd(dense.astype(float), compute_uv=False), rtol=1e-6)
    assert (row.m, row.n, row.row_degree, row.column_degree) == (60, 40, (40, 40), (60, 60))
    assert (row.connected, row.components, row.sparsity) == (True, 1, 0.0)


@pytest.mark.parametrize("dead", [False, True])
def test_a_large_mask_with_few_zeros_is_told_by_its_degrees(dead, monkeypatch):
    monkeypatch.setattr(audit, "SMALL", 100)
    dense = gaussian(40, 30)
    dense[::7, 3] = 0
    if dead:
        dense[5], dense[:, 8] = 0, 0
    expected = audit_weight(Matrix.from_dense(dense), name="layer")
    monkeypatch.setattr(audit, "expansion", None)
    row = audit_weight(dense, name="layer")
    assert facts(row, GRAPH) == facts(expected, GRAPH) == facts(expansion(Mask.from_dense(dense)), GRAPH)
    assert (row.lambda_2, row.connected) == (None, not dead)
    assert MANY_ONES in row.reason
    np.testing.assert_allclose(row.singular_values, np.linalg.svd(dense.astype(float), compute_uv=False), atol=1e-6)


def test_halves_that_do_not_meet_are_two_components(monkeypatch):
    monkeypatch.setattr(audit, "SMALL", 10)
    dense = np.zeros((12, 12))
    dense[:10, :10] = dense[10:, 10:] = 1
    assert audit_weight(dense, name="layer").components == 2


@pytest.mark.parametrize("weight", ["array", "Matrix"])
def test_dead_rows_and_columns_are_exact_zeros(weight):
    dense = gaussian(30, 20)
    dense[:, :4] = 0
    dense[7] = 0
    row = audit_weight(dense if weight == "array" else Matrix.from_dense(dense), name="layer")
    assert row.singular_values[16:].tolist() == [0] * 4
    assert (row.dead_inputs, row.dead_outputs, row.rank, row.sigma_min) == (4, 1, 16, 0.0)
    assert "rank 16 of 20" in row.reason


def test_an_sao_layer_is_taken_apart_and_found_isometric():
    weight = sao_weight(64, 48, 6, seed=3)
    for given_as in (weight, weight.to_dense()):
        row = audit_weight(given_as, name="layer")
        assert row.isometry_error < 1e-12
        assert (row.components, row.biregular, row.ramanujan, row.ramanujan_paper) == (8, True, False, True)
        assert (row.ks.pvalue, row.ks.reference, row.ks_sao.reference, row.sao_degree) == (1.0, "dense", "sao", 6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("gain", [1.0, 0.05, 30.0])
def test_the_ks_test_judges_the_shape_of_the_spectrum_and_not_its_size_or_precision(dtype, gain):
    stored = rounded(gain * orthogonal(96), dtype).astype("f2" if dtype == "float16" else "f4")
    stored = gain * orthogonal(96) if dtype == "float64" else stored
    row = audit_weight(stored, name="layer", dtype=dtype)
    assert row.scale == pytest.approx(gain, rel=0.01)
    assert (row.ks.pvalue, row.ks_sao.pvalue, row.dtype) == (1.0, 1.0, dtype)
    other = audit_weight(gain * gaussian(96, 96) / 10, name="layer")
    assert other.ks.pvalue < 1e-10


@pytest.mark.parametrize(("dtype", "n"), [("bfloat16", 200), ("float16", 200), ("float32", 60)])
def test_the_error_covers_what_rounding_did(dtype, n):
    dense = gaussian(n, n, dtype=np.float64)
    stored = rounded(dense, dtype).astype(np.float32)
    row = audit_weight(stored, name="layer", dtype=dtype)
    moved = np.abs(row.singular_values - np.linalg.svd(dense, compute_uv=False)).max()
    assert moved < row.error < (30 if dtype != "float32" else 1000) * moved
    assert row.rank == n


def test_small_numbers_count_as_zeros_everywhere():
    dense = gaussian(12, 12)
    dense[0, :6] = 0
    dense[1] = 1e-5
    for weight in (dense, Matrix.from_dense(dense)):
        row = audit_weight(weight, name="layer", threshold=1e-4)
        small = (np.abs(dense) <= 1e-4) & (dense != 0)
        assert row.near_zero == small.sum() / 144
        assert row.nnz == 144 - 6 - small.sum()
        assert (row.dead_outputs, row.singular_values[-1]) == (1, 0.0)
    assert dense[1, 0] == np.float32(1e-5)


def test_no_sao_layer_is_near_some_sparsities():
    dense = gaussian(7, 7) * np.tri(7, k=-3)  # 10 of 49 ones, and K = 1 or 7
    assert audit_weight(dense, name="layer").sao_degree == 1
    dense[dense != 0] = np.where(np.arange(10) < 4, 1.0, 0.0)
    row = audit_weight(dense, name="layer")
    assert (row.nnz, row.sao_degree, row.ks_sao) == (4, None, None)
    assert row.ks is not None
    assert audit_weight(gaussian(6, 5), name="layer").sao_degree == 5


def test_large_ones_are_estimated_but_for_the_norm(monkeypatch):
    monkeypatch.setattr(layer_values, "dense_singular_values", partial(dense_singular_values, exact_side=32))
    dense = gaussian(80, 60)
    row = audit_weight(dense, name="layer")
    assert (row.exact, row.sigma_min, row.rank, row.condition, row.error) == (False, None, None, None, None)
    assert 0 < row.density_error < 1
    assert row.frobenius_norm == pytest.approx(np.linalg.norm(dense), rel=1e-5)
    assert row.sigma_max == pytest.approx(np.linalg.norm(dense, 2), rel=1e-5)
    assert row.stable_rank == pytest.approx((row.frobenius_norm / row.sigma_max) ** 2)
    assert (row.error_kind, audit_weight(dense[:9, :9], name="layer").error_kind) == ("estimate", "estimate")
    assert "stochastic density" in row.reason
    assert "estimated density" in row.ks.note


def test_a_kernel_has_a_spectrum_on_an_image_only():
    dense = gaussian(6, 4, 3, 3)
    dense[:, 1] = 0
    bare = audit_weight(dense, name="conv")
    assert (bare.kind, bare.m, bare.n, bare.nnz, bare.kernel_sparsity) == ("kernel", 6, 4, 162, 0.25)
    assert (bare.dead_inputs, bare.sigma_max, bare.ks) == (1, None, None)
    assert NO_IMAGE in bare.reason
    assert bare.reshaped_sigma_max == pytest.approx(np.linalg.norm(dense.reshape(6, -1), 2), rel=1e-6)
    kernel = Kernel.from_dense(dense)
    for given_as in (dense, kernel):
        row = audit_weight(given_as, name="conv", image=5, stride=2)
        expected = kernel_spectrum(kernel, 5, padding="zeros", stride=2, comparison=Comparison(reference="none"))
        assert facts(row, SPECTRUM) == pytest.approx(facts(expected, SPECTRUM))
        options = ("image", "output_image", "padding", "stride", "dilation")
        assert facts(row, options) == facts(expected, options)
        assert row.scale == pytest.approx(math.sqrt(np.square(expected.singular_values).mean()))
        assert row.ks.pvalue < 1e-3


def test_a_kernel_is_measured_exactly_for_seconds_only(monkeypatch):
    dense = gaussian(6, 4, 3, 3)
    exact = audit_weight(dense, name="conv", image=5)
    assert (exact.exact, exact.sigma_min is None) == (True, False)
    monkeypatch.setattr(layer_values, "EXACT_COST", 100.0)
    row = audit_weight(dense, name="conv", image=5)
    assert (row.exact, row.sigma_min, row.rank) == (False, None, None)
    assert row.sigma_max == pytest.approx(exact.sigma_max, rel=1e-6)
    assert row.frobenius_norm == pytest.approx(exact.frobenius_norm)
    assert "would take too long" in row.reason
    assert kernel_spectrum(Kernel.of(dense), 5, padding="zeros").exact


def test_groups_join_each_output_to_its_own_channels():
    row = audit_weight(gaussian(6, 1, 3), name="depthwise", groups=3, image=7)
    assert (row.m, row.n, row.components, row.groups, row.kernel_sparsity) == (6, 3, 3, 3, 0.0)
    assert (row.row_degree, row.column_degree, row.ramanujan_paper) == ((1, 1), (2, 2), True)
    assert row.sigma_max is not None


@pytest.mark.parametrize(
    "error", [np.linalg.LinAlgError("SVD did not converge"), ValueError("bad"), ZeroDivisionError("of 0")]
)
@pytest.mark.parametrize(
    ("axes", "fails", "left"), [(2, "_singular_values", 1), (3, "_operator", 1), (2, "expansion", None)]
)
def test_numerics_that_fail_on_one_tensor_are_its_reason(monkeypatch, error, axes, fails, left):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(audit if fails == "expansion" else layer_values, fails, fail)
    row = audit_weight(np.tril(np.ones((4, 6))).reshape(4, 6, *[1] * (axes - 2)), name="w", image=5)
    assert f"it could not be measured: {error}" in row.reason
    assert (row.nnz, row.skipped) == (10, False)
    assert (row.components, row.sigma_max is None) == (left and 3, left is not None)


def test_an_image_that_does_not_fit_leaves_the_graph():
    row = audit_weight(gaussian(4, 4, 3, 3), name="conv", image=(5, 5, 5))
    assert (row.connected, row.sigma_max) == (True, None)
    assert "kernel with 2 axes" in row.reason


def test_a_zero_matrix_has_no_scale():
    row = audit_weight(np.zeros((3, 4), dtype=np.float32), name="layer")
    assert (row.sparsity, row.components, row.sigma_max, row.rank, row.ks, row.ks_sao) == (1.0, 7, 0.0, 0, None, None)
    assert "the matrix is zero" in row.reason


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_no_square_overflows(scale):
    row = audit_weight(np.float32(scale) * np.diag([3, 4]).astype(np.float32), name="layer")
    assert row.frobenius_norm == pytest.approx(5 * scale, rel=1e-6)
    wide = audit_weight(1e200 * np.diag([3.0, 4.0]), name="layer")
    assert wide.frobenius_norm == pytest.approx(5e200)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.array([[1.0, np.nan], [np.inf, 0.0]], dtype=np.float32), "2 of 4 numbers are NaN or infinite"),
        (np.zeros((0, 3)), "it is empty"),
        (np.zeros(3), "a matrix has 2 axes"),
        (np.zeros((2, 2), dtype=complex), "of type complex128"),
        (Matrix(Mask.from_dense(np.eye(2)), np.array([1.0, np.nan])), "NaN or infinite"),
    ],
)
def test_what_is_no_weight_is_refused_in_a_line(weight, message):
    with pytest.raises(FormatError, match=message) as caught:
        audit_weight(weight, name="layer")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": -1.0}, "threshold -1"),
        ({"threshold": math.nan}, "threshold nan"),
        ({"dtype": "float31"}, "did you mean 'float32'"),
        ({"groups": 2}, "2 groups for a matrix"),
        ({"max_size": 3}, "too large: 4 numbers"),
        ({"max_size": 0}, "max_size 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SaoError, match=message):
        audit_weight(np.eye(2), name="layer", **options)
    with pytest.raises(FormatError, match="3 groups for 4 output channels"):
        audit_weight(np.ones((4, 2, 3)), name="conv", groups=3)


def test_rows_are_strict_json_with_the_same_keys_skipped_or_not():
    row = audit_weight(gaussian(5, 4), name="layer").to_dict()
    json.dumps(row, allow_nan=False)
    skipped = skipped_row("norm", [4], "float32", "1-D").to_dict()
    assert list(row) == list(skipped)
    assert "singular_values" not in row
    assert {key for key, value in skipped.items() if value not in (None, [])} == {
        "record",
        "name",
        "shape",
        "dtype",
        "skipped",
        "reason",
    }
    assert too_large((10, 10), None) is None
    assert too_large((10, 10), 100) is None


def test_a_kernel_of_one_tap_is_its_matrix_on_any_image():
    dense = np.random.default_rng(5).standard_normal((6, 9))
    bare, matrix = (audit_weight(weight, name="w") for weight in (dense[:, :, None, None], dense))
    larger = audit_weight(dense[:, :, None, None], name="w", image=4, stride=2)
    assert NO_IMAGE not in (bare.reason or "")
    for name in ("sigma_max", "sigma_min", "rank", "stable_rank", "isometry_error"):
        assert getattr(bare, name) == pytest.approx(getattr(matrix, name), rel=1e-12)
    assert (larger.sigma_max, larger.rank) == (pytest.approx(bare.sigma_max), 4 * bare.rank)


def test_fast_estimates_what_is_large_and_nothing_else(monkeypatch):
    monkeypatch.setattr(layer_values, "FAST_SIDE", 60)
    rng = np.random.default_rng(0)
    large, small = (rng.standard_normal((size, 2 * size)).astype(np.float32) for size in (80, 60))
    pruned = np.where(np.abs(large) > 1, large, 0)
    assert audit_weight(small, name="w", fast=True).to_dict() == audit_weight(small, name="w").to_dict()
    for dense in (large, pruned):
        fast, exact = audit_weight(dense, name="w", fast=True), audit_weight(dense, name="w")
        assert (fast.exact, fast.sigma_min, fast.rank, exact.exact) == (False, None, None, True)
        assert 0.98 * exact.sigma_max < fast.sigma_max <= exact.sigma_max
        assert (fast.frobenius_norm, fast.nnz, fast.lambda_2) == (exact.frobenius_norm, exact.nnz, exact.lambda_2)
        assert fast.stable_rank == pytest.approx(exact.stable_rank, rel=0.04)
        assert fast.mean == pytest.approx(exact.mean, abs=2 * fast.density_error * exact.sigma_max)
        assert "stochastic density" in fast.reason
    kernel = rng.standard_normal((70, 70, 3, 3)).astype(np.float32)
    assert audit_weight(kernel, name="w", fast=True).reshaped_sigma_max == pytest.approx(
        audit_weight(kernel, name="w").reshaped_sigma_max, rel=0.02
    )
