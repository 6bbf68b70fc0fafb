"""Pruned dense layers against a plain sort of all their weights, ties and whole stacks included."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError, SaoWarning
from sao_cli.masks.degrees import kept_entries
from sao_cli.masks.lrp import lrp_mask
from sao_cli.pruning.keep import keep_largest
from sao_cli.weights import pruned as pruning
from sao_cli.weights.orthogonal import dense_orthogonal
from sao_cli.weights.pruned import gmp_stack, lmp_weight, lrp_weight

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def first_of_the_largest(magnitudes, count):
    """By a full stable sort: descending, and equal ones in the order of their places."""
    return np.sort(np.argsort(-magnitudes, kind="stable")[:count])


def in_tenths(m, n, *, seed, layer):
    """A layer in which many weights have equal magnitudes, and none is 0."""
    dense = np.round(dense_orthogonal(m, n, seed=seed, layer=layer), 1)
    return np.where(dense == 0, 0.1, dense)


@given(st.lists(st.integers(0, 4) | st.floats(0, 4), min_size=1, max_size=40), st.data())
def test_keep_largest_is_a_full_sort_ties_included(magnitudes, data):
    magnitudes = np.array(magnitudes, float)
    count = data.draw(st.integers(1, magnitudes.size))
    np.testing.assert_array_equal(keep_largest(magnitudes, count), first_of_the_largest(magnitudes, count))


def test_keep_largest_at_size():
    magnitudes = np.random.default_rng(0).integers(0, 50, 200_000).astype(float)
    for count in (1, 3999, 100_000, 200_000):
        np.testing.assert_array_equal(keep_largest(magnitudes, count), first_of_the_largest(magnitudes, count))


@pytest.mark.parametrize("count", [0, -1, 4])
def test_keep_largest_refuses_what_there_is_not(count):
    with pytest.raises(InfeasibleError, match="1 to 3"):
        keep_largest(np.ones(3), count)


def assert_pruned(weight, dense, kept):
    """`weight` is `dense` at the places `kept` (row by row) and 0 elsewhere, and its mask has those ones alone."""
    expected = np.zeros(dense.size)
    expected[kept] = dense.ravel()[kept]
    np.testing.assert_array_equal(weight.to_dense(), expected.reshape(dense.shape))
    assert weight.mask.nnz == len(kept)


@given(SHAPES, st.data(), st.integers(0, 3), st.booleans())
def test_lmp_keeps_the_largest_of_the_dense_layer(shape, data, seed, tied):
    count = data.draw(st.integers(1, shape[0] * shape[1]))
    with pytest.MonkeyPatch.context() as patch:
        if tied:
            patch.setattr(pruning, "dense_orthogonal", in_tenths)
        dense = pruning.dense_orthogonal(*shape, seed=seed, layer=2)
        weight = lmp_weight(*shape, count, seed=seed, layer=2)
    assert_pruned(weight, dense, first_of_the_largest(abs(dense.ravel()), count))


@given(st.lists(SHAPES, min_size=1, max_size=6), st.data(), st.integers(0, 3), st.booleans())
def test_gmp_keeps_the_largest_of_the_whole_stack(shapes, data, seed, tied):
    total = sum(m * n for m, n in shapes)
    count = data.draw(st.integers(1, total))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", SaoWarning)
        if tied:
            patch.setattr(pruning, "dense_orthogonal", in_tenths)
        layers = [pruning.dense_orthogonal(m, n, seed=seed, layer=layer) for layer, (m, n) in enumerate(shapes, 1)]
        stack = gmp_stack(shapes, count, seed=seed)
    kept = first_of_the_largest(abs(np.concatenate([dense.ravel() for dense in layers])), count)
    start = 0
    for weight, dense in zip(stack, layers, strict=True):
        assert_pruned(weight, dense, kept[(kept >= start) & (kept < start + dense.size)] - start)
        start += dense.size
    assert sum(weight.mask.nnz for weight in stack) == count


def test_gmp_prunes_one_layer_as_lmp_does():
    [weight] = gmp_stack([(30, 20)], 77, seed=4)
    assert weight == lmp_weight(30, 20, 77, seed=4, layer=1)


def test_gmp_cuts_back_over_a_deep_stack():
    """What is held doubles many times on the way, so that the running threshold is at work."""
    shapes = [(24, 24)] * 40
    stack = gmp_stack(shapes, 500)
    layers = np.concatenate([dense_orthogonal(24, 24, layer=layer).ravel() for layer in range(1, 41)])
    kept = first_of_the_largest(abs(layers), 500)
    np.testing.assert_array_equal(np.concatenate([weight.values for weight in stack]), layers[kept])


def test_a_layer_that_loses_everything_is_named():
    """Entries of a Haar layer are about 1/sqrt(max(m, n)), so that the widest layers are the first to vanish."""
    with pytest.warns(SaoWarning, match=r"nothing is left of layer 1, layer 3: no signal passes \(layer collapse\)"):
        stack = gmp_stack([(200, 200), (2, 2), (150, 200)], 2)
    assert [weight.mask.nnz for weight in stack] == [0, 2, 0]
    assert [weight.shape for weight in stack] == [(200, 200), (2, 2), (150, 200)]
    with pytest.warns(SaoWarning, match="nothing is left of layer 2:"):
        gmp_stack([(2, 2), (100, 100)], 1)


def test_lrp_keeps_lrp_masks_places_of_the_same_dense_layer():
    weight = lrp_weight(30, 20, 100, seed=4, layer=3)
    assert weight.mask == lrp_mask(30, 20, 100, seed=4, layer=3)
    dense = dense_orthogonal(30, 20, seed=4, layer=3)
    assert_pruned(weight, dense, np.flatnonzero(weight.mask.to_dense()))


@pytest.mark.parametrize("build", [lmp_weight, lrp_weight])
def test_everything_kept_is_the_dense_layer_and_orthogonal(build):
    dense = build(20, 30, 600, seed=1).to_dense()
    np.testing.assert_array_equal(dense, dense_orthogonal(20, 30, seed=1))
    assert abs(dense @ dense.T - np.eye(20)).max() < 1e-14


def test_pruning_tells_where_a_weight_came_from():
    shared = {"m": 6, "n": 5, "c": None, "d": None, "seed": 3, "nnz": 7, "values": "pruned orthogonal"}
    for method, weight in {
        "lmp": lmp_weight(6, 5, 7, seed=3, layer=2),
        "lrp": lrp_weight(6, 5, 7, seed=3, layer=2),
        "gmp": gmp_stack([(9, 9), (6, 5)], 111, seed=3)[1],
    }.items():
        told = weight.mask.provenance
        assert (shared | {"method": method, "layer": 2, "nnz": weight.mask.nnz}).items() <= told.items()


@pytest.mark.parametrize("build", [lmp_weight, lrp_weight])
@pytest.mark.parametrize("count", [0, 13])
def test_a_layer_refuses_to_keep_what_there_is_not(build, count):
    with pytest.raises(InfeasibleError, match=f"of 3 x 4 keeps {count} weights; .*1 to 12"):
        build(3, 4, count)


def test_memory_is_asked_for_before_a_stack_is_drawn(monkeypatch):
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 10_000)
    with pytest.raises(MemoryLimitError, match="the 400 weights kept of a stack"):
        gmp_stack([(10, 10)] * 50, 400)


def test_a_stack_refuses_what_there_is_not():
    with pytest.raises(InfeasibleError, match="no stack of 2 layers keeps 8 weights; it has 1 to 7 to keep"):
        gmp_stack([(2, 2), (3, 1)], 8)
    with pytest.raises(InfeasibleError, match="no layers has nothing to prune"):
        gmp_stack([], 1)
    with pytest.raises(InfeasibleError, match="n = 0"):
        gmp_stack([(2, 2), (3, 0)], 1)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 0.999))
def test_a_sparsity_keeps_exactly_the_rounded_count(m, n, sparsity):
    expected = round((1 - sparsity) * (m * n))  # P is the whole product, as kappa has it
    if expected:
        assert kept_entries(m, n, sparsity=sparsity) == expected
    else:
        with pytest.raises(InfeasibleError, match=f"would keep none of its {m * n} weights; sparsity .* keeps one"):
            kept_entries(m, n, sparsity=sparsity)
        assert kept_entries(m, n, sparsity=1 - 1 / (m * n)) == 1


@pytest.mark.parametrize(
    ("m", "n", "target", "kept"),
    [(6, 9, {"d": 2}, 12), (6, 9, {"c": 5}, 45), (6, 9, {}, 24), (6, 3, {}, 18), (256, 256, {"sparsity": 0.98}, 1311)],
)
def test_degrees_keep_that_many_a_row_or_column(m, n, target, kept):
    assert kept_entries(m, n, **target) == kept


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({"d": 0}, "d is from 1 to 9"),
        ({"d": 10}, "d is from 1 to 9"),
        ({"c": 7}, "c is from 1 to 6"),
        ({"sparsity": 1.0}, "outside 0 <= sparsity < 1"),
        ({"sparsity": -0.1}, "outside 0 <= sparsity < 1"),
        ({"sparsity": float("nan")}, "outside 0 <= sparsity < 1"),
        ({"d": 2, "c": 3}, "give one of them"),
        ({"d": 2, "sparsity": 0.5}, "give one of them"),
    ],
)
def test_what_no_layer_can_keep_is_refused(target, told):
    with pytest.raises(SaoError, match=told):
        kept_entries(6, 9, **target)
