"""Lines of numbers read many at a time, against a regular expression and Python's own int and float."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sao_cli.io.formats.text.plain_numbers import plain_numbers

REAL = rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"


def one_by_one(text, positions, value):
    """The numbers of each line by the slowest route; None where some line is wrong."""
    pattern = b" ".join([rb"(\d+)"] * positions + [b"(" + REAL + b")"] * value) + b"\n"
    lines = re.findall(rb"[^\n]*\n|[^\n]+", text)
    matches = [re.fullmatch(pattern, line) for line in lines]
    if not all(matches):
        return None
    wholes = [[int(word) for word in match.groups()[:positions]] for match in matches]
    return wholes, [float(word) for match in matches for word in match.groups()[positions:]]


def agree(text, positions, value):
    """Whether `text` was read; that it was read rightly is asserted."""
    found, expected = plain_numbers(text, positions, value), one_by_one(text, positions, value)
    if found is None:
        return False
    assert expected is not None, text
    assert found.positions.shape == (len(expected[0]), positions)
    assert found.positions.tolist() == expected[0]
    np.testing.assert_array_equal(found.values.view(np.uint64), np.array(expected[1], float).view(np.uint64))
    return True


KINDS = [(2, False), (2, True), (0, True)]
FORMATS = ["%r", "%s", "%.17e", "%.16E", "%.6g", "%+.3f", "%.20f", "%d"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("positions", "value"), KINDS)
def test_what_programs_write_is_plain(positions, value, form):
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.standard_normal(200), rng.standard_normal(200) * 10.0 ** rng.integers(-9, 9, 200)])
    lines = [" ".join([*["%d"] * positions, *[form] * value]) + "\n"] * len(values)
    wholes = rng.integers(1, 10 ** rng.integers(1, 17, (len(values), 2)))
    text = "".join(
        line % ((*map(int, pair[:positions]), number) if value else tuple(map(int, pair)))
        for line, pair, number in zip(lines, wholes, values.tolist(), strict=True)
    )
    assert agree(text.encode(), positions, value)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_every_float_comes_back(values):
    assert agree("".join(f"{value!r}\n" for value in values).encode(), 0, True)


WORDS = st.one_of(
    st.text("0123456789", min_size=1, max_size=18),
    st.from_regex(REAL.decode(), fullmatch=True).filter(str.isascii),
    st.floats().map(repr),
    st.text("0123456789+-.eE", max_size=5),
)


@pytest.mark.parametrize(("positions", "value"), KINDS)
@given(
    lines=st.lists(st.lists(WORDS, min_size=1, max_size=3), max_size=4), blank=st.sampled_from([" ", " ", "  ", "\t"])
)
@example(lines=[["1", "2", "3.5", "4"]], blank=" ")
@example(lines=[["1", "1", "1e5.5"]], blank=" ")
@example(lines=[["1", "1", ".e5"], ["1", "1", "1.5"]], blank=" ")
@example(lines=[["1", "1", "1e5e5"], ["1", "1", "1"]], blank=" ")
@example(lines=[["1", "1", "-"], ["1", "1", "1"]], blank=" ")
@example(lines=[["12345678901234567", "1", "1"]], blank=" ")
@example(lines=[["1", "1", "1e-12345678901234567890"]], blank=" ")
@example(lines=[["1", "1", "1" + "0" * 27]], blank=" ")
@example(lines=[["1", "1", "1" + "0" * 40]], blank=" ")
def test_lines_are_read_rightly_or_not_at_all(positions, value, lines, blank):
    agree("".join(blank.join(line) + "\n" for line in lines).encode(), positions, value)


def test_changed_bytes_are_read_rightly_or_not_at_all():
    rng = np.random.default_rng(2)
    text = b"1 2 0.25\n12 7 -1.5e-05\n123456789 4 10.0\n3 99999999 +.5E3\n5 5 7\n"
    alphabet = np.frombuffer(b"\n \t%-+.eEd0123456789x_:/\x00\xff\r", np.uint8)
    read = 0
    for _ in range(4000):
        changed = np.frombuffer(text, np.uint8).copy()
        places = rng.integers(len(text), size=rng.integers(1, 3))
        changed[places] = rng.choice(alphabet, len(places))
        read += agree(changed.tobytes(), 2, True)
    assert 500 < read < 3500


def test_only_digits_are_digits():
    text = b"12345678 1234567812345678\n"
    assert agree(text, 2, False)
    for byte in set(range(256)) - set(b"0123456789"):
        for place in (0, 3, 7, 9, 16, 17, 24):
            assert plain_numbers(text[:place] + bytes([byte]) + text[place + 1 :], 2, False) is None


@pytest.mark.parametrize("text", [b"1 2", b"1 2\n3", b"\n", b" 1 2\n", b"1  2\n", b"1 2 \n", b"1\n2\n", b"1 2\n\n"])
def test_other_than_one_blank_is_not_plain(text):
    assert plain_numbers(text, 2, False) is None


def test_nothing_is_plain():
    found = plain_numbers(b"", 2, True)
    assert found.positions.shape == (0, 2)
    assert found.values.shape == (0,)
