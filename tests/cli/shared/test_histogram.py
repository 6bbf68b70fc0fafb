"""Histograms for a terminal: known strings, and every value counted once."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sao_cli.base.errors import SaoError
from sao_cli.cli.shared.histogram import bars, sparkline

NOISE = np.array([-1e-13, 0, 1e-13])
VALUES = st.lists(st.floats(0, 1e6), max_size=40)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], "                 "),
        ([0], "█                "),
        ([0, 0, 0], "█                "),
        ([1], "        █        "),
        (1 + NOISE, "        █        "),
        (np.r_[NOISE**2, 1 + NOISE], "█       █        "),
        ([2], "                █"),
        ([5], "                █"),
        ([0, 2.5, 5], "█       █       █"),
        (np.repeat([0, 1, 2], [1, 4, 8]), "▁       ▄       █"),
        (np.repeat([0, 1, 2], [1, 1, 1000]), "▁       ▁       █"),
        (np.linspace(0, 2, 17), "█████████████████"),
    ],
)
def test_known_sparklines(values, drawn):
    assert sparkline(values) == drawn
    assert sparkline(values, ascii=True) == drawn.translate(str.maketrans("▁▄█", ".=@"))


def test_rows_of_one_table_share_an_axis():
    assert sparkline([1], high=4) == "    █            "
    assert sparkline([1, 4, 9], width=5, low=1, high=3) == "▄   █"  # what is outside counts in the end bins
    assert sparkline(np.repeat([0.5, 1.5], [3, 1]) + NOISE[0], width=3, high=2) == sparkline([0.5] * 3 + [1.5], 3, 0, 2)


@given(VALUES, st.integers(2, 40))
def test_every_bin_that_holds_something_shows(values, width):
    line = sparkline(values, width=width)
    high = max([2.0, *values])
    places = [value / high * (width - 1) + 0.5 + 1e-6 for value in values]
    assume(all(abs(place - round(place)) > 1e-9 for place in places))  # none is at a border but for rounding
    filled = {int(np.floor(place)) for place in places}
    assert {place for place, block in enumerate(line) if block != " "} == filled
    assert len(line) == width
    assert ("█" in line) == bool(values)
    assert sparkline(values, width=width, ascii=True).isascii()


def test_known_bars():
    assert bars([0, 0.25, 0.5, 0.5], rows=6, width=2) == [
        "0.00 - 0.05 | █ 1",
        "0.05 - 0.15 | 0",
        "0.15 - 0.25 | 0",
        "0.25 - 0.35 | █ 1",
        "0.35 - 0.45 | 0",
        "0.45 - 0.55 | ██ 2",
    ]
    assert bars([9, 10, 10, 11], width=4, rows=3) == [
        " 8.5 -  9.5 | ██ 1",
        " 9.5 - 10.5 | ████ 2",
        "10.5 - 11.5 | ██ 1",
    ]
    assert bars(np.repeat([0, 4], [1, 16]), width=4, rows=3) == ["0 - 1 | ▎ 1", "1 - 3 | 0", "3 - 5 | ████ 16"]
    assert bars(np.repeat([0, 4], [1, 16]), width=4, rows=3, ascii=True)[0] == "0 - 1 | # 1"
    assert bars(np.repeat([0, 4], [1, 1000]), width=4, rows=3)[0] == "0 - 1 | ▏ 1"  # what is there shows


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (1, "1"), (0.1 + 0.2, "0.3"), (1e20, "1e+20"), (5e-324, "4.94066e-324")]
)
def test_one_value_is_one_line(value, told):
    assert bars([value], width=3) == [f"{told} | ███ 1"]
    assert bars(np.full(7, value), width=3) == [f"{told} | ███ 7"]


def test_rounding_splits_no_value():
    assert bars(1 + NOISE, width=1) == ["1 | █ 3"]
    assert [line[-1] for line in bars(np.r_[NOISE**2, 1 + NOISE]) if not line.endswith("| 0")] == ["3", "3"]
    on_a_border = bars(np.r_[0.5 + NOISE, 2], width=1)  # bins of 0.2 around multiples of it
    assert on_a_border[0] == "0.5 - 0.7 | █ 3"


@given(VALUES, st.integers(2, 20), st.floats(1e-6, 1e3))
def test_bars_count_every_value_once(values, rows, scale):
    values = np.array(values) * scale
    lines = bars(values, rows=rows)
    assert len(lines) <= rows
    counts = [int(line.split()[-1]) for line in lines]
    assert sum(counts) == len(values)
    if len(lines) > 1:
        ranges = np.array([[float(x) for x in line.split("|")[0].split(" - ")] for line in lines])
        assert (ranges[1:, 0] == ranges[:-1, 1]).all()
        steps = np.diff(ranges[1:]).ravel()
        slack = 1e-5 * steps.max(initial=ranges[-1, 1])
        assert steps == pytest.approx(steps.max(initial=0), rel=1e-3)
        for (low, high), count in zip(ranges, counts, strict=True):
            inside = ((values > low + slack) & (values < high - slack)).sum()
            around = ((values > low - slack) & (values < high + slack)).sum()
            assert inside <= count <= around
        drawn = [line.split("|")[1].count("█") for line in lines]
        assert max(drawn) == 24
        assert counts[drawn.index(24)] == max(counts)
        assert [len(line.split("|")[1].split()) for line in lines] == [2 if count else 1 for count in counts]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sparkline([np.nan]), "nan"),
        (lambda: bars([1, np.inf]), "inf"),
        (lambda: sparkline([1], width=1), "1 characters"),
        (lambda: sparkline([1], high=0), "from 0 to 0"),
        (lambda: sparkline([1], low=3, high=2), "from 3 to 2"),
        (lambda: bars([1], rows=1), "1 rows"),
        (lambda: bars([1], width=0), "0 characters"),
    ],
)
def test_what_can_not_be_drawn(call, said):
    with pytest.raises(SaoError, match=said) as error:
        call()
    assert "\n" not in str(error.value)
