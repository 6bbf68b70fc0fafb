"""Verdicts: what they say of any numbers, and that they never call reproduced what is not."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sao_cli.study.papers.cells import CLAIM, DRAWN, EXACT, LAW, Cell, CellGroup
from sao_cli.study.papers.paper_verdicts import finite, is_within, order_told, printed, summary, verdict

SAME = CellGroup(cells=(), seeds=3, data="mnist", own_data="mnist")
values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6)
kinds = st.sampled_from([DRAWN, EXACT, LAW])


@st.composite
def decimals(draw):
    """A number as it may be printed."""
    digits = draw(st.integers(-999, 999))
    return f"{Decimal(digits).scaleb(draw(st.integers(-4, 2))):f}" if draw(st.booleans()) else f"{digits}E-7"


@given(decimals())
def test_a_printed_number_rounds_back_to_what_is_printed(text):
    low, high = printed(text)
    step = Decimal(1).scaleb(Decimal(text).as_tuple().exponent)
    inside = Decimal(low) + (Decimal(high) - Decimal(low)) * Decimal("0.4999")
    assert low <= float(text) <= high
    assert inside.quantize(step) == Decimal(text)
    assert (high - low) == pytest.approx(float(step))


@given(decimals(), values, kinds)
def test_reproduced_is_what_the_spread_holds_on_the_paper_s_data_at_its_scale(text, found, kind):
    said, _ = verdict(Cell(label="a", paper=text, kind=kind), SAME, found)
    low, high = printed(text)
    inside = not (max(found) < low or min(found) > high)
    assert (said == "reproduced") is inside is is_within(text, found)
    if not inside:
        assert said == ("not reproduced" if kind == DRAWN else "refuted")


@given(decimals(), values, st.sampled_from([DRAWN, EXACT, LAW, CLAIM]), st.booleans(), st.booleans())
def test_other_data_and_other_scales_are_never_reproduced_nor_refuted(text, found, kind, data, scale):
    part = replace(SAME, data="digits" if data else "mnist", scale="2 of 100 epochs" if scale else None)
    said, reason = verdict(Cell(label="a", paper=text, kind=kind), part, found)
    if data or scale:
        assert said == "not reproduced"
        assert ("other data: digits" in reason) is data
        assert ("other scale: 2 of 100 epochs" in reason) is scale
    else:
        assert reason is None or not reason.startswith("other")


@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_a_claim_is_refuted_where_no_seed_has_it(holds):
    said, reason = verdict(Cell(label="a", kind=CLAIM), SAME, [float(one) for one in holds])
    assert said == ("reproduced" if all(holds) else "not reproduced" if any(holds) else "refuted")
    assert said == "reproduced" or len(holds) == 1 or f"{sum(holds)} of {len(holds)}" in reason


@given(values)
def test_what_is_missing_is_not_run_whatever_was_found(found):
    assert verdict(Cell(label="a"), replace(SAME, missing="needs a moon"), found) == ("not run", "needs a moon")


def test_no_number_is_not_reproduced():
    assert verdict(Cell(label="a"), SAME, []) == ("not reproduced", "no finite number here")
    assert finite([1.0, None]) == finite([float("nan")]) == []
    assert summary([]) == (None, None, None)


@given(values)
def test_a_summary_is_ordered(found):
    here, low, high = summary(found)
    assert low <= here <= high
    assert {low, high} <= set(found)


def cells_of(*rows, group="g"):
    return {name: (Cell(label=name, paper=paper, group=group), found) for name, paper, found in rows}


def test_order_is_told_where_spreads_are_apart():
    same = cells_of(("a", "98.0", [90.0, 91.0]), ("b", "10.0", [9.0, 10.0]), ("c", "97.0", [90.5]))
    assert order_told(same["a"][0], same) == "same order"  # of a and c nothing can be told here
    other = cells_of(("a", "98.0", [90.0, 91.0]), ("b", "10.0", [95.0, 96.0]))
    assert order_told(other["a"][0], other) == "another order: below b here"
    assert order_told(other["b"][0], other) == "another order: above a here"


def test_no_order_is_told_without_a_group_or_another_to_compare_with():
    alone = cells_of(("a", "98.0", [90.0]))
    assert order_told(alone["a"][0], alone) is None
    ungrouped = cells_of(("a", "98.0", [90.0]), ("b", "10.0", [95.0]), group="")
    assert order_told(ungrouped["a"][0], ungrouped) is None
    equal = cells_of(("a", "10.0", [90.0]), ("b", "10.0", [95.0]))  # the paper does not tell them apart
    assert order_told(equal["a"][0], equal) is None
