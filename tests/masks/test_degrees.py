"""Feasible degrees, against their definitions tried one by one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.catalog import MASK_METHODS, METHODS
from sao_cli.masks.build_masks import mask_stack
from sao_cli.masks.degrees import check_stack, divisors, feasible_degrees, resolve_degree
from sao_cli.weights.plan import plan

SIZES = st.integers(1, 60)


def by_definition(m, n, method):
    """Every d for which the rule of the method holds, without arithmetic shortcuts."""
    found = []
    for d in range(1, n + 1):
        whole_c = (m * d) % n == 0
        groups = n // d if n % d == 0 else 0
        grouped = whole_c and groups and m % groups == 0
        c = m * d // n
        if method == "biregular" and whole_c:
            found.append(d)
        if method == "sao" and grouped:
            found.append(d)
        if method == "ramanujan" and grouped and (groups == 1 or min(c, d) >= 2):
            found.append(d)
        if method == "radix" and any(
            m % g == 0 and n % g == 0 and any(g % r == 0 and d == r * n // g for r in range(1, g + 1))
            for g in range(1, min(m, n) + 1)
        ):
            found.append(d)
    return found


@given(SIZES, SIZES, st.sampled_from(["sao", "ramanujan", "biregular", "radix"]))
def test_feasible_degrees_are_those_that_the_rule_allows(m, n, method):
    assert list(feasible_degrees(m, n, method)) == by_definition(m, n, method)


@given(st.integers(1, 5000))
def test_divisors_divide_and_none_is_missed(number):
    assert divisors(number) == [k for k in range(1, number + 1) if number % k == 0]


@given(SIZES, SIZES, st.floats(0, 0.999))
def test_a_target_sparsity_takes_the_nearest_density(m, n, sparsity):
    d = resolve_degree(m, n, "sao", sparsity=sparsity)
    distances = [abs((1 - sparsity) - other / n) for other in feasible_degrees(m, n)]
    assert abs((1 - sparsity) - d / n) == pytest.approx(min(distances))


@pytest.mark.parametrize("method", [row.name for row in METHODS.values()])
def test_every_method_has_feasible_degrees(method):
    found = feasible_degrees(12, 24, method)
    assert len(found)
    assert list(found) == sorted(found)
    assert all(resolve_degree(12, 24, method, d=d) == d for d in found)


@pytest.mark.parametrize("method", ["rg-n", "rg-u", "rg-s"])
def test_methods_on_sao_masks_have_their_degrees(method):
    assert feasible_degrees(12, 18, method) == feasible_degrees(12, 18, "sao")


def test_degrees_of_an_unknown_method_are_refused():
    with pytest.raises(SaoError, match=r"^unknown method 'rammanujan'; did you mean 'ramanujan'\?"):
        feasible_degrees(8, 8, "rammanujan")


@pytest.mark.parametrize("method", [name for name in MASK_METHODS if name != "radix"])
def test_layers_that_may_each_have_their_degree_may_all_have_it(method):
    check_stack([(6, 6), (6, 6)], [2, 5], method)


def test_radix_layers_share_a_numeral_system():
    with pytest.raises(InfeasibleError, match="one common divisor of all widths"):
        check_stack([(4, 4), (9, 9)], [2, 3], "radix")


def test_c_and_d_name_the_same_degree():
    assert resolve_degree(512, 256, "sao", c=8) == resolve_degree(512, 256, "sao", d=4) == 4


def test_nothing_asked_means_the_nearest_to_four():
    assert resolve_degree(256, 256) == 4
    assert resolve_degree(10, 256) == 128


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"m": 300, "n": 784, "d": 4}, ["d = 4", "gcd(300, 784) = 4", "(75, 196)"]),
        ({"m": 300, "n": 784, "c": 7}, ["c = 7", "784*7 is not divisible by 300", "nearest feasible"]),
        ({"m": 8, "n": 8, "d": 9}, ["d = 9", "from 1 to 8"]),
        ({"m": 8, "n": 8, "d": 0}, ["d = 0"]),
        ({"m": 8, "n": 8, "c": -1}, ["c = -1"]),
        ({"m": 0, "n": 8}, ["m = 0"]),
        ({"m": 8, "n": -3}, ["n = -3"]),
        ({"m": 8, "n": 8, "sparsity": 1.0}, ["sparsity 1.0"]),
        ({"m": 8, "n": 8, "sparsity": float("nan")}, ["nan"]),
        ({"m": 2**40, "n": 2**40}, ["2**62"]),
        ({"m": 8, "n": 8, "d": 1, "method": "ramanujan"}, ["d = 1", "c >= 2 and d >= 2", "(2, 2)"]),
        ({"m": 6, "n": 4, "d": 3, "method": "biregular"}, ["multiple of 2"]),
        ({"m": 6, "n": 4, "d": 3, "method": "radix"}, ["no radix mask", "gcd(6, 4) = 2"]),
        ({"m": 8, "n": 8, "d": 3, "method": "two-stage"}, ["no two-stage mask", "k*q at least 8"]),
        ({"m": 8, "n": 8, "d": 3, "method": "rg-u"}, ["no rg-u mask", "gcd(8, 8) = 8"]),
        ({"m": 4, "n": 6, "c": 1, "method": "xnet"}, ["no xnet mask", "on the mean"]),
        ({"m": 4, "n": 6, "d": 3, "method": "dense"}, ["no dense mask", "all ones, so d is 6"]),
    ],
)
def test_what_can_not_be_is_refused_with_the_value_the_rule_and_the_nearest(arguments, said):
    with pytest.raises(InfeasibleError) as caught:
        resolve_degree(**arguments)
    assert all(text in str(caught.value) for text in said), str(caught.value)


def test_two_targets_are_refused():
    with pytest.raises(SaoError, match="give one of them"):
        resolve_degree(8, 8, d=2, sparsity=0.5)


def test_plan_agrees_with_the_masks_that_are_built():
    widths = [784, 512, 256, 256, 10]
    planned = plan(widths, sparsity=0.98)
    masks = mask_stack(widths, sparsity=0.98)
    assert [(row.m, row.n) for row in planned] == [mask.shape for mask in masks]
    assert [row.parameters for row in planned] == [mask.nnz for mask in masks]
    assert [row.sparsity for row in planned] == pytest.approx([mask.sparsity for mask in masks])
    assert all(set(row.column_degrees.tolist()) == {planned[i].c} for i, row in enumerate(masks))


def test_plan_without_a_target_only_lists():
    (row,) = plan([12, 18])
    assert row.feasible == (2, 4, 6, 12)
    assert row.d is row.c is row.sparsity is row.parameters is None
    assert math.gcd(12, 18) == 6
