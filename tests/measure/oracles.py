"""Second routes that several test files take."""

import numpy as np


def rank_by_integers(dense):
    """Rank over F2 with each row one Python integer."""
    rows = [sum(1 << j for j in np.flatnonzero(row).tolist()) for row in dense]
    rank = 0
    while rows:
        pivot = rows.pop()
        if pivot:
            rank += 1
            lowest = pivot & -pivot
            rows = [row ^ pivot if row & lowest else row for row in rows]
    return rank
