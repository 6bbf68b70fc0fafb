"""How many of a weight's columns are needed: its rank, and, up to a slack, its soft rank and independent columns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.progress import Progress, silent
from sao_cli.base.threads import one_thread
from sao_cli.data.matrix import FINITE, Matrix
from sao_cli.data.precision import PRECISIONS, precision_of
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.redundancy.pivoted import WIDE, pivoted_columns
from sao_cli.measure.values.by_array import dense_singular_values, gram_matrix, roots_of_gram
from sao_cli.measure.values.by_component import EXACT_ENTRIES, WeightComponents

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]

TAU_RELATIVE = 1e-2  # of sigma_max; an absolute slack has no meaning across layers (our choice)

_SAFE_EXPONENT = 200  # 2^+-200 can be squared and summed without overflow or loss


@dataclass(frozen=True, eq=False, kw_only=True)
class Ranks:
    """The ranks of a weight W (m, n) with a bias b, What = [W, b]; `tau` is the slack that they are soft by.

    `rank` and `rank_with_bias` count the singular values of W and of What above max(m, n) eps sigma_max (numpy's rule,
    of either's own sides). `soft_rank` counts those of What that are at least tau, `mlis_soft` the columns of What that
    QR with column pivoting takes before all that are left lie within tau of their span. `slack` is the least ||What a||
    over unit vectors a, 0 where What has more columns than rows. `stable_rank` is ||W||_F^2 / sigma_max^2, None of a
    weight of zeros. `singular_values` (min(m, n + 1),) are What's, descending.
    """

    rank: int
    rank_with_bias: int
    soft_rank: int
    mlis_soft: int
    tau: float
    slack: float
    stable_rank: float | None
    singular_values: Values


def ranks(
    weight: NDArray[Any],
    bias: NDArray[Any] | None = None,
    *,
    tau: float | None = None,
    tau_relative: float = TAU_RELATIVE,
    dtype: str | None = None,
    progress: Progress = silent,
) -> Ranks:
    """The Ranks of a dense `weight` (m, n) and its `bias` (m,), by the singular values of both W and [W, b].

    Lee et al. (Appl. Sci. 2021, 11, 725, section 3) call columns softly dependent where ||What a|| < tau for some
    a != 0, which scaling a makes true of all: here ||a||_2 = 1, and such directions are exactly as many as What has
    singular values below tau, and columns beyond its rows. `soft_rank` is the number of the other ones. A subset of
    columns that is softly independent at most (`mlis_soft`, see `independent_columns`) is another number, and neither
    bounds the other. `tau` is absolute, else `tau_relative` times What's sigma_max.

    `dtype` is what the numbers were born in, where numpy lacks it; eps is float32's for half precision, which is taken
    as it is stored. Where columns are at most twice the rows and the numbers float32, one Gram matrix in float64 has
    the singular values and, by pivoted Cholesky, the subset; else an SVD and LAPACK's geqp3. A weight that falls apart
    into connected components is taken component by component.

    Raises FormatError for numbers that are not finite and sizes that do not fit, SaoError for a tau that is not
    positive and for more than 4,096 on the shorter side or 2^27 numbers, MemoryLimitError. O(m n min(m, n)), a few
    times.

    >>> found = ranks(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.1]]), np.array([0.0, 1.0]), tau=0.5)
    >>> found.rank, found.rank_with_bias, found.soft_rank, found.mlis_soft, found.slack
    (2, 2, 1, 1, 0.0)
    """
    _check_tau(tau, tau_relative)
    given = _Given.of(weight, bias, dtype)
    m, n, more = *given.weight.shape, given.columns
    with one_thread(min(m, n)):
        progress(f"singular values of {m} x {n + more}", 0, None)
        whole = given.whole
        values = whole.values()
        plain = values if whole.dense is given.weight else given.plain.values()
        limit = tau_relative * float(values[0]) if tau is None else math.ldexp(tau, -given.exponent)
        limit = limit or math.ulp(0.0)  # of a weight of zeros: nothing of it is needed
        progress(f"independent columns of {m} x {n + more}", 0, None)
        subset = whole.count(limit)
    return Ranks(
        rank=_count(plain, max(m, n) * given.eps),
        rank_with_bias=_count(values, max(m, n + more) * given.eps),
        soft_rank=int(np.count_nonzero(values >= limit)),
        mlis_soft=subset,
        tau=math.ldexp(limit, given.exponent) if tau is None else tau,
        slack=0.0 if n + more > m or whole.dense.shape[1] < n + more else math.ldexp(float(values[-1]), given.exponent),
        stable_rank=float(((plain / plain[0]) ** 2).sum()) if plain[0] else None,
        singular_values=np.pad(np.ldexp(values, given.exponent), (0, min(m, n + more) - len(values))),
    )


def independent_columns(
    weight: NDArray[Any], bias: NDArray[Any] | None = None, *, tau: float | None = None, dtype: str | None = None
) -> Numbers:
    """The numbers of columns of [W, b] that are independent and span it all, in the order of their choice.

    QR with column pivoting (Golub and Van Loan, 4th ed., section 5.4.2; LAPACK's geqp3): each next column is the one
    farthest from the span of those before it. Without `tau` as many as the rank; with it, until all that are left lie
    nearer than `tau` to that span. The bias, where there is one, is column n. Raises what `ranks` does, and costs as
    much.

    >>> independent_columns(np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.1]])).tolist()
    [1, 2]
    >>> independent_columns(np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.1]]), tau=0.5).tolist()
    [1]
    """
    _check_tau(tau, TAU_RELATIVE)
    given = _Given.of(weight, bias, dtype)
    whole = given.whole
    with one_thread(min(given.weight.shape)):
        if tau is not None:
            return pivoted_columns(whole.dense, math.ldexp(tau, -given.exponent))
        m, n = given.weight.shape
        rank = _count(whole.values(), max(m, n + given.columns) * given.eps)
        return pivoted_columns(whole.dense, math.ulp(0.0))[:rank]


def why_out_of_reach(m: int, n: int) -> str | None:
    """Why `ranks` does not take a weight (m, n), with its bias; None where it does."""
    if min(m, n) <= EXACT_SIDE and m * n <= EXACT_ENTRIES:
        return None
    return (
        f"the ranks of {m} x {n} would take too long: they are told up to {EXACT_SIDE} on the shorter side and "
        f"{EXACT_ENTRIES} numbers"
    )


@dataclass(frozen=True, eq=False)
class _Given:
    """A weight W and what of [W, b] is not a bias of zeros (`whole`), times 2^-exponent; b, if any, is `columns`."""

    weight: NDArray[Any]
    whole: _Array
    columns: int
    exponent: int
    eps: float

    @classmethod
    def of(cls, weight: NDArray[Any], bias: NDArray[Any] | None, dtype: str | None) -> _Given:
        weight = _checked(weight, "weight", 2)
        columns = 0 if bias is None else 1
        if (reason := why_out_of_reach(weight.shape[0], weight.shape[1] + columns)) is not None:
            raise SaoError(reason)
        eps = min(PRECISIONS[dtype or precision_of(weight.dtype)], PRECISIONS["float32"])
        whole = weight
        if bias is not None:
            bias = _checked(bias, "bias", 1)
            if len(bias) != len(weight):
                raise FormatError(f"a bias of {len(bias)} numbers for a weight of {len(weight)} rows; one for each")
            whole = np.column_stack((weight, bias)) if bias.any() else weight
        exponent = _exponent(whole)
        if exponent:
            whole = np.ldexp(whole, -exponent)
        return cls(whole[:, : weight.shape[1]] if whole is not weight else whole, _Array(whole), columns, exponent, eps)

    @cached_property
    def plain(self) -> _Array:
        """W without the bias; of the same Gram matrix, where there is one."""
        return _Array(self.weight, self.whole.gram)


class _Array:
    """A dense array (m, n), its singular values, and how many of its columns are independent up to a slack.

    `gram` is the Gram matrix of more columns than these.
    """

    def __init__(self, dense: NDArray[Any], gram: Values | None = None) -> None:
        self.dense = dense
        self._gram = None if gram is None else gram[: dense.shape[1], : dense.shape[1]]

    def values(self) -> Values:
        """(min(m, n),) the singular values, descending."""
        if self.gram is not None:
            found = roots_of_gram(self.gram)
        elif self._parts is None:
            found = dense_singular_values(self._live).values
        else:
            found = np.sort(self._parts.values(np.arange(self._parts.components.count)))[::-1]
        values = np.zeros(min(self.dense.shape))
        count = min(len(values), len(found))
        values[:count] = found[:count]
        return values

    def count(self, tau: float) -> int:
        """How many columns pivoted_columns takes; those of one component are orthogonal to those of another."""
        if self._parts is None:
            return len(pivoted_columns(self._live, tau, self.gram))
        components = self._parts.components
        batches = components.batches(np.arange(components.count), self._parts.weight.values)
        return sum(len(pivoted_columns(block, tau)) for _, batch in batches for block in batch)

    @cached_property
    def gram(self) -> Values | None:
        """The Gram matrix of all columns, where singular values come from it and there are not many more than rows."""
        if self._gram is not None:
            return self._gram
        whole = self._live is self.dense and self._parts is None and self.dense.dtype != np.float64
        return gram_matrix(self.dense) if whole and self.dense.shape[1] <= WIDE * self.dense.shape[0] else None

    @cached_property
    def _parts(self) -> WeightComponents | None:
        """The connected components of the non-zeros, where there are several or none; None of one alone."""
        if np.count_nonzero(self.dense) == self.dense.size:
            return None
        parts = WeightComponents.of(Matrix.from_dense(self.dense.astype(np.float64, copy=False)))
        return None if parts.components.count == 1 else parts

    @cached_property
    def _live(self) -> NDArray[Any]:
        """The array without rows and columns of zeros."""
        live = self.dense != 0
        rows, columns = live.any(axis=1), live.any(axis=0)
        return self.dense if rows.all() and columns.all() else self.dense[np.ix_(rows, columns)]


def _checked(numbers: NDArray[Any], what: str, axes: int) -> NDArray[Any]:
    """The numbers as float32, where no more precise, or float64; FormatError where they are no such array."""
    numbers = np.asarray(numbers)
    if numbers.ndim != axes or not numbers.size:
        raise FormatError(f"a {what} of shape {numbers.shape}: it has {axes} axes, each of at least 1")
    if numbers.dtype.kind not in "biuf":
        raise FormatError(f"a {what} of type {numbers.dtype}; it has real numbers")
    narrow = numbers.dtype in (np.float16, np.float32)
    numbers = numbers.astype(np.float32 if narrow else np.float64, copy=False)
    if not np.isfinite(numbers).all():
        raise FormatError(f"the {what} holds {numbers[~np.isfinite(numbers)][0]}; {FINITE}")
    return numbers


def _exponent(dense: NDArray[Any]) -> int:
    """By which power of two to divide, so that squares stay in range; 0 where they do anyway."""
    peak = max(float(dense.max()), -float(dense.min()))
    exponent = math.frexp(peak)[1]
    return exponent if dense.dtype == np.float64 and abs(exponent) > _SAFE_EXPONENT else 0


def _check_tau(tau: float | None, tau_relative: float) -> None:
    for name, value in (("--tau", tau), ("--tau-relative", tau_relative)):
        if value is not None and not 0 < value < math.inf:
            raise SaoError(f"{name} {value:g}; it is a slack: a finite number above 0")


def _count(values: Values, share: float) -> int:
    """How many of the values, descending, are above that share of the first."""
    return int(np.count_nonzero(values > share * values[0]))
