"""Decimal digits and float64 against Python's own float and repr, which are exact."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.io.formats.text.decimals import rounded_products, shortest_digits

EDGES = np.array([2.0**power for power in range(-13, 54)] + [float(f"1e{power}") for power in range(-4, 16)])


RNG = np.random.default_rng(6)
SPREAD = 10.0 ** RNG.uniform(-4, 16, 8000)
SHORT = RNG.integers(1, 10**7, 8000) / 10.0 ** RNG.integers(0, 8, 8000) + 1e-4
FAMILIES = {  # values that repr writes without an exponent, and how many at least must be known
    "normal": (RNG.standard_normal(8000) + 6, 1.0),
    "spread": (-SPREAD, 0.97),
    "short": (SHORT, 1.0),
    "next to short": ((SHORT.view(np.int64) + RNG.integers(-3, 4, 8000)).view(np.float64), 0.99),
    "few bits": (RNG.standard_normal(8000).astype(np.float16).astype(np.float64) + 8, 0.99),
    "float32": (np.float64(np.float32(SPREAD)), 0.9),
    "integers": (RNG.integers(1, 10**16, 8000).astype(np.float64), 1.0),
    "edges": (np.concatenate([EDGES, np.nextafter(EDGES, np.inf), np.nextafter(EDGES[1:], 0)]), 0.97),
}


def repr_digits(value):
    """Digits and place of the first, as shortest_digits gives them, from repr."""
    whole, fraction = repr(abs(value)).split(".")
    digits = (whole + fraction).lstrip("0")
    place = len(whole) - 1 if whole != "0" else len(digits) - len(fraction) - 1
    return int(digits.ljust(17, "0")[:17]), place


def digits_are_right(values):
    """Where shortest_digits claims to know them; that it is right there is asserted."""
    digits, places, known = shortest_digits(values)
    found = list(zip(digits[known].tolist(), places[known].tolist(), strict=True))
    assert found == [repr_digits(value) for value in values[known].tolist()]
    return known


@pytest.mark.parametrize("family", FAMILIES)
def test_digits_are_those_of_repr(family):
    values, least_known = FAMILIES[family]
    assert digits_are_right(values).mean() >= least_known


@given(st.lists(st.floats(), max_size=5))
def test_what_has_an_exponent_is_not_claimed(values):
    known = digits_are_right(np.array(values))
    assert all(1e-4 <= abs(value) < 1e16 for value in np.array(values)[known])


def products(digits, exponents):
    return np.array([float(f"{a}e{b}") for a, b in zip(digits.tolist(), exponents.tolist(), strict=True)])


def test_products_are_those_of_float():
    rng = np.random.default_rng(7)
    digits = rng.integers(0, 2**64 - 1, 30_000, np.uint64, endpoint=True) >> rng.integers(0, 64, 30_000).astype(
        np.uint64
    )
    exponents = rng.integers(-280, 281, 30_000)
    values, known = rounded_products(digits, exponents)
    np.testing.assert_array_equal(values[known], products(digits, exponents)[known])
    assert not known[np.abs(exponents) > 270].any()
    assert known[np.abs(exponents) <= 270].mean() > 0.99


def test_products_next_to_the_middle_of_two_floats():
    """The 19 digits below a middle and those above are off it by less than 1e-18 of it; only the middle is unknown."""
    rng = np.random.default_rng(8)
    lower = np.abs(rng.standard_normal(3000)) * 10.0 ** rng.integers(-30, 30, 3000)
    digits, exponents, ties = [], [], []
    for a, b in zip(lower.tolist(), np.nextafter(lower, np.inf).tolist(), strict=True):
        middle = (Fraction(a) + Fraction(b)) / 2
        exponent = len(str(int(middle))) - 19 if middle >= 1 else -18 - len(str(int(1 / middle)))
        units = middle / Fraction(10) ** exponent
        digits += [int(units), int(units) + 1]
        exponents += [exponent, exponent]
        ties += [units.denominator == 1, False]
    digits, exponents = np.array(digits, np.uint64), np.array(exponents)
    values, known = rounded_products(digits, exponents)
    np.testing.assert_array_equal(values[known], products(digits, exponents)[known])
    assert known.tolist() == [not tie for tie in ties]
    assert any(ties)


def test_ties_are_not_claimed():
    digits = np.array([2**53 + 1, 2**54 + 2, 2**53 + 2, 0], np.uint64)
    assert rounded_products(digits, np.zeros(4, np.int64))[1].tolist() == [False, False, True, True]


def test_nothing_gives_nothing():
    nothing = np.empty(0)
    assert [len(part) for part in shortest_digits(nothing)] == [0, 0, 0]
    assert [len(part) for part in rounded_products(nothing.astype(np.uint64), nothing.astype(np.int64))] == [0, 0]
