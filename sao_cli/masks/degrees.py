"""Which degrees each construction can have at given sizes, and the nearest to what was asked."""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.catalog import METHODS

DEFAULT_DEGREE = 4  # the paper's d in all its fully-connected experiments (Tables 6 and 7)
PRUNED = tuple(
    row.name for row in METHODS.values() if row.keeps
)  # methods that keep a number of weights, whichever rows they are in


class Counts(NamedTuple):
    """What a method keeps of a layer: c ones in each column and d in each row, None where they vary, `nnz` in all."""

    c: int | None
    d: int | None
    nnz: int


def feasible_degrees(m: int, n: int, method: str = "sao") -> Sequence[int]:
    """Every row degree d, ascending, that `method` can give an (m, n) mask.

    `sao` and `ramanujan` need K = n/d to divide gcd(m, n) (SAO, section IV-A, in the form of K groups of
    c = m/K rows and d = n/K columns), `ramanujan` also a connected graph, so min(c, d) >= 2 unless K = 1;
    `biregular` needs n to divide m d; `radix` needs d = r n/g for a radix r that divides a common divisor g
    of m and n (Kepner and Robinett 2019); `xnet` and those of PRUNED, whose column degrees differ, take any;
    `two-stage` needs a product d = a b of two_stage_factors; `dense` is all ones; `rg-n`, `rg-u` and `rg-s` are on SAO
    masks. A range where the degrees are evenly spaced. O(sqrt(gcd))
    arithmetic, times the number of divisors for `radix`, and the square of it more for `two-stage`.

    >>> feasible_degrees(512, 256)[:4]
    [1, 2, 4, 8]
    """
    check_sizes(m, n)
    common = math.gcd(m, n)
    if method == "xnet" or method in PRUNED:
        return range(1, n + 1)
    if method == "dense":
        return range(n, n + 1)
    if method == "biregular":
        return range(n // common, n + 1, n // common)
    if method == "radix":
        return sorted({radix * (n // g) for g in divisors(common) for radix in divisors(g)})
    if method == "two-stage":
        return list(two_stage_factors(m, n))
    degrees = [n // groups for groups in reversed(divisors(common))]
    if method == "ramanujan":
        return [d for d in degrees if d == n or min(d, m * d // n) >= 2]
    return degrees


def two_stage_factors(m: int, n: int) -> dict[int, list[tuple[int, int]]]:
    """{d: [(a, b), ...]} for every row degree d = a b that an (m, n) two-stage mask can have, ascending.

    With p = min(m, n) hidden nodes, stage 1 is an SAO mask p x n of k = n/a groups K_{p/k,a}, and stage 2 one m x p
    of q = p/b groups K_{m/q,b}: k divides gcd(p, n) and q divides gcd(m, p). Each hidden node joins a group of stage 1
    with a group of stage 2, and no two may join the same pair, so that every path is the only one: k q >= p. They are
    the edges of a bipartite quotient graph of degrees p/k and b, which must be connected: k, q <= p/2. The pairs
    (a, b) of one d come with the nearest quotient degrees first, since they give the best expansion (its second
    singular value is about sqrt(p/k - 1) + sqrt(b - 1)), and on a tie with the smaller a first. O(sqrt(p)), plus
    the pairs of divisors.

    >>> two_stage_factors(8, 8)
    {4: [(2, 2)], 8: [(2, 4), (4, 2)]}
    """
    check_sizes(m, n)
    p = min(m, n)
    first, second = ([k for k in divisors(math.gcd(p, size)) if 2 * k <= p] for size in (n, m))
    pairs = [(k, q) for k, q in itertools.product(first, second) if k * q >= p]
    factors: dict[int, list[tuple[int, int]]] = {}
    for k, q in sorted(pairs, key=lambda pair: (-pair[0] * pair[1], abs(pair[0] - pair[1]), -pair[0])):
        factors.setdefault((n // k) * (p // q), []).append((n // k, p // q))
    return factors


def resolve_degree(
    m: int, n: int, method: str = "sao", *, d: int | None = None, c: int | None = None, sparsity: float | None = None
) -> int:
    """The row degree that was asked for by `d`, by `c` or by `sparsity`; by none of them, the nearest to 4.

    A degree is taken as it is or refused: InfeasibleError names the rule and the nearest feasible (c, d).
    A sparsity s is a target: the feasible degree is taken whose m d ones are nearest to (1.0 - s) P, P = m n, the
    sparser on a tie. So the transposed layer keeps as many, where its feasible degrees are the same ones.
    """
    check_target(m, n, d=d, c=c, sparsity=sparsity)
    if sparsity is not None:
        return nearest_degree(m, n, method, density_of(sparsity) * (m * n))
    if d is None and c is None:
        return nearest_degree(m, n, method, m * DEFAULT_DEGREE)
    if d is None:
        assert c is not None
        d = _row_degree(m, n, method, c)
    if d not in feasible_degrees(m, n, method):
        raise InfeasibleError(
            f"no {method} mask of {m} x {n} with d = {d}: {_rule(m, n, method)}; {_nearest(m, n, method, d)}"
        )
    return d


def kappa(size: int, sparsity: float) -> int:
    """How many of `size` = P weights are kept at the sparsity s: round((1.0 - s) * P), in doubles, half to even.

    The one rule of all that keeps a number of weights, of a layer (P = m n, multiplied first, so that the transposed
    layer keeps as many) or of a whole network (the sum over its layers), as in the code of SNIP and what followed it.
    It may be 0. Raises InfeasibleError for a sparsity outside [0, 1). O(1).

    >>> kappa(256 * 512, 0.98), kappa(5, 0.5)
    (2621, 2)
    """
    return min(round(density_of(sparsity) * size), size)  # above 2^53 a double may round P itself up


def kept_entries(m: int, n: int, *, d: int | None = None, c: int | None = None, sparsity: float | None = None) -> int:
    """How many of m n weights pruning keeps: m d, n c, or kappa(m n, sparsity); by none of them, 4 a row.

    Raises SaoError where more than one is given, InfeasibleError where one is out of range or keeps nothing. O(1).

    >>> kept_entries(256, 512, sparsity=0.98), kept_entries(10, 3)
    (2621, 30)
    """
    check_target(m, n, d=d, c=c, sparsity=sparsity)
    if sparsity is None:
        return m * (min(DEFAULT_DEGREE, n) if d is None else d) if c is None else n * c
    if (kept := kappa(m * n, sparsity)) == 0:
        raise InfeasibleError(
            f"sparsity {sparsity} of {m} x {n} would keep none of its {m * n} weights; "
            f"sparsity {1 - 1 / (m * n)} keeps one"
        )
    return kept


def kept_of_stack(
    shapes: Sequence[tuple[int, int]], *, d: int | None = None, c: int | None = None, sparsity: float | None = None
) -> int:
    """How many weights of all layers (m, n) together are kept: kappa of the sum of m n, or the sum of kept_entries.

    It may be 0. Raises as kept_entries does for what no layer has.

    >>> kept_of_stack([(5, 5), (5, 5)], sparsity=0.9), 2 * kept_entries(5, 5, sparsity=0.9)
    (5, 4)
    """
    if sparsity is None or not shapes:
        return sum(kept_entries(m, n, d=d, c=c) for m, n in shapes)
    for m, n in shapes:
        check_target(m, n, d=d, c=c, sparsity=sparsity)
    return kappa(sum(m * n for m, n in shapes), sparsity)


def layer_counts(
    m: int,
    n: int,
    method: str = "sao",
    *,
    d: int | None = None,
    c: int | None = None,
    sparsity: float | None = None,
) -> Counts:
    """What a layer of `method` has for that target: what builds it takes its number or its degree from here.

    `gmp` and `eoi` are not decided by arithmetic: for them it is what they aim at, layer by layer. Raises as
    resolve_degree and kept_entries do.

    >>> layer_counts(300, 784, "lmp", sparsity=0.98), layer_counts(300, 784, "xnet", sparsity=0.98)
    (Counts(c=None, d=None, nnz=4704), Counts(c=None, d=16, nnz=4800))
    """
    target = {"d": d, "c": c, "sparsity": sparsity}
    if method in PRUNED:
        return Counts(None, None, kept_entries(m, n, **target))  # type: ignore[arg-type]
    if method == "dense":  # whatever is asked for, but for what nothing can have
        check_target(m, n, **target)  # type: ignore[arg-type]
        return Counts(m, n, m * n)
    degree = resolve_degree(m, n, method, **target)  # type: ignore[arg-type]
    return Counts(None if method == "xnet" else m * degree // n, degree, m * degree)


def nearest_degree(m: int, n: int, method: str, ones: float) -> int:
    """The feasible row degree d with m d nearest to `ones`, the smaller on a tie; InfeasibleError where none is."""
    check_sizes(m, n)
    degrees = feasible_degrees(m, n, method)
    if not degrees:
        raise InfeasibleError(f"no {method} mask of {m} x {n}: {_rule(m, n, method)}")
    return min(_around(degrees, ones / m), key=lambda d: (abs(m * d - ones), d))


def check_target(m: int, n: int, *, d: int | None = None, c: int | None = None, sparsity: float | None = None) -> None:
    """Raise SaoError for more than one target, InfeasibleError for sizes, degrees or sparsities that no layer has."""
    check_sizes(m, n)
    if sum(option is not None for option in (d, c, sparsity)) > 1:
        raise SaoError("d, c and sparsity each fix the density; give one of them")
    if sparsity is not None:
        density_of(sparsity)
    if d is not None and not 1 <= d <= n:
        raise InfeasibleError(f"no mask of {m} x {n} has d = {d}: a row has {n} places, so d is from 1 to {n}")
    if c is not None and not 1 <= c <= m:
        raise InfeasibleError(f"no mask of {m} x {n} has c = {c}: a column has {m} places, so c is from 1 to {m}")


def density_of(sparsity: float) -> float:
    """1 - sparsity, checked: sparsity is a fraction from 0 up to, and without, 1."""
    if not 0 <= sparsity < 1:
        raise InfeasibleError(f"sparsity {sparsity} is outside 0 <= sparsity < 1; 0.99 keeps one weight in a hundred")
    return 1.0 - sparsity


def check_sizes(m: int, n: int) -> None:
    """Raise InfeasibleError unless both sizes are positive and their product can be counted in 63 bits."""
    for name, size in (("m", m), ("n", n)):
        if size < 1:
            raise InfeasibleError(f"{name} = {size}: a layer has at least one output (m) and one input (n)")
    if m * n >= 2**62:
        raise InfeasibleError(f"a mask of {m} x {n} has more places than 2**62; choose a smaller size")


def check_widths(widths: Sequence[int]) -> None:
    """Raise InfeasibleError unless `widths` describes at least one layer."""
    if len(widths) < 2:
        raise InfeasibleError(f"widths {list(widths)} describe no layer; give the input width and at least one more")
    for n, m in itertools.pairwise(widths):
        check_sizes(m, n)


def divisors(number: int) -> list[int]:
    """The divisors of `number`, ascending. O(sqrt(number))."""
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})


def _row_degree(m: int, n: int, method: str, c: int) -> int:
    d, rest = divmod(n * c, m)
    if rest and method == "xnet":
        raise InfeasibleError(
            f"no xnet mask of {m} x {n} has {c} ones a column on the mean, since {n}*{c} is not divisible by {m}; "
            f"give d, from 1 to {n}"
        )
    if rest:
        raise InfeasibleError(
            f"no (c, d)-regular mask of {m} x {n} with c = {c}: {n}*{c} is not divisible by {m}; "
            f"{_nearest(m, n, method, n * c / m)}"
        )
    return d


def _nearest(m: int, n: int, method: str, target: float) -> str:
    near = sorted(_around(feasible_degrees(m, n, method), target), key=lambda d: abs(d - target))[:3]
    if not near:
        return "no degree is feasible at these sizes"
    return "nearest feasible (c, d): " + ", ".join(f"({m * d // n}, {d})" for d in sorted(near))


def _around(degrees: Sequence[int], target: float) -> Sequence[int]:
    """The three degrees on each side of `target`, by bisection, since a wide layer may have a billion."""
    at = bisect.bisect(degrees, target)
    return degrees[max(at - 3, 0) : at + 3]


def _rule(m: int, n: int, method: str) -> str:
    common = math.gcd(m, n)
    if method == "biregular":
        return f"m*d must be divisible by n, so d is a multiple of {n // common}"
    if method == "radix":
        return f"d must be r*n/g with r a divisor of g and g a divisor of gcd({m}, {n}) = {common}"
    if method == "two-stage":
        p = min(m, n)
        return (
            f"d must be a*b with k = {n}/a a divisor of {math.gcd(p, n)}, q = {p}/b a divisor of {math.gcd(m, p)}, "
            f"k and q at most {p // 2}, and k*q at least {p}"
        )
    connected = ", and a connected graph needs c >= 2 and d >= 2" if method == "ramanujan" else ""
    return f"n/d must be a whole number that divides gcd({m}, {n}) = {common}{connected}"
