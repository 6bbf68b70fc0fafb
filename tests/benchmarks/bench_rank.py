"""The redundancy of one square float32 weight, beside numpy's SVD and the normalised Gram matrices of both axes.

python tests/benchmarks/bench_rank.py [--size 2048] [--repeats 5]    two minutes; some twelve at 4096
"""

import side_by_side  # before numpy: it sets the thread counts

# isort: split
import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sao_cli.measure.redundancy.pairs import nearest_pairs
from sao_cli.measure.redundancy.ranks import ranks
from sao_cli.models.rank_row import rank_weight


def plain_values(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one would write for the ranks."""
    values: NDArray[np.float32] = np.linalg.svd(weight, compute_uv=False)
    return values


def plain_nearest(vectors: NDArray[np.float32]) -> tuple[int, int]:
    """What one would write for the nearest pair: the whole Gram matrix of the normalised rows."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.abs(units @ units.T)
    np.fill_diagonal(cosines, 0)
    i, j = np.unravel_index(cosines.argmax(), cosines.shape)
    return int(min(i, j)), int(max(i, j))


def plain(weight: NDArray[np.float32]) -> None:
    plain_values(weight)
    plain_nearest(weight.T)
    plain_nearest(weight)


def processor(call: Callable[[], object]) -> float:
    """The processor time of one call, of one thread: a minute at a large size, so that none is spent on a trial."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    size = asked.size
    weight = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    small = weight[:256, :256]
    rank_weight(small)  # with what it imports
    plain(small)
    for job, calls in (
        ("all of rank_weight, against svd and two Gram matrices", (rank_weight, plain)),
        ("nearest pair of rows, against the Gram matrix", (nearest_pairs, plain_nearest)),
        ("ranks and independent columns, against svd alone", (ranks, plain_values)),
    ):
        taken = [[processor(partial(call, weight)) for call in calls] for _ in range(asked.repeats)]
        ours, theirs = (side_by_side.Median(times) for times in zip(*taken, strict=True))
        side_by_side.print_ratio(f"{size} x {size} float32: {job}", ours, theirs, unit="s of a core")
    found = nearest_pairs(weight)[0]
    assert (found.i, found.j) == plain_nearest(weight)


if __name__ == "__main__":
    main()
