"""Chains of layers without needless units: the same outputs, and as few units as one removal after another leaves."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import SaoError
from sao_cli.catalog import ACTIVATIONS, PLAIN_ACTIVATIONS
from sao_cli.measure.layer.activations import ActivationFunction, activation_value
from sao_cli.measure.redundancy.features import (
    FeatureCounts,
    FeatureLayer,
    StatedBetween,
    feature_counts,
    reduce_features,
)
from sao_cli.measure.redundancy.multiples import multiples

FUNCTIONS = [
    *map(ActivationFunction, PLAIN_ACTIVATIONS),
    ActivationFunction("relu-tau", tau=0.5),
    ActivationFunction("relu-tau", tau=-0.5),
    ActivationFunction("soft-threshold", tau=0.5),
    ActivationFunction("crelu", tau=-0.5, clip=1.0),
    ActivationFunction("cst", tau=0.5, clip=1.0),
]
ANY, POSITIVE, SIGN, EQUAL = (lambda r: True), (lambda r: r > 0), (lambda r: abs(r) == 1), (lambda r: r == 1)
ADMITS = {  # by definition, apart from the code's
    "linear": ANY,
    **dict.fromkeys(("relu", "leaky-relu"), POSITIVE),
    **dict.fromkeys(("tanh", "erf", "hard-tanh", "soft-threshold", "cst"), SIGN),
    **dict.fromkeys(("silu", "gelu", "selu", "softplus", "sigmoid", "relu-tau", "crelu"), EQUAL),
}


def outputs(layers, between, x):
    for place, layer in enumerate(layers):
        weight = layer.weight.reshape(len(layer.weight), -1)
        x = x @ weight.T + (0 if layer.bias is None else layer.bias)
        if place < len(between):
            x = activation_value(between[place].activation, x)
    return x


def pruned_chain(rng, widths, density, biases=True, planted=True):
    """Random layers, most of them zeros, with rows that are multiples of others, in powers of 2 and so exactly."""
    layers = []
    for n, m in itertools.pairwise(widths):
        weight = rng.standard_normal((m, n)) * (rng.random((m, n)) < density)
        bias = rng.standard_normal(m) * (rng.random(m) < 0.5)
        if planted and layers is not None:
            for i in range(0, m - 1, 3):
                factor = rng.choice([1.0, -1.0, 2.0, -0.5, 0.25])
                weight[i], bias[i] = factor * weight[i + 1], factor * bias[i + 1]
        layers.append(FeatureLayer(weight, bias if biases else None))
    return layers


def one_by_one(layers, function):
    """The widths that are left when one needless unit after another is removed, with whole loops over all pairs."""
    weights = [[[Fraction(x) for x in row] for row in layer.weight.tolist()] for layer in layers]
    biases = [[0.0] * len(layer.weight) if layer.bias is None else layer.bias.tolist() for layer in layers]

    def removal():
        for place in range(len(weights) - 1):
            weight, bias, following = weights[place], biases[place], weights[place + 1]
            for i in range(len(weight)):
                column = [row[i] for row in following]
                if len(weight) == 1:
                    value = float(activation_value(function, bias[0]))
                    if not any(column) or any(weight[0]):
                        if not any(column) and any(weight[0]):
                            weight[0] = [Fraction(0)] * len(weight[0])
                            return True
                        continue
                    for k, v in enumerate(column):
                        biases[place + 1][k] += float(v) * value
                        following[k][0] = Fraction(0)
                    return True
                if not any(column):
                    return remove(place, i)
                if not any(weight[i]):
                    value = float(activation_value(function, bias[i]))
                    for k, v in enumerate(column):
                        biases[place + 1][k] += float(v) * value
                    return remove(place, i)
                for j in range(len(weight)):
                    if (ratio := exact_ratio([*weight[i], Fraction(bias[i])], [*weight[j], Fraction(bias[j])])) is None:
                        continue
                    if i != j and ADMITS[function.name](ratio):
                        for row in following:
                            row[j] += ratio * row[i]
                        return remove(place, i)
        return False

    def remove(place, i):
        del weights[place][i], biases[place][i]
        for row in weights[place + 1]:
            del row[i]
        return True

    while removal():
        pass
    return [len(weight) for weight in weights]


def exact_ratio(row, other):
    if [bool(x) for x in row] != [bool(x) for x in other]:
        return None
    ratios = {x / y for x, y in zip(row, other, strict=True) if y}
    return ratios.pop() if len(ratios) == 1 else None


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_a_pruned_chain_gives_the_same_outputs_with_as_few_units_as_one_by_one(function):
    rng = np.random.default_rng(5)
    merged = 0
    for density, biases in itertools.product((0.15, 0.3, 0.6), (True, False)):
        for _ in range(4):
            layers = pruned_chain(rng, (5, 7, 6, 7, 3), density, biases)
            between = [StatedBetween(function)] * 3
            smaller = reduce_features(layers, between)
            x = rng.standard_normal((20, 5))
            expected = outputs(layers, between, x)
            scale = max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(outputs(smaller.layers, between, x), expected, rtol=0, atol=1e-12 * scale)
            assert [len(layer.weight) for layer in smaller.layers] == one_by_one(layers, function)
            gone = np.array([smaller.merged, smaller.constant, smaller.unread]).sum(axis=0)
            assert [len(layer.weight) for layer in smaller.layers] == [
                len(layer.weight) - lost for layer, lost in zip(layers, gone, strict=True)
            ]
            assert [len(kept) for kept in smaller.kept] == [len(layer.weight) for layer in smaller.layers]
            merged += sum(smaller.merged)
    assert merged


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_it_is_a_fixed_point(function):
    rng = np.random.default_rng(6)
    for density in (0.1, 0.2, 0.4):
        layers = pruned_chain(rng, (6, 12, 12, 12, 4), density)
        between = [StatedBetween(function)] * 3
        once = reduce_features(layers, between)
        twice = reduce_features(once.layers, between)
        assert [len(layer.weight) for layer in twice.layers] == [len(layer.weight) for layer in once.layers]
        assert twice.unread_inputs == once.unread_inputs == (~once.layers[0].weight.any(axis=0)).sum()


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
@pytest.mark.parametrize("factor", [1.0, -1.0, 3.0, -3.0, 0.1])
def test_a_planted_multiple_merges_where_the_function_lets_its_factor_through_and_the_bias_has_it_too(function, factor):
    rng = np.random.default_rng(7)
    weight, bias = rng.standard_normal((4, 6)), rng.standard_normal(4)
    weight[2], bias[2] = factor * weight[0], factor * bias[0]
    following = rng.standard_normal((3, 4))
    x = rng.standard_normal((9, 6))

    def layers(bias):
        return [FeatureLayer(weight, bias), FeatureLayer(following, None)]

    admitted = ADMITS[function.name](factor)
    assert feature_counts(weight, bias, following, function) == (int(admitted), 0, 0)
    assert feature_counts(weight, bias, following) == (int(factor == 1), 0, 0)
    smaller = reduce_features(layers(bias), [StatedBetween(function)])
    np.testing.assert_allclose(
        outputs(smaller.layers, [StatedBetween(function)], x),
        outputs(layers(bias), [StatedBetween(function)], x),
        rtol=1e-12,
    )
    assert smaller.merged == (int(admitted), 0)
    unequal = [*bias[:2], bias[2] + 1e-9, bias[3]]
    assert feature_counts(weight, unequal, following, function) == (0, 0, 0)
    if factor < 0:
        assert reduce_features(layers(bias), [StatedBetween(function, pooled=True)]).merged == (0, 0)


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
def test_a_function_passes_the_factors_of_which_its_values_say_so(function):
    h = np.linspace(-7, 7, 1001)
    for factor in (1.0, -1.0, 2.0, 0.3, -2.0):
        seen = np.allclose(
            activation_value(function, factor * h), factor * activation_value(function, h), rtol=1e-12, atol=1e-14
        )
        assert function.passes(factor) == seen == ADMITS[function.name](factor)
    assert ActivationFunction("relu-tau", tau=0.0).passes(2.0)
    assert ActivationFunction("soft-threshold", tau=0.0).passes(-2.0)


def test_every_activation_is_tried():
    assert {function.name for function in FUNCTIONS} == set(ACTIVATIONS) == set(ADMITS)


def test_a_float32_multiple_is_one_after_rounding_and_no_other_is():
    rng = np.random.default_rng(8)
    base = rng.standard_normal((300, 40)).astype(np.float32)
    rows = np.concatenate([base, *(base * np.float32(r) for r in (0.3, 1.7, 11.1))])
    found = multiples(rows, POSITIVE, "float32")
    assert found.dropped.sum() == 900
    np.testing.assert_array_equal(found.of % 300, np.arange(1200) % 300)
    np.testing.assert_allclose(found.ratio[:, None] * rows[found.of], rows, rtol=4 * 2.0**-23)
    off = rows.copy()
    off[300:, 7] *= np.float32(1 + 2e-6)  # more than rounding does
    assert not multiples(off[:600], POSITIVE, "float32").dropped.any()
    assert not multiples(rows, POSITIVE, "float64").dropped[:300].any()


def test_half_precision_merges_no_more_than_single_does():
    rows = np.array([[0.333, 0.777, 0.123]]).astype(np.float16).astype(float)
    rounded = (rows * 0.7).astype(np.float16).astype(float)
    assert not multiples(np.concatenate([rows, rounded]), POSITIVE, "float16").dropped.any()
    assert multiples(np.concatenate([rows, rows * 0.5]), POSITIVE, "float16").dropped.sum() == 1


def test_rows_of_few_values_are_told_apart():
    """Whose sums tie more often than those of random numbers."""
    rng = np.random.default_rng(9)
    rows = rng.choice([-1.0, 0.0, 1.0], (400, 5))
    classes = {}
    for i, row in enumerate(rows):
        if row.any():
            classes.setdefault(tuple(row), []).append(i)
    found = multiples(rows, POSITIVE)
    assert found.dropped.sum() == sum(len(members) - 1 for members in classes.values())
    lines = {frozenset({row, tuple(-x for x in row)}) for row in classes}
    assert multiples(rows, ANY).dropped.sum() == sum(map(len, classes.values())) - len(lines)
    equal = len(rows) - len({tuple(row) for row in rows})
    assert multiples(rows, EQUAL).dropped.sum() == equal


@given(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=9))
def test_classes_against_all_pairs(numbers):
    rows = np.array(numbers, dtype=float)
    for admits in (ANY, POSITIVE, SIGN, EQUAL):
        found = multiples(rows, admits)
        np.testing.assert_array_equal(found.ratio[:, None] * rows[found.of], rows)
        assert (found.of[found.of] == found.of).all()
        for i, j in itertools.combinations(np.flatnonzero(rows.any(axis=1)), 2):
            ratio = exact_ratio([Fraction(x) for x in numbers[i]], [Fraction(x) for x in numbers[j]])
            assert (found.of[i] == found.of[j]) == (ratio is not None and admits(ratio))


def test_removals_travel_both_ways():
    """A dead last unit frees the units that it alone read, and a constant first one those that read it alone."""
    layers = [FeatureLayer(np.eye(4), np.zeros(4)) for _ in range(5)]
    layers[4].weight[:, 3] = 0
    layers[0].weight[0] = 0
    layers[0].bias[0] = -1.0
    smaller = reduce_features(layers, [StatedBetween(ActivationFunction("relu"))] * 4)
    assert smaller.unread == (1, 1, 1, 1, 0)
    assert smaller.constant == (1, 1, 1, 1, 0)
    assert [layer.weight.shape for layer in smaller.layers] == [(2, 4), (2, 2), (2, 2), (2, 2), (4, 2)]
    assert smaller.unread_inputs == 2
    assert smaller.kept[2].tolist() == [1, 2]


def test_a_network_that_reads_nothing_keeps_a_unit_a_layer_and_its_constant():
    layers = [FeatureLayer(np.zeros((3, 2)), np.ones(3)), FeatureLayer(np.ones((3, 3))), FeatureLayer(np.ones((2, 3)))]
    between = [StatedBetween(ActivationFunction("tanh"))] * 2
    smaller = reduce_features(layers, between)
    assert [layer.weight.shape for layer in smaller.layers] == [(1, 2), (1, 1), (2, 1)]
    assert not any(layer.weight.any() for layer in smaller.layers)
    np.testing.assert_allclose(smaller.layers[2].bias, 3 * math.tanh(3 * math.tanh(1)), rtol=1e-15)
    assert (smaller.constant, smaller.merged) == ((2, 0, 0), (0, 2, 0))


def test_kernels_taps_go_together_and_a_border_keeps_constants():
    rng = np.random.default_rng(10)
    kernel, bias = rng.standard_normal((4, 2, 9)), np.array([1.0, -1.0, 0.5, 2.0])
    kernel[:2] = 0
    reads = rng.standard_normal((3, 4, 9))
    relu = StatedBetween(ActivationFunction("relu"))
    free = reduce_features([FeatureLayer(kernel, bias), FeatureLayer(reads)], [relu])
    np.testing.assert_allclose(free.layers[1].bias, reads[:, 0].sum(axis=1))
    assert free.kept[0].tolist() == [2, 3]
    bordered = StatedBetween(ActivationFunction("relu"), bordered=True)
    padded = reduce_features([FeatureLayer(kernel, bias), FeatureLayer(reads)], [bordered])
    assert padded.kept[0].tolist() == [0, 2, 3]  # phi(-1) is 0, at a border too
    assert padded.layers[1].bias is None


def test_constants_before_a_border_merge_with_each_other():
    layers = [FeatureLayer(np.zeros((3, 1)), np.array([1.0, 2.0, 3.0])), FeatureLayer(np.ones((2, 3)))]
    smaller = reduce_features(layers, [StatedBetween(ActivationFunction("relu"), bordered=True)])
    np.testing.assert_allclose(smaller.layers[1].weight @ smaller.layers[0].bias, [6.0, 6.0])
    assert smaller.merged == (2, 0)


def test_units_that_are_several_things_count_once():
    weight = [[0.0, 0.0], [0.0, 0.0], [1.0, 2.0], [1.0, 2.0]]
    following = [[0.0, 1.0, 1.0, 0.0]]
    assert feature_counts(weight, None, following, "relu") == FeatureCounts(mergeable=0, constant=1, unread=2)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([np.ones((3, 2)), np.ones((2, 4))], "layer 2 reads 4 inputs, and the one before has 3 outputs"),
        ([np.array([[1.0, np.nan]]), np.ones((2, 1))], "layer 1 has numbers that are not finite"),
    ],
)
def test_what_is_refused(layers, said):
    with pytest.raises(SaoError, match=said):
        feature_counts(layers[0], None, layers[1])
    with pytest.raises(SaoError, match=said):
        reduce_features([FeatureLayer(one) for one in layers], [StatedBetween(ActivationFunction("relu"))])


def test_a_bias_of_another_length_is_refused():
    with pytest.raises(SaoError, match=r"layer 1: a bias of shape \(2,\) for 3 outputs"):
        feature_counts(np.ones((3, 2)), [1.0, 2.0], np.ones((1, 3)))
