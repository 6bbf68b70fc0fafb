"""The largest matching of a bipartite pattern: how many of its rows can have a column of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def matched_rows(pattern: csr_array) -> NDArray[np.bool_]:
    """(m,) whether each row of an (m, n) pattern is in its maximum matching (Hopcroft and Karp 1973).

    Their count is the structural rank: no values on the pattern have a larger rank. O(nnz sqrt(m + n)).

    >>> from scipy.sparse import csr_array
    >>> matched_rows(csr_array([[1, 0, 0], [1, 0, 0], [0, 1, 1]]))
    array([ True, False,  True])
    """
    from scipy.sparse.csgraph import maximum_bipartite_matching

    writable = pattern.copy()  # as scipy wants them before 1.15, though it changes nothing; a mask's are read-only
    matched: NDArray[np.bool_] = maximum_bipartite_matching(writable, perm_type="column") >= 0
    return matched
