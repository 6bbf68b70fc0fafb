"""Reachability through ten layers, and how time and memory grow.

python tests/benchmarks/bench_reach.py
"""

import side_by_side  # before numpy: it sets the thread counts

# isort: split
import importlib.util
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from sao_cli.data.mask import Mask
from sao_cli.masks.biregular import biregular_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.measure.reach.reachability import reachability

LAYERS, DEGREE, WIDTH = 10, 4, 4096
SIZES = [1 << k for k in range(10, 17)]
MAKERS: dict[str, Callable[..., Mask]] = {"sao": sao_mask, "biregular": biregular_mask}
PEAK_LIMIT_MB, EXPONENT_LIMIT = 120, 2.15
PEAK_CODE = """
from sao_cli.masks.{kind} import {kind}_mask
from sao_cli.measure.reach.reachability import reachability
reachability([{kind}_mask({n}, {n}, {d}, layer=layer) for layer in range({layers})])
"""


def main() -> None:
    masks = stack("sao", WIDTH)
    ours = side_by_side.median_seconds(lambda: reachability(fresh(masks)), repeats=9)
    job = f"reach, SAO masks, d={DEGREE}, L={LAYERS}, n={WIDTH}, against"
    side_by_side.print_ratio(f"{job} numpy dense float32", ours, dense_seconds(masks), 0.001)
    if importlib.util.find_spec("graphblas") is None:
        print(f"{job} GraphBLAS: skipped, python-graphblas is not installed")
    else:
        side_by_side.print_ratio(f"{job} GraphBLAS lor_land", ours, graphblas_seconds(masks), 0.02)
    for kind in MAKERS:
        print_growth(kind)


def stack(kind: str, n: int) -> list[Mask]:
    return [MAKERS[kind](n, n, DEGREE, layer=layer) for layer in range(LAYERS)]


def fresh(masks: Sequence[Mask]) -> list[Mask]:
    """The same masks with nothing remembered: recognising the groups is part of the time."""
    return [Mask(mask.indptr, mask.indices, mask.shape) for mask in masks]


def dense_seconds(masks: Sequence[Mask]) -> float:
    """One run of L - 1 products, Boolean by > 0; it takes long enough not to need a median."""
    factors = [np.ascontiguousarray(mask.to_dense(np.float32).T) for mask in masks]

    def multiply() -> None:
        product = factors[0]
        for factor in factors[1:]:
            product = (product @ factor > 0).astype(np.float32)

    return side_by_side.seconds(multiply)


def graphblas_seconds(masks: Sequence[Mask]) -> float:
    import graphblas as gb

    gb.ss.config["nthreads"] = 1
    factors = [gb.Matrix.from_coo(mask.indices, mask.entry_rows, True, nrows=mask.n, ncols=mask.m) for mask in masks]

    def multiply() -> None:
        product = factors[0]
        for factor in factors[1:]:
            product = gb.semiring.lor_land(product @ factor).new()
        product.wait()

    return side_by_side.median_seconds(multiply, repeats=3)


def print_growth(kind: str) -> None:
    """Time of the call, and peak memory of a process that makes the masks and asks for the fractions only."""
    print(f"\n{kind} masks, d={DEGREE}, L={LAYERS}\n{'n':>6}  {'seconds':>8}  {'peak MB':>7}")
    times: list[float] = []
    for n in SIZES:
        masks = stack(kind, n)
        repeats = 5 if n <= WIDTH else 1
        times.append(side_by_side.median_seconds(lambda masks=masks: reachability(fresh(masks)), repeats))
        peak = side_by_side.peak_memory_mb(PEAK_CODE.format(kind=kind, n=n, d=DEGREE, layers=LAYERS))
        print(f"{n:>6}  {times[-1]:>8.4f}  {peak:>7.1f}", flush=True)
    exponent = side_by_side.growth_exponent(SIZES, times)
    steepest = max(np.log2(after / before) for before, after in pairwise(times))
    print(f"exponent {exponent:.2f} (goal <= {EXPONENT_LIMIT}), steepest doubling {steepest:.2f}")
    print(f"peak at n={SIZES[-1]}: {peak:.1f} MB (goal for sao: <= {PEAK_LIMIT_MB} MB)")


if __name__ == "__main__":
    main()
