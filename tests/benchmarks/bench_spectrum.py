"""Singular values beside numpy's dense SVD, and the stochastic density beside the law that it should have.

python tests/benchmarks/bench_spectrum.py    a minute and a half
"""

import math

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np

from sao_cli import Mask, Matrix
from sao_cli.masks.biregular import biregular_mask
from sao_cli.measure.values.density import spectral_density
from sao_cli.measure.values.singular_values import singular_values
from sao_cli.weights.orthogonal import sao_weight

DEGREE = 4
SAO_GOALS = {1024: 0.01, 2048: 0.003}
DISTANCE_GOAL, PRODUCTS_GOAL = 0.005, 1300

FRESH = """
from sao_cli import Matrix
from sao_cli.masks.biregular import biregular_mask
from sao_cli.measure.values.density import spectral_density
weight = Matrix(biregular_mask({size}, {size}, 4, seed=0))
"""


def fresh(weight: Matrix) -> Matrix:
    """The same arrays without what has been worked out from them."""
    mask = weight.mask
    return Matrix(Mask(mask.indptr, mask.indices, mask.shape), weight.values)


def sao_against_numpy() -> None:
    for n, goal in SAO_GOALS.items():
        weight = sao_weight(n, n, DEGREE)
        dense = weight.to_dense()
        ours = bench.median_seconds(lambda weight=weight: singular_values(fresh(weight)), 11)
        theirs = bench.median_seconds(lambda dense=dense: np.linalg.svd(dense, compute_uv=False))
        bench.print_ratio(f"SAO weight, n = {n}: singular_values / numpy svd", ours, theirs, goal)


def dense_against_numpy() -> None:
    rng = np.random.default_rng(0)
    for n in SAO_GOALS:
        gaussian = rng.standard_normal((n, n))
        orthogonal = np.linalg.qr(gaussian)[0]
        silenced = gaussian * (rng.random((n, 1)) < 0.5)
        ones = Mask(np.arange(0, n * n + 1, n), np.tile(np.arange(n), n), (n, n))
        for name, dense in (("Gaussian", gaussian), ("orthogonal", orthogonal), ("half its rows zero", silenced)):
            weight = Matrix(ones, dense.reshape(-1))
            ours = bench.median_seconds(lambda weight=weight: singular_values(fresh(weight)))
            theirs = bench.median_seconds(lambda dense=dense: np.linalg.svd(dense, compute_uv=False))
            bench.print_ratio(f"dense, {name}, n = {n}: singular_values / numpy svd", ours, theirs)


def kesten_mckay(sigma: np.ndarray, d: int = DEGREE) -> np.ndarray:
    """The distribution of the singular values of large random (d, d)-biregular masks (McKay 1981).

    Its density is (d / pi) sqrt(4(d - 1) - s^2) / (d^2 - s^2).
    """
    sigma = np.minimum(sigma, edge := 2 * math.sqrt(d - 1))
    slope = np.arctan2((d - 2) * sigma, d * np.sqrt(edge**2 - sigma**2))
    return d / math.pi * (np.arcsin(sigma / edge) - (d - 2) / d * slope)


def density_against_the_law(n: int = 100_000) -> None:
    weight = Matrix(biregular_mask(n, n, DEGREE, seed=0))
    density = spectral_density(weight)
    x = np.linspace(0, DEGREE, 100_001)
    distance = float(np.abs(density.cdf(x) - kesten_mckay(x)).max())
    told = f"density of a biregular mask, n = {n:,}"
    print(f"{told}: {density.probes} probes of {density.steps} steps")
    bench.print_value(f"{told}: the error that it states", density.error)
    bench.print_value(f"{told}: largest distance to the exact law's distribution", distance, goal=DISTANCE_GOAL)
    bench.print_value(f"{told}: products", density.products, goal=PRODUCTS_GOAL)
    seconds = bench.median_seconds(lambda: spectral_density(fresh(weight)))
    code = FRESH.format(size=n)
    before, peak = bench.peak_memory_mb(code), bench.peak_memory_mb(code + "spectral_density(weight)\n")
    bench.print_value(f"{told}: seconds", seconds, "s")
    bench.print_value(f"{told}: peak memory of a process", peak, "MB")
    bench.print_value(f"{told}: the same with the mask alone", before, "MB")


def main() -> None:
    sao_against_numpy()
    dense_against_numpy()
    density_against_the_law()


if __name__ == "__main__":
    main()
