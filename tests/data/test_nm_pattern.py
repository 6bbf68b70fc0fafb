"""N:M patterns as text, and the degrees that they give."""

import pytest

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.data.nm_pattern import NMPattern


def test_what_a_pattern_tells():
    pattern = NMPattern.parse("2:4")
    assert (pattern, str(pattern), pattern.sparsity, pattern.degree(12)) == ((2, 4), "2:4", 0.5, 6)
    assert NMPattern.parse("1:1024").degree(2048) == 2
    with pytest.raises(InfeasibleError, match="no 2:4 mask: 4 does not divide its 10 inputs"):
        pattern.degree(10)


@pytest.mark.parametrize("text", ["", "2", "2:", "4:4", "5:4", "0:4", "-1:4", "2:4:8", "2/4", " 2:4", "1:99999999999"])
def test_what_is_no_pattern(text):
    with pytest.raises(SaoError, match="is no N:M pattern: N of each M inputs are kept, 1 <= N < M, as in 2:4"):
        NMPattern.parse(text)
