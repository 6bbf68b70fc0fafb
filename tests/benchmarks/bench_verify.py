"""`verify` beside scipy: eigenvalue conditions of SAO and of random biregular masks, and how they grow.

python tests/benchmarks/bench_verify.py           the two rows of the goals' table (about a minute)
python tests/benchmarks/bench_verify.py --growth  time and peak memory from 1e3 to 1e6 too (some five minutes more)
"""

import sys

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np

from sao_cli import Mask
from sao_cli.base.progress import silent
from sao_cli.masks.biregular import biregular_mask
from sao_cli.measure.graph.components import find_components
from sao_cli.measure.graph.expansion import expansion
from sao_cli.measure.krylov.lanczos import Gram, Lanczos, iterate, random_direction

DEGREE = 4
TOLERANCE = 1e-8
SIZES = (1_000, 10_000, 100_000, 1_000_000)
MEMORY_GOAL_MB, EXPONENT_GOAL, SVDS_GOAL, COMPONENTS_GOAL = 230, 1.65, 0.03, 0.2

FRESH = """
from sao_cli.masks.{module} import {function}
from sao_cli.measure.graph.expansion import expansion
mask = {function}({size}, {size}, d=4, seed=0)
result = expansion(mask)
"""


def sao_like(n: int) -> Mask:
    """The arrays of an SAO mask: row i reads the inputs that are group_i modulo n / d."""
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(n // DEGREE, dtype=np.int32), DEGREE))
    columns = groups[:, None] + np.int32(n // DEGREE) * np.arange(DEGREE, dtype=np.int32)
    return Mask(np.arange(0, DEGREE * n + 1, DEGREE, dtype=np.int32), columns.reshape(-1), (n, n))


def fresh(mask: Mask) -> Mask:
    """The same arrays without what has been worked out from them."""
    return Mask(mask.indptr, mask.indices, mask.shape)


def adjacency(mask: Mask) -> object:
    """The (n + m) x (n + m) matrix that scipy's connected_components takes, rows before columns."""
    from scipy.sparse import csr_array

    nodes = mask.m + mask.n
    indptr = np.concatenate((mask.indptr, np.full(mask.n, mask.nnz, dtype=np.int32)))
    return csr_array((np.ones(mask.nnz), mask.indices + np.int32(mask.m), indptr), shape=(nodes, nodes))


def sao_against_components(n: int = 1_000_000) -> None:
    from scipy.sparse.csgraph import connected_components

    mask = sao_like(n)
    graph = adjacency(mask)
    ours = bench.median_seconds(lambda: expansion(fresh(mask)))
    theirs = bench.median_seconds(lambda: connected_components(graph, directed=False))
    bench.print_ratio(f"SAO mask, n = {n}: expansion / connected_components", ours, theirs, COMPONENTS_GOAL)
    general = bench.median_seconds(lambda: find_components(mask), 3)
    print(f"  (components alone, of any mask: {general:.3g} s, {general / theirs:.3g}x)")


def sao_against_networkx(n: int = 100_000) -> None:
    import networkx as nx

    mask = sao_like(n)
    graph = mask.to_networkx()
    ours = bench.median_seconds(lambda: expansion(fresh(mask)))
    theirs = bench.median_seconds(lambda: nx.number_connected_components(graph), 3)
    bench.print_ratio(f"SAO mask, n = {n}: expansion / networkx.number_connected_components", ours, theirs)


def lambda_2_alone(mask: Mask) -> float:
    """lambda_2 of a connected biregular mask to TOLERANCE, without a verdict: what svds gives."""
    gram = Gram(mask)
    gram.uniform = True
    process = Lanczos(gram, random_direction(gram, np.random.default_rng(0)))
    roundoff = gram.roundoff(float(DEGREE**2), 1.0)
    ritz, _ = iterate(process, lambda pair: pair.error <= TOLERANCE * pair.value, roundoff, silent, "")
    return float(ritz.value**0.5)


def biregular_against_svds(n: int = 100_000) -> None:
    from scipy.sparse.linalg import svds

    mask = biregular_mask(n, n, DEGREE, seed=0)
    matrix = mask.to_scipy()

    def peer(tolerance: float) -> float:
        rng = np.random.default_rng(0)
        return float(min(svds(matrix, k=2, tol=tolerance, return_singular_vectors=False, rng=rng)))

    report = expansion(mask)
    differences = [abs(value - report.lambda_2) for value in (peer(TOLERANCE), lambda_2_alone(mask))]
    print(f"  lambda_2 = {report.lambda_2:.15g}, error {report.error:.1g}, {report.certificate}")
    print("  differences: svds {:.1g}, lambda_2 alone {:.1g}".format(*differences))
    theirs = bench.median_seconds(lambda: peer(TOLERANCE), 3)
    whole = bench.median_seconds(lambda: expansion(fresh(mask)))
    bench.print_ratio(f"biregular, n = {n}: whole verdict / svds(tol={TOLERANCE:g})", whole, theirs, SVDS_GOAL)
    alone = bench.median_seconds(lambda: lambda_2_alone(mask))
    bench.print_ratio(f"biregular, n = {n}: lambda_2 alone / svds(tol={TOLERANCE:g})", alone, theirs, SVDS_GOAL)


def growth(name: str, module: str, function: str) -> None:
    """Time in this process, and peak memory of a fresh one that builds the mask and verifies it."""
    print(f"{name}, d = {DEGREE}\n{'n':>9} {'seconds':>10} {'peak MB':>8}")
    times = []
    for size in SIZES:
        build = getattr(__import__(f"sao_cli.masks.{module}", fromlist=[function]), function)
        mask = build(size, size, d=DEGREE, seed=0)
        times.append(bench.median_seconds(lambda mask=mask: expansion(fresh(mask)), 1 if size > 100_000 else 3))
        peak = bench.peak_memory_mb(FRESH.format(module=module, function=function, size=size))
        print(f"{size:>9} {times[-1]:>10.4g} {peak:>8.0f}")
    print(f"peak goal at the largest size: {MEMORY_GOAL_MB} MB")
    print(f"growth exponent: {bench.growth_exponent(SIZES, times):.3g} (goal <= {EXPONENT_GOAL})")


def main() -> None:
    sao_against_components()
    sao_against_networkx()
    biregular_against_svds()
    if "--growth" in sys.argv[1:]:
        growth("SAO masks", "sao", "sao_mask")
        growth("random biregular masks", "biregular", "biregular_mask")


if __name__ == "__main__":
    main()
