"""What a value looks like in a table."""

import pytest

from sao_cli.cli.shared.tables import cell


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (0.1234567, "0.123457"),
        ([1, 2.5], "1, 2.5"),
        ([], ""),
        ({"q": 1.0, "stable": False}, "q 1, stable no"),
        (({"q": 1.0, "xi_c": None}, {"q": 2.0, "xi_c": 3.0}), "q 1, xi_c -\nq 2, xi_c 3"),
        ({"\x1b[31m": "\x07"}, None),
    ],
)
def test_a_cell_is_for_people(value, shown):
    text = cell(value).plain
    assert not set(text) & {"\x1b", "\x07", "{", "[" if shown is not None else "\x1b"}
    assert shown is None or text == shown
