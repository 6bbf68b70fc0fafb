"""Exactly orthogonal weights: EOI beside the published way, and small Haar blocks beside scipy.

python tests/benchmarks/bench_weights.py    a quarter of a minute
"""

import side_by_side  # before numpy: it sets the thread counts

# isort: split
import itertools

import numpy as np
from scipy.stats import ortho_group

from sao_cli.weights.givens import eoi_weight
from sao_cli.weights.haar import haar_blocks

DEGREE = 4
WIDTH, DENSITY, EOI_GOAL = 1024, 0.05, 0.1
BLOCKS, HAAR_GOAL = 250_000, 0.4


def recounting_eoi(n: int, density: float, seed: int) -> np.ndarray:
    """EOI as published: a dense array, of which every place is counted after every rotation."""
    rng = np.random.default_rng(seed)
    weight = np.eye(n)
    below, count, target = n, n, density * n * n
    while count < target:
        pair = rng.choice(n, 2, replace=False)
        angle = rng.uniform(0, 2 * np.pi)
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        last, weight[pair] = weight[pair], rotation @ weight[pair]
        below, count = count, np.count_nonzero(weight)
    if target - below < count - target:
        weight[pair] = last
    return weight


def eoi_against_recounting() -> None:
    seeds = itertools.count()
    ours, theirs = side_by_side.interleaved(
        [
            lambda: eoi_weight(WIDTH, WIDTH, 1 - DENSITY, seed=next(seeds)),
            lambda: recounting_eoi(WIDTH, DENSITY, next(seeds)),
        ],
        repeats=5,
    )
    job = f"EOI, {WIDTH} x {WIDTH} at {DENSITY:.0%}, against a recount at each rotation"
    side_by_side.print_ratio(job, ours, theirs, EOI_GOAL)


def blocks_against_scipy() -> None:
    ours, theirs = side_by_side.interleaved(
        [
            lambda: haar_blocks(BLOCKS, DEGREE, DEGREE, np.random.default_rng(0)),
            lambda: ortho_group.rvs(DEGREE, size=BLOCKS, random_state=np.random.default_rng(0)),
        ],
        repeats=5,
    )
    side_by_side.print_ratio(f"{BLOCKS} Haar blocks 4 x 4, against ortho_group", ours, theirs, HAAR_GOAL)


def main() -> None:
    eoi_against_recounting()
    blocks_against_scipy()


if __name__ == "__main__":
    main()
