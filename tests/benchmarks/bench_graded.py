"""Long products of SAO layers: what the time goes into, beside the naive product and its SVD, and the memory.

python tests/benchmarks/bench_graded.py             both rows (about a minute)
"""

import math
import os
from collections import Counter

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
from pathlib import Path

import numpy as np
import torch

from sao_cli.nets.jacobians.long_products import graded
from sao_cli.nets.jacobians.long_products.graded import GradedProduct
from sao_cli.weights.orthogonal import sao_weight

DEGREE, GAIN = 4, 1.1
TILE = 64
JOBS = ((256, 1000), (1024, 50))  # width, depth
JACOBIANS_GOAL = 3.5  # 3, and the tiles of operator and T, vectors and buffers

MEMORY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import torch
torch.set_num_threads(1)
from bench_graded import Layers, accumulated
layers = Layers(1024, 12)
accumulated(Layers(1024, 3))._orthogonalise()
open("/proc/self/clear_refs", "w").write("5")  # the peak begins here, with the libraries' buffers taken (Linux)
"""


class Layers:
    """Factors diag(tanh'(h)) W with SAO weights W, at an input that has gone through them: operators and dense."""

    def __init__(self, width: int, depth: int) -> None:
        x = torch.from_numpy(np.random.default_rng(0).standard_normal(width))
        self.width, self.factors = width, []
        for layer in range(1, depth + 1):
            weight = sao_weight(width, width, DEGREE, layer=layer).to_scipy() * GAIN
            x = torch.tanh(torch.from_numpy(weight @ x.numpy()))
            columns = torch.from_numpy(weight.indices.astype(np.int64)).view(width, DEGREE)
            values = torch.from_numpy(weight.data).view(width, DEGREE) * (1 - x**2)[:, None]
            # The rows of one group read the same inputs: one gather, and a small product a group.
            order = torch.from_numpy(np.lexsort(columns.numpy().T)).view(-1, DEGREE)
            self.factors.append((order.flatten().argsort(), columns[order[:, 0]], values[order]))

    def applied(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        places, inputs, blocks = self.factors[layer]
        result = torch.empty_like(x)
        for start in range(0, x.shape[-1], TILE):  # columns at a time, which spares two more Jacobians
            tile = x[:, start : start + TILE]
            read = tile[inputs.flatten()].view(len(inputs), DEGREE, -1)
            result[:, start : start + TILE] = (blocks @ read).view(self.width, -1)[places]
        return result

    def operator(self, layer: int):
        return lambda x: self.applied(layer, x)


def accumulated(layers: Layers) -> GradedProduct:
    product = GradedProduct(layers.width)
    for layer in range(len(layers.factors)):
        product.multiply(layers.operator(layer))
    return product


def naive(layers: Layers) -> torch.Tensor:
    product = torch.eye(layers.width, dtype=torch.float64)
    for layer in range(len(layers.factors)):
        product = layers.applied(layer, product)
    return product


class Shares:
    """Where the time of a run goes: each of graded's own steps timed, as it is called."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        for owner, name, share in (
            (GradedProduct, "_applied", "products"),
            (GradedProduct, "_orthogonalise", "orthogonalisations"),
            (graded, "graded_log2_singular_values", "final SVD"),
        ):
            setattr(owner, name, self._timed(getattr(owner, name), share))

    def _timed(self, call, share):
        def timed(*arguments):
            result = []
            self.seconds[share] += bench.seconds(lambda: result.append(call(*arguments)))
            return result[0]

        return timed


def times(width: int, depth: int) -> None:
    layers = Layers(width, depth)
    chain, ours, svd = bench.processor_seconds(
        [
            lambda: naive(layers),
            lambda: accumulated(layers).log_singular_values(),
            lambda: torch.linalg.svdvals(naive(layers)),
        ],
        repeats=5,
    )
    product = accumulated(layers)
    found = product.log_singular_values(base=10)
    wrong = np.log10(torch.linalg.svdvals(naive(layers)).numpy()) - found.values
    print(f"SAO d = {DEGREE}, tanh, gain {GAIN}, width {width}, depth {depth}: {product.orthogonalisations} QRs")
    print(f"  log10 sigma {found.values[0]:.3f} to {found.values[-1]:.3f}, error {found.error:.1g}", end=", ")
    print(f"naive SVD off by up to {np.abs(wrong).max():.3g} decades")
    told = f"width {width}, depth {depth}: all singular values right"
    bench.print_ratio(f"{told} / the naive chain alone", ours, chain)
    bench.print_ratio(f"{told} / the naive chain and svdvals, wrong in the small ones", ours, svd)


def shares(width: int, depth: int) -> None:
    layers = Layers(width, depth)
    measured = Shares()
    whole = bench.seconds(lambda: accumulated(layers).log_singular_values())
    rest = whole - math.fsum(measured.seconds.values())
    parts = (*measured.seconds.items(), ("rest", rest))
    title = f"Where the time of width {width}, depth {depth} goes"
    bench.print_table(title, ["step", "s", "of the whole"], [(name, part, part / whole) for name, part in parts])


def memory() -> None:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = (
        "1000000"  # what is freed goes back at once, so that the peak is of live memory
    )
    before, after = (
        bench.peak_memory_mb(MEMORY),
        bench.peak_memory_mb(MEMORY + "accumulated(layers)._orthogonalise()\n"),
    )
    jacobians = (after - before) / (8e-6 * 1024**2)
    bench.print_value("width 1024: peak memory over the layers'", jacobians, "Jacobians", JACOBIANS_GOAL)


def main() -> None:
    torch.set_num_threads(1)
    for width, depth in JOBS:
        times(width, depth)
    memory()
    for width, depth in JOBS:
        shares(width, depth)


if __name__ == "__main__":
    main()
