"""Which degrees each construction can have at given sizes, and the nearest to what was asked."""

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.base.names import check, load
from sao_cli.catalog import METHODS, Method

DEFAULT_DEGREE = 4  # the paper's d in all its fully-connected experiments (Tables 6 and 7)


class Counts(NamedTuple):
    """What a method keeps of a layer: c ones in each column and d in each row, None where they vary, `nnz` in all."""

    c: int | None
    d: int | None
    nnz: int


def feasible_degrees(m: int, n: int, method: str = "sao") -> Sequence[int]:
    """Every row degree d, ascending, that `method` can give an (m, n) mask: what `feasible` of its construction says.

    `sao`, and the methods on its masks, need K = n/d to divide gcd(m, n) (SAO, section IV-A, in the form of K groups
    of c = m/K rows and d = n/K columns), `ramanujan` also a connected graph, so min(c, d) >= 2 unless K = 1;
    `biregular` needs n to divide m d; `radix` needs d = r n/g for a radix r that divides a common divisor g
    of m and n (Kepner and Robinett 2019); `xnet` and those that keep a number of weights (lmp, gmp, lrp, eoi), whose
    column degrees differ, take any; `two-stage` needs a product of two feasible stages' degrees; `dense` is all ones.
    A range where the degrees are evenly spaced. Raises SaoError for an unknown method. O(sqrt(gcd))
    arithmetic, times the number of divisors for `radix`, and the square of it more for `two-stage`.

    >>> feasible_degrees(512, 256)[:4]
    [1, 2, 4, 8]
    """
    check_sizes(m, n)
    row = _row(method)
    if row.full or row.keeps:
        return range(n if row.full else 1, n + 1)
    found: Sequence[int] = _beside(row, "feasible")(m, n)
    return found


def check_stack(shapes: Sequence[tuple[int, int]], degrees: Sequence[int], method: str) -> None:
    """Raise InfeasibleError where `method` builds all layers (m, n) at once, and not with these row degrees.

    It is where each may have its own, as of `radix`, whose layers share a numeral system; others always can.

    >>> check_stack([(6, 6), (6, 6)], [2, 3], "radix")
    """
    row = _row(method)
    if row.mask and row.whole_stack:
        _beside(row, "check_stack")(shapes, degrees)


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
    row = _row(method)
    if row.keeps:
        return Counts(None, None, kept_entries(m, n, **target))  # type: ignore[arg-type]
    if row.full:  # whatever is asked for, but for what nothing can have
        check_target(m, n, **target)  # type: ignore[arg-type]
        return Counts(m, n, m * n)
    degree = resolve_degree(m, n, method, **target)  # type: ignore[arg-type]
    return Counts(None if row.varied else m * degree // n, degree, m * degree)


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
    if rest and _row(method).varied:
        raise InfeasibleError(
            f"no {method} mask of {m} x {n} has {c} ones a column on the mean, since {n}*{c} is not divisible by {m}; "
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
    row = _row(method)
    if row.full:
        return f"it is all ones, so d is {n}"
    rule: str = _beside(row, "rule")(m, n)
    return rule


def _row(method: str) -> Method:
    """The catalog's row of what the mask of `method` is."""
    check("method", method, METHODS)
    return METHODS[METHODS[method].on or method]


def _beside(row: Method, name: str) -> Callable[..., Any]:
    """What the file of a mask's construction says of its sizes: `feasible`, `rule`, `check_stack`."""
    return load(f"{row.mask.partition(':')[0]}:{name}")
