"""Reachability through ten layers, beside dense products and GraphBLAS; how it grows is in bench_growth.

python tests/benchmarks/bench_reach.py
"""

import side_by_side  # before numpy: it sets the thread counts

# isort: split
import importlib.util
from collections.abc import Sequence

import numpy as np

from sao_cli.data.mask import Mask
from sao_cli.masks.sao import sao_mask
from sao_cli.measure.reach.reachability import reachability

LAYERS, DEGREE, WIDTH = 10, 4, 4096


def main() -> None:
    masks = [sao_mask(WIDTH, WIDTH, DEGREE, layer=layer) for layer in range(LAYERS)]
    ours = side_by_side.median_seconds(lambda: reachability(fresh(masks)), repeats=9)
    job = f"reach, SAO masks, d={DEGREE}, L={LAYERS}, n={WIDTH}, against"
    side_by_side.print_ratio(f"{job} numpy dense float32", ours, dense_seconds(masks), 0.001)
    if importlib.util.find_spec("graphblas") is None:
        print(f"{job} GraphBLAS: skipped, python-graphblas is not installed")
    else:
        side_by_side.print_ratio(f"{job} GraphBLAS lor_land", ours, graphblas_seconds(masks), 0.02)


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

    return side_by_side.median_seconds(multiply, repeats=5)


if __name__ == "__main__":
    main()
