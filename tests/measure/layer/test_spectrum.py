"""The facts of a layer's spectrum by their definitions, and what its KS test must and must not tell apart."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.data.precision import rounded
from sao_cli.measure.layer.activations import activation_derivative
from sao_cli.measure.layer.spectrum import Comparison, compare_spectra, spectrum
from sao_cli.measure.values.ks import ks_test
from sao_cli.weights.build_weights import weight_stack
from sao_cli.weights.orthogonal import sao_weight

from .. import known_graphs as known


def layer(method, m=64, n=64, seed=0, **options):
    return weight_stack([n, m], method=method, seed=seed, **options)[0]


def in_dtype(weight, dtype):
    return Matrix(weight.mask, rounded(weight.values, dtype), dtype)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 50))
def test_the_facts_are_their_definitions(m, n, seed):
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.7)
    dense[0, 0] = 1.0
    found = spectrum(Matrix.from_dense(dense))
    values = np.linalg.svd(dense, compute_uv=False)
    np.testing.assert_allclose(found.singular_values, values, atol=1e-13)
    assert found.sigma_max == pytest.approx(values[0])
    assert found.rank == np.linalg.matrix_rank(dense)
    assert found.frobenius_norm == pytest.approx(np.linalg.norm(dense))
    assert found.stable_rank == pytest.approx(np.linalg.norm(dense) ** 2 / values[0] ** 2)
    shares = values[values > 1e-300] / values.sum()
    assert found.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    assert found.isometry_error == pytest.approx(np.abs(values - 1).max(), abs=1e-13)
    assert (found.mean, found.std) == (pytest.approx(values.mean()), pytest.approx(values.std(), abs=1e-12))
    assert found.nnz == np.count_nonzero(dense)
    if found.rank == min(m, n):
        assert found.condition == pytest.approx(np.linalg.cond(dense), rel=1e-6)
    else:
        assert found.condition is None
        assert f"rank {found.rank} of {min(m, n)}" in found.reason


def test_within_counts_what_is_near_one():
    found = spectrum(Matrix.from_dense(np.diag([1.04, 1.0, 0.96, 0.9])), comparison=Comparison(within=0.05))
    assert found.within.to_dict() == {"eps": 0.05, "fraction": 0.75}


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_no_square_overflows(scale):
    found = spectrum(Matrix.from_dense(scale * np.diag([3.0, 4.0])), comparison=Comparison(reference="none"))
    assert found.frobenius_norm == pytest.approx(5 * scale)
    assert found.stable_rank == pytest.approx(25 / 16)


def test_a_layer_of_zeros_has_no_condition_and_no_soft_rank():
    empty = Matrix(Mask.from_entries([], [], (3, 4)), np.zeros(0))
    found = spectrum(empty)
    assert (found.sigma_max, found.rank, found.condition, found.stable_rank, found.effective_rank) == (
        0.0,
        0,
        None,
        None,
        None,
    )
    assert "the Jacobian is zero" in found.reason
    assert found.ks.statistic == 1.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [64, 256, 1024, 4096])
def test_linear_sao_is_dense_whatever_it_was_born_in(n, dtype):
    found = spectrum(in_dtype(sao_weight(n, n, 4, seed=n), dtype))
    assert (found.ks.statistic, found.ks.pvalue) == (0.0, 1.0)
    assert found.isometry_error < 10 * math.sqrt(n) * (2.0**-52 if dtype == "float64" else 2.0**-23)


@pytest.mark.parametrize("n", [64, 512])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_sao_is_a_dense_layer_that_was_measured_too(n, dtype):
    """The reference is a QR in its own precision, whose singular values are off by its rounding."""
    rng = np.random.default_rng(1)
    dense = Matrix.from_dense(np.linalg.qr(rng.standard_normal((n, n)).astype(dtype))[0])
    weight = in_dtype(sao_weight(n, n, 4), np.dtype(dtype).name)
    found = spectrum(weight, comparison=Comparison(reference=[dense]))
    assert found.ks.pvalue == 1.0
    without = spectrum(weight, comparison=Comparison(reference=[dense], resolution=0.0))
    assert without.ks.statistic > 0, "without slack the test measures rounding"


@pytest.mark.parametrize("activation", ["tanh", "silu", "relu"])
def test_pvalues_of_sao_against_dense_are_a_null_distribution(activation):
    """P(p <= a) <= a for an exact test of two samples of one law, as many as 200 seeds can tell (three deviations)."""
    draws = {"sao": lambda seed: [sao_weight(64, 64, 4, seed=seed)]}
    pvalues = [
        compare_spectra(draws, [activation], input_std=0.9, seed=1000 + seed)[0].ks.pvalue for seed in range(200)
    ]
    for level in (0.01, 0.05, 0.1, 0.25, 0.5):
        slack = 3 * math.sqrt(level * (1 - level) / 200)
        assert np.mean(np.array(pvalues) <= level) <= level + slack
    if activation != "relu":  # whose two values tie, which makes the test a cautious one
        assert np.mean(np.array(pvalues) <= 0.5) > 0.3, "p-values that are never small tell nothing either"


@pytest.mark.parametrize("method", ["rg-s", "lmp", "lrp"])
def test_pruned_layers_have_nothing_of_a_dense_one(method):
    [row] = compare_spectra({method: lambda seed: weight_stack([256, 256], method=method, sparsity=0.992, seed=seed)})
    assert row.ks.statistic == 1.0
    assert f"{row.ks.pvalue:.4e}" == "4.2323e-153"


@pytest.mark.parametrize("method", ["rg-n", "rg-u"])
@pytest.mark.parametrize("gain", [1.0, 1.1])
def test_the_mean_square_of_linear_rg_singular_values_is_the_gain_squared(method, gain):
    """mean^2 + var = gain^2 E[phi'^2], phi' = 1: a mean of 4 * 2048 squares of variance 1/4 each."""
    found = spectrum(layer(method, 2048, 2048, d=4, gain=gain))
    spread = math.sqrt((2 if method == "rg-n" else 0.8) / (4 * 2048))
    assert found.mean**2 + found.std**2 == pytest.approx(gain**2, rel=4 * spread)


@pytest.mark.parametrize("method", ["rg-n", "rg-u"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "silu"])
def test_the_variance_identity_holds_under_activations(method, activation):
    """mean^2 + var = gain^2 E[phi'(h)^2], h ~ N(0, gain^2): up to order 1/d, since h and its weights hang together."""
    gain, d = 1.1, 64
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    exact = gain**2 * (activation_derivative(activation, gain * nodes) ** 2) @ weights / weights.sum()
    squares = []
    for seed in range(8):
        found = spectrum(layer(method, 512, 512, seed=seed, d=d, gain=gain), activation, seed=seed)
        squares.append(found.mean**2 + found.std**2)
    error = np.std(squares, ddof=1) / math.sqrt(len(squares))
    assert np.mean(squares) == pytest.approx(exact, abs=4 * error + 2 * exact / d)


def test_permuting_rows_and_columns_changes_no_singular_value():
    rng = np.random.default_rng(4)
    dense = layer("xnet", 40, 60, d=3).to_dense()
    shuffled = dense[rng.permutation(40)][:, rng.permutation(60)]
    for one in (shuffled, dense.T):
        np.testing.assert_allclose(
            spectrum(Matrix.from_dense(one)).singular_values,
            spectrum(Matrix.from_dense(dense)).singular_values,
            atol=1e-13,
        )


def test_gaussian_layers_follow_marchenko_and_pastur_and_sparse_ones_do_not():
    law = Comparison(reference="marchenko-pastur")
    dense = spectrum(layer("dense", 300, 500, values="normal"), comparison=law)
    sparse = spectrum(layer("rg-n", 3000, 5000, d=5), comparison=law)
    assert dense.ks.statistic < 0.01
    assert dense.ks.n2 is None
    assert sparse.ks.pvalue < 1e-6


def test_the_reference_goes_through_the_same_activation_with_an_input_of_its_own():
    weight = sao_weight(64, 64, 4)
    itself = Comparison(reference=[weight])
    assert spectrum(weight, comparison=itself).ks.pvalue == 1.0
    assert spectrum(weight, "tanh", comparison=itself).ks.statistic > 0
    given = spectrum(weight, "tanh", x=np.linspace(-1, 1, 64), comparison=itself)
    assert given.ks.statistic == 0


def test_the_statistic_is_that_of_the_values_themselves():
    found = spectrum(layer("rg-s", d=4), "silu")
    again = ks_test(found.singular_values, found.reference_values, resolution=found.ks.resolution)
    assert again.statistic == found.ks.statistic
    largest = max(found.sigma_max, found.reference_values[0])
    assert found.ks.resolution == pytest.approx(10 * math.sqrt(64) * 2.0**-52 * largest)


def test_rows_come_by_method_layer_and_activation_with_holms_correction():
    draws = {
        name: lambda seed, name=name: weight_stack([32, 32, 32], method=name, d=4, seed=seed) for name in ("sao", "lrp")
    }
    rows = compare_spectra(draws, ["linear", "relu"])
    assert [(row.method, row.layer, row.activation) for row in rows] == [
        (method, number, activation)
        for method in ("sao", "lrp")
        for number in (1, 2)
        for activation in ("linear", "relu")
    ]
    ordered = sorted(rows, key=lambda row: row.ks.pvalue)
    assert ordered[0].ks.pvalue_holm == pytest.approx(min(1, 8 * ordered[0].ks.pvalue))
    alone = compare_spectra({"sao": draws["sao"]}, comparison=Comparison(reference="none"))
    assert alone[0].ks is None


def test_repeats_tell_the_spread_and_each_is_the_seed_that_follows():
    draws = {"sao": lambda seed: [sao_weight(32, 32, 4, seed=seed)]}
    [row] = compare_spectra(draws, ["tanh"], repeats=12, seed=5)
    each = [compare_spectra(draws, ["tanh"], seed=5 + repeat)[0] for repeat in range(12)]
    pvalues = [one.ks.pvalue for one in each]
    assert row.ks == each[0].ks
    assert row.repeats.pvalue_median == pytest.approx(np.median(pvalues))
    assert [row.repeats.pvalue_5, row.repeats.pvalue_95] == pytest.approx(np.quantile(pvalues, [0.05, 0.95]).tolist())
    assert row.repeats.fraction_below_005 == np.mean(np.array(pvalues) < 0.05)
    assert each[0].repeats is None


def test_each_repeat_reads_its_own_input():
    weight = sao_weight(16, 16, 4)
    inputs = np.random.default_rng(2).standard_normal((3, 16))
    [row] = compare_spectra({"": lambda _: [weight]}, ["tanh"], inputs=inputs, repeats=3)
    assert row.method == "sao"
    np.testing.assert_array_equal(row.singular_values, spectrum(weight, "tanh", x=inputs[0]).singular_values)
    statistics = [spectrum(weight, "tanh", x=inputs[r], seed=r).ks.statistic for r in range(3)]
    assert row.repeats.statistic_median == np.median(statistics)


def test_a_reference_stack_is_compared_layer_by_layer():
    stack = weight_stack([16, 32, 8])
    rows = compare_spectra({"": lambda _: stack}, comparison=Comparison(reference=stack, name="itself"))
    assert [row.ks.statistic for row in rows] == [0, 0]
    with pytest.raises(SaoError, match="itself has 2 layers, and the stack 1"):
        compare_spectra({"": lambda _: stack[:1]}, comparison=Comparison(reference=stack, name="itself"))


def test_a_precision_that_can_tell_nothing_says_so():
    found = spectrum(in_dtype(layer("lmp", 256, 256, d=4), "bfloat16"))
    assert "count as equal" in found.ks.note


def test_bad_weights_are_refused_by_their_place():
    weight = sao_weight(8, 8, 2)
    with pytest.raises(FormatError, match="is a mask, a pattern without numbers"):
        spectrum(Matrix(weight.mask))
    with pytest.raises(FormatError, match="the reference given is a mask"):
        spectrum(weight, comparison=Comparison(reference=[Matrix(weight.mask)]))
    values = weight.values.copy()
    values[5] = np.nan
    with pytest.raises(FormatError, match="nan at row 3, column"):
        spectrum(replace(weight, values=values))
    with pytest.raises(FormatError, match="inf at row 1, column 2"):
        spectrum(np.array([[1.0, np.inf]]))


@pytest.mark.parametrize(
    "options", [{"gain": -1.0}, {"gain": 0.0}, {"within": -0.1}, {"resolution": math.nan}, {"reference": "dens"}]
)
def test_bad_comparisons_are_refused(options):
    with pytest.raises(SaoError, match=next(iter(options))):
        Comparison(**options)


def test_the_ecosystems_arrays_are_weights_too():
    torch = pytest.importorskip("torch")
    weight = sao_weight(8, 8, 2)
    for one in (weight.to_dense(), weight.to_scipy(), torch.from_numpy(weight.to_dense()), weight.to_torch()):
        assert spectrum(one).ks.pvalue == 1.0


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_estimates_hide_nothing_that_is_known(seed, activation):
    """One entry is twenty times as large: it is two values or none of 4100 quantiles, by what the starts see of it."""
    mask = known.random_lift(4, 4, 1025, 5)
    values = np.random.default_rng(6).standard_normal(mask.nnz)
    values[99] *= 20
    weight = Matrix(mask, values)
    x = np.random.default_rng(8).standard_normal(4100)
    found = spectrum(weight, activation, x=x, comparison=Comparison(reference="none"), seed=seed)
    jacobian = weight.to_scipy()
    if activation == "tanh":
        jacobian = scipy.sparse.diags_array(1 - np.tanh(jacobian @ x) ** 2) @ jacobian
    largest = scipy.sparse.linalg.svds(jacobian, 1, return_singular_vectors=False, random_state=0)[0]
    norm = scipy.sparse.linalg.norm(jacobian)
    assert (found.exact, found.error_kind) == (False, "estimate")
    assert 0 < found.density_error < 0.5
    assert found.sigma_max == pytest.approx(largest, rel=1e-9)
    assert found.sigma_max == found.singular_values[0]
    assert found.frobenius_norm == pytest.approx(norm, rel=1e-13)
    assert found.stable_rank == pytest.approx((norm / largest) ** 2, rel=1e-8)


def test_what_is_exact_has_no_density_error():
    found = spectrum(np.diag([2.0, 1.0]))
    assert (found.density_error, found.error_kind, found.frobenius_norm) == (None, None, pytest.approx(5**0.5))
