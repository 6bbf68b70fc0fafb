"""`verify` beside scipy: eigenvalue conditions of SAO and of random biregular masks.

python tests/benchmarks/bench_verify.py           the rows of the goals' table (some ten minutes, most of them svds)
python tests/benchmarks/bench_verify.py --fast    with the extra `fast` and without at 1e6 too (some five minutes more)
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator

import side_by_side as bench  # before numpy: it sets the number of BLAS threads

# isort: split
import numpy as np

from sao_cli import Mask
from sao_cli.base.compiled import is_worth_it
from sao_cli.base.progress import silent
from sao_cli.masks.biregular import biregular_mask
from sao_cli.measure.graph.components import find_components
from sao_cli.measure.graph.expansion import expansion
from sao_cli.measure.krylov.grid_lanczos import GridGram, GridLanczos
from sao_cli.measure.krylov.lanczos import iterate, random_direction

DEGREE = 4
TOLERANCE = 1e-8
SVDS_GOAL, COMPONENTS_GOAL = 0.045, 0.1
FAST_GOAL = 0.5
NOTES = """
A random mask takes some hundreds of steps of two sparse products each, several times fewer products than `svds`, which
is what a three-term recurrence without restarts gives. `svds` gives no verdict, and bounds lambda_2 from below only: a
mask that holds needs half as many steps again as lambda_2 alone, until the certificate's chance of being wrong is below
the asked-for one. A step is two gathers, which wait for random reads, from L2 at n = 1e5 and from memory at 1e6, and
two passes over the vectors; with the extra `fast` they are compiled, and the bits are the same. Tried without gain:
several starts side by side, which need fewer steps and cost more each; software prefetch; vectors in float32, whose
rounding is above what the certificate allows; nodes relabelled along matchings, whose reads share more cache lines, for
a tenth of a gather less and as much for the ordering.
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
    calls = (lambda: expansion(fresh(mask)), lambda: connected_components(graph, directed=False))
    ours, theirs = bench.processor_seconds(calls)
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
    gram = GridGram(mask)
    gram.uniform = True
    process = GridLanczos(gram, random_direction(gram, np.random.default_rng(0)))
    roundoff = gram.roundoff(float(DEGREE**2), 1.0)
    ritz, _ = iterate(process, lambda pair: pair.error <= TOLERANCE * pair.value, roundoff, silent, "")
    return float(ritz.value**0.5)


def seeds_of_both_verdicts(n: int, count: int) -> dict[bool, list[int]]:
    """The first `count` seeds of masks that hold, and of masks that fail."""
    seeds: dict[bool, list[int]] = {True: [], False: []}
    for seed in range(40):
        chosen = seeds[bool(expansion(biregular_mask(n, n, DEGREE, seed=seed)).holds)]
        chosen += [seed] if len(chosen) < count else []
        if min(map(len, seeds.values())) == count:
            break
    return seeds


def biregular_against_svds(n: int = 100_000, count: int = 5) -> None:
    """Whole verdicts, and lambda_2 alone, by processor time in turns, of `count` masks that hold and that fail."""
    from scipy.sparse.linalg import svds

    for holds, seeds in seeds_of_both_verdicts(n, count).items():
        verdicts, alone = [], []
        for seed in seeds:
            mask = biregular_mask(n, n, DEGREE, seed=seed)
            matrix = mask.to_scipy()

            def peer(matrix: object = matrix) -> float:
                rng = np.random.default_rng(0)
                return float(min(svds(matrix, k=2, tol=TOLERANCE, return_singular_vectors=False, rng=rng)))

            report = expansion(mask)
            print(f"  seed {seed}: lambda_2 = {report.lambda_2:.15g}, error {report.error:.1g}, {report.certificate}")
            svds_off, alone_off = (value - report.lambda_2 for value in (peer(), lambda_2_alone(mask)))
            print(f"  differences: svds {svds_off:.1g}, lambda_2 alone {alone_off:.1g}")
            calls = (lambda mask=mask: expansion(fresh(mask)), lambda mask=mask: lambda_2_alone(mask), peer)
            verdict, short, theirs = bench.processor_seconds(calls, 3)
            verdicts.append((verdict / theirs, verdict, theirs))
            alone.append((short / theirs, short, theirs))
        what = f"biregular that {'holds' if holds else 'fails'}, n = {n}"
        peers = f"svds(tol={TOLERANCE:g})"
        print(what, "verdicts:", " ".join(f"{ratio:.3g}x" for ratio, _, _ in verdicts))
        bench.print_ratio(f"{what}: whole verdict, worst of {len(seeds)} / {peers}", *max(verdicts)[1:], SVDS_GOAL)
        bench.print_ratio(f"{what}: lambda_2 alone, worst of {len(seeds)} / {peers}", *max(alone)[1:], SVDS_GOAL)


def fast_against_plain(n: int) -> None:
    """The same mask and the same bits with compiled loops and without."""
    mask = biregular_mask(n, n, DEGREE, seed=0)
    with plain():
        expected = expansion(fresh(mask))
    assert expansion(fresh(mask)) == expected

    def without() -> None:
        with plain():
            expansion(fresh(mask))

    times = bench.processor_seconds((lambda: expansion(fresh(mask)), without), 1 if n > 100_000 else 5)
    bench.print_ratio(f"biregular, n = {n}: whole verdict with the extra fast / without", *times, FAST_GOAL)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Inside it nothing is compiled."""
    from sao_cli.measure.graph import components
    from sao_cli.measure.krylov import gather, recurrence

    modules = (components, gather, recurrence)
    for module in modules:
        module.is_worth_it = lambda ones: False
    try:
        yield
    finally:
        for module in modules:
            module.is_worth_it = is_worth_it


def main() -> None:
    sao_against_components()
    sao_against_networkx()
    if importlib.util.find_spec("numba"):
        import numba  # noqa: F401 - its loops are used where it is loaded, however few the ones

        fast_against_plain(100_000)
    biregular_against_svds()
    if "--fast" in sys.argv[1:]:
        fast_against_plain(1_000_000)


if __name__ == "__main__":
    main()
