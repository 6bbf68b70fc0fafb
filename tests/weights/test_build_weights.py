"""Weights by name: every method's promise, gain, precision, looks-linear blocks, and values on given masks."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.precision import PRECISIONS
from sao_cli.masks.build_masks import mask_stack
from sao_cli.masks.sao import sao_mask
from sao_cli.masks.two_stage import two_stage_mask
from sao_cli.weights.build_weights import METHODS, VALUES, put_values, weight_stack

WIDTHS = [48, 48, 96, 48]


def singular_values(matrix):
    return np.linalg.svd(matrix.to_dense().astype(float), compute_uv=False)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_builds_a_stack_of_independent_layers(method):
    d = {"two-stage": 8, "biregular": 2}.get(method, 4)
    stack = weight_stack(WIDTHS, method=method, d=d, seed=3)
    assert [layer.shape for layer in stack] == [(m, n) for n, m in itertools.pairwise(WIDTHS)]
    again = weight_stack(WIDTHS, method=method, d=d, seed=3)
    assert stack == again
    other = weight_stack(WIDTHS, method=method, d=d, seed=4)
    assert not any(np.array_equal(one.values, two.values) for one, two in zip(stack, other, strict=True))
    for number, layer in enumerate(stack, 1):
        told = layer.mask.provenance
        assert (told["method"], told["layer"]) == (method, number)
        assert np.isfinite(layer.values).all()
        assert layer.values.all()


@pytest.mark.parametrize("method", ["sao", "dense", "eoi", "two-stage"])
@pytest.mark.parametrize(("m", "n"), [(48, 48), (48, 96), (96, 48)])
def test_the_orthogonal_methods_are_orthogonal_at_every_shape(method, m, n):
    [layer] = weight_stack([n, m], method=method, d=8)
    np.testing.assert_allclose(singular_values(layer), 1, atol=1e-13)


@given(st.sampled_from(["sao", "rg-n", "lmp", "dense"]), st.floats(1e-3, 1e3))
def test_gain_multiplies_every_weight(method, gain):
    [plain], [scaled] = (weight_stack([8, 8], method=method, d=2, gain=g) for g in (1.0, gain))
    np.testing.assert_allclose(scaled.values, gain * plain.values, rtol=1e-15)
    assert scaled.mask.provenance.get("gain", 1.0) == gain


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_values_are_exact_in_their_precision(dtype):
    torch = pytest.importorskip("torch")
    [full], [layer] = (weight_stack([64, 64], method="rg-n", dtype=name) for name in ("float64", dtype))
    rounded = torch.from_numpy(full.values.copy()).to(getattr(torch, dtype))
    np.testing.assert_array_equal(layer.values, rounded.double().numpy())
    assert layer.to_torch().dtype is getattr(torch, dtype)


def test_what_would_round_to_zero_stays_on_the_mask():
    [layer] = weight_stack([64, 64], gain=1e-9, dtype="float16")
    assert set(np.abs(layer.values)) == {2.0**-24}


@pytest.mark.parametrize(("m", "n", "d"), [(16, 16, 4), (8, 32, 8), (32, 8, 2)])
def test_looks_linear_layers_are_a_linear_layer_on_pairs(m, n, d):
    [layer] = weight_stack([n, m], d=d, looks_linear=True)
    dense = layer.to_dense()
    half = dense[: m // 2, : n // 2]
    np.testing.assert_array_equal(dense, np.block([[half, -half], [-half, half]]))
    np.testing.assert_array_equal(layer.mask.row_degrees, d)
    expected = np.zeros(min(m, n))
    expected[: len(expected) // 2] = 2
    np.testing.assert_allclose(singular_values(layer), expected, atol=1e-13)
    x = np.random.default_rng(0).standard_normal(n // 2)
    linear = 2 * half @ x
    through = np.maximum(dense @ np.concatenate([x, -x]), 0)
    np.testing.assert_allclose(through, np.maximum(np.concatenate([linear, -linear]), 0), atol=1e-13)


def test_looks_linear_keeps_the_default_degree_and_tells_true_sizes():
    [layer] = weight_stack([32, 32], looks_linear=True)
    told = layer.mask.provenance
    assert (told["m"], told["n"], told["c"], told["d"]) == (32, 32, 4, 4)
    [pruned] = weight_stack([32, 32], method="lmp", sparsity=0.9, looks_linear=True)
    assert pruned.mask.provenance["nnz"] == pruned.mask.nnz == 4 * round(0.1 * 256)


@pytest.mark.parametrize("values", VALUES)
def test_given_masks_keep_their_pattern_and_history(values):
    masks = mask_stack([12, 24, 12], d=4, seed=5)
    stack = put_values(masks, values=values, seed=7)
    for mask, layer in zip(masks, stack, strict=True):
        assert layer.mask == mask
        told = layer.mask.provenance
        assert (told["seed"], told["values_seed"], told["values"]) == (5, 7, values)
    assert not np.array_equal(stack[0].values, stack[1].values)


def test_values_on_a_mask_are_those_of_its_method():
    masks = mask_stack([64, 64], d=4, seed=2)
    assert put_values(masks, seed=2) == weight_stack([64, 64], d=4, seed=2)
    assert put_values(masks, values="normal", seed=2) == weight_stack([64, 64], d=4, method="rg-n", seed=2)


def test_two_stage_masks_from_anywhere_get_orthogonal_values():
    mask = two_stage_mask(32, 32, 4, seed=1)
    [layer] = put_values([Mask.from_dense(mask.to_dense())], seed=1)
    np.testing.assert_allclose(singular_values(layer), 1, atol=1e-13)
    assert layer == weight_stack([32, 32], method="two-stage", d=4, seed=1)[0]


def test_global_pruning_is_not_local_pruning():
    stack = weight_stack([20, 200, 20], method="gmp", sparsity=0.9)
    counts = [layer.mask.nnz for layer in stack]
    assert sum(counts) == 2 * round(0.1 * 4000)
    narrow = weight_stack([20, 20, 200], method="gmp", sparsity=0.9)
    assert narrow[0].mask.nnz / 400 > narrow[1].mask.nnz / 4000, "the small layer has the larger weights"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "soa"}, "did you mean 'sao'"),
        ({"method": "lmp", "values": "normal"}, "has values of its own"),
        ({"method": "eoi", "arrangement": "minimal"}, "arrangement 'minimal' is of SAO masks"),
        ({"gain": -1}, "gain -1"),
        ({"gain": float("inf")}, "gain inf"),
        ({"gain": 1e308, "d": 1, "method": "rg-n"}, "overflow"),
        ({"gain": 1e-323, "method": "dense"}, "vanish"),
        ({"gain": 1e6, "dtype": "float16"}, "overflows float16"),
        ({"dtype": "int8"}, "unknown dtype"),
        ({"looks_linear": True, "c": 3}, "c 3 is odd"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(SaoError, match=said):
        weight_stack([64, 64], **options)


def test_other_masks_have_no_orthogonal_values():
    mask = Mask.from_dense([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    with pytest.raises(SaoError, match="isometry"):
        put_values([mask])
    assert put_values([mask, sao_mask(4, 4, 2)], values="isometry")[1].mask.nnz == 8
