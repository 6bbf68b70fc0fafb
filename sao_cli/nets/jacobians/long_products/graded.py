"""Products of a thousand matrices whose small singular values are right: graded U D T factors, D as exponents."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError, SaoWarning
from sao_cli.base.memory import require_memory
from sao_cli.nets.jacobians.long_products.arithmetic import (
    Array,
    contiguous,
    namespace,
    on_host,
    picked,
    quietly,
    set_diagonal_,
)
from sao_cli.nets.jacobians.long_products.graded_values import SVD_ERROR, graded_log2_singular_values
from sao_cli.nets.jacobians.long_products.noise import Noise, row_noise, row_peaks
from sao_cli.nets.jacobians.long_products.orthogonalisation import no_better_than_larger, orthogonalised
from sao_cli.nets.jacobians.long_products.overtaking import Overtaking
from sao_cli.nets.jacobians.long_products.scales import (
    DEAD,
    column_exponents,
    graded_bits,
    is_live,
    normalised_,
    peaks,
    power_of_two,
    range_bits,
    rescaled_,
)

Values = NDArray[np.float64]
Exponents = NDArray[np.int64]
Factor: TypeAlias = Array | Callable[[Array], Array]

LEEWAY = 40.0  # bits: a condition number of eps^(-1/2), and the square root of 8192 rows
UNSEEN = 400.0  # bits that a column may have moved unseen: its square is still in range
LONGEST = 32  # factors between two orthogonalisations, at most
UNRESOLVED = 0.5  # relative error of a singular value of which nothing is known


@dataclass(frozen=True, eq=False, kw_only=True)
class LogSingularValues:
    """Logarithms of the singular values of each product of a batch, descending; see GradedProduct.

    `values` (..., min(m, n)) float64, -inf where a value is not resolved; `rank` (...) int64 counts those that are told
    from zero, of which some may not be resolved: their relative error is past 1/2. `error` estimates the absolute error
    of the other natural logarithms, i.e. the relative error of the singular values. The leading axis is the batch,
    absent where the product has none.
    """

    values: Values
    rank: NDArray[np.int64]
    error: float


class GradedProduct:
    """J = A_L ... A_1, accumulated a factor at a time, with all of its singular values to high relative accuracy.

    It is held as J = M diag(2^e) T: T well conditioned, e whole numbers apart from the floating-point numbers, so that
    nothing overflows, and M = A_l ... A_k U the plain product of the latest factors with orthonormal columns U. When M
    may have become ill conditioned, its columns are sorted by norm times 2^e and factored, M P = Q R; Q becomes
    U, the diagonal of R goes into e, and D^-1 R P^T T becomes T (Loh et al. 1992; Bauer, SciPost Phys. Core 2, 2020,
    011; sorting instead of pivoting: Tomas et al., IPDPS 2012, 308). A QR is backward stable column by column,
    therefore whatever the grading D is. J's singular values are D T's, found by a one-sided Jacobi SVD, which
    is relatively accurate for such matrices (Demmel and Veselic, SIAM J. Matrix Anal. Appl. 13, 1992, 1204; LAPACK's
    gejsv: Drmac and Veselic, SIAM J. Matrix Anal. Appl. 29, 2008, 1322).

    Where sorted columns don't give a bounded D^-1 R, or depend on each other, the columns are pivoted in panels with
    the exponents at hand, and a column of which at most 8 max(m, n) eps of its own norm is left is set to zero: its
    direction is no part of the rank. (LAPACK's geqp3 compares scaled columns alone, and takes the noise that is left
    of a large dependent column before a small independent one.)

    Nothing is lost by scale alone. A column of M that leaves 2^-40 to 2^40 hands its power of two to e, and is looked
    at before it can leave float64. A factor whose rows span more than a quarter of a number's bits ends its group, and
    its rows are sorted before the QR, whose error is then relative to each row. One whose columns do is multiplied as
    two: the powers of two of its columns, which scale rows of M, and the rest.

    Condition numbers are those of M with its columns scaled to norm 1, and rows that span decades too, estimated at
    each orthogonalisation. Their growth per factor decides how many factors the next group has, so that they stay near
    eps^(-1/6), 406 in float64: a group then costs a relative error of about eps^(5/6) = 1e-13, and one that is a
    thousand times worse than those before it keeps 1e-10. A group past eps^(-1/2) gives a SaoWarning; `interval` then
    sets the number by hand. Errors are counted for each direction from the largest on, so that those of the small
    ones leave the others alone.

    `columns` is n, the columns of A_1. `batch` is the number B of independent chains, None for one chain without that
    axis. `dtype` is torch.float64, which None stands for, or torch.float32 with its own eps: then all is done in torch
    on `device`. Of numpy.float64 or numpy.float32 it is done in numpy, and torch is not loaded. Raises SaoError for any
    other, and for sizes below 1. Each orthogonalisation costs O(B m n min(m, n)). The memory is 3 Jacobians of
    (B, m, n), of which numpy takes 2 and a quarter where m = n, and up to 3 more while columns are pivoted.

    >>> product = GradedProduct(2, dtype=np.float64)
    >>> for _ in range(1000):
    ...     product.multiply([[0.0, 1e-3], [2.0, 0.0]])
    >>> product.log_singular_values(base=10).values.round(6)
    array([-1349.485002, -1349.485002])
    """

    def __init__(
        self,
        columns: int,
        *,
        batch: int | None = None,
        dtype: Any = None,
        device: Any = "cpu",
        interval: int | None = None,
    ) -> None:
        self._dtype = _checked_dtype(dtype)
        for name, number in (("columns", columns), ("chains", batch), ("factors between orthogonalisations", interval)):
            if number is not None and number < 1:
                raise SaoError(f"{number} {name}; a product needs at least 1")
        self.depth, self.orthogonalisations = 0, 0
        self._xp = xp = namespace(self._dtype)
        self._batch, self._device, self._on_cpu = batch, device, str(device).startswith("cpu")
        self._shape = (columns, columns)
        self._eps = float(xp.finfo(self._dtype).eps)
        self._fixed, self._interval, self._pending = interval, 1, 0
        self._growth = 0.0
        self._unseen = 0.0  # binary orders of magnitude that the product may have moved since it was looked at
        self._rows: Values | None = None  # scales of the last factor's rows
        self._full = False  # whether the group is to end: what is in M spans decades
        self._exact = False  # whether M's columns were only scaled
        self._largest = 0
        self._exponents = xp.zeros((batch or 1, columns), dtype=xp.int64, device=device)
        self._errors = xp.zeros((batch or 1, columns), dtype=xp.float64, device=device)  # of the directions
        self._overtaking = Overtaking()
        self._start = self._exponents  # at the group's start, when M's columns had norm 1
        self._product: Array | None = None  # M; None is the identity
        self._right: Array | None = None  # T; None is the identity

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n) of the product so far."""
        return self._shape

    def multiply(self, factor: Factor, rows: Values | None = None, columns: Exponents | None = None) -> None:
        """Multiply from the left by `factor`, A, of shape (m_l, m_{l-1}) or (B, m_l, m_{l-1}).

        Either a dense real matrix, or a callable that gives A X for X of shape (B, m_{l-1}, k), or (m_{l-1}, k)
        without a batch, in X's dtype and on its device, as a new array or in the place of X; k is at most n, and falls
        with the rank. A callable may come with the largest magnitudes in each of its `rows`, (m_l,) or (B, m_l): then
        its grading is known, and on a CPU the range of the product is looked at after a few factors and not after each.
        With `columns` (m_{l-1},), whole numbers, the factor is A diag(2^columns).

        Raises FormatError where the shapes don't chain, for complex numbers and for numbers that are not finite (on
        a GPU, and with `rows`, when it is looked at or orthogonalised next), MemoryLimitError on a CPU.
        """
        with quietly(self._dtype):
            if callable(factor):
                self._require_memory(self._shape[0])
            else:
                factor = self._xp.asarray(factor if hasattr(factor, "dtype") else np.asarray(factor))
                _require_matrices(factor, self._shape[0], self._batch)
                self._require_memory(factor.shape[-2])
                factor, rows, columns = self._balanced(factor)
            if columns is not None:
                self._scale(columns)
            self._multiply(factor, rows)
        self.depth += 1

    def log_singular_values(self, base: float = math.e) -> LogSingularValues:
        """The logarithms to `base` of the min(m, n) singular values of the product so far; more factors may follow.

        The pending factors are orthogonalised, and each chain's D T, (r, n), is decomposed on the CPU in float64.
        O(B (m + n) r^2). Raises SaoError for a base that is not above 1.

        >>> product = GradedProduct(3, dtype=np.float64)
        >>> product.multiply(np.diag([2.0, 0.0, 8.0]))
        >>> found = product.log_singular_values(base=2)
        >>> found.values, int(found.rank)
        (array([  3.,   1., -inf]), 2)
        """
        if not base > 1:
            raise SaoError(f"logarithms to base {base}; a base is above 1")
        with quietly(self._dtype):
            self._orthogonalise()
        exponents = on_host(self._exponents)
        values = np.full((len(exponents), min(self._shape)), -np.inf)
        rank, errors = np.zeros(len(exponents), dtype=np.int64), np.full(values.shape, SVD_ERROR * min(self._shape))
        for chain, scales in enumerate(exponents):
            live = is_live(scales)
            size = rank[chain] = live.sum()
            right = np.eye(len(scales)) if self._right is None else _as_float64(self._right[chain])
            found, condition = graded_log2_singular_values(right[live], scales[live])
            values[chain, :size] = found / math.log2(base)
            errors[chain, :size] += self._rounding(chain)[live][np.argsort(-scales[live])] + self._eps * condition
            errors[chain, :size] += 2.0**-52 * np.abs(found)  # of sums of so large numbers
            errors[chain] = np.maximum.accumulate(errors[chain])
        values[errors > UNRESOLVED] = -np.inf
        error = float(errors[np.isfinite(values)].max(initial=errors.min()))
        if self._batch is None:
            return LogSingularValues(values=values[0], rank=rank[0], error=error)
        return LogSingularValues(values=values, rank=rank, error=error)

    def _rounding(self, chain: int) -> Values:
        """Relative errors of the directions, by how much of each rounding left and by what overtaking made of it."""
        counted: Values = on_host(self._errors[chain])
        if self.orthogonalisations:
            counted = counted + self._eps * np.exp2(np.minimum(self._overtaking.bits(chain), 1000.0))
        return counted

    def _balanced(self, factor: Array) -> tuple[Array, Values, Exponents | None]:
        """The factor in the product's dtype, with columns that don't span decades, its rows' and its columns' scales.

        Those are kept apart where a chain has too wide a range of them, in powers of two, the same in all chains.
        """
        xp = self._xp
        largest = _as_float64(peaks(factor.reshape(-1, factor.shape[-1]), axis=-2))
        if not np.isfinite(largest).all():
            raise FormatError(f"factor {self.depth + 1} gives {largest.max()}; every value must be a finite number")
        columns = column_exponents(largest, self._graded)
        if columns is not None:
            factor = xp.ldexp(xp.asarray(factor, dtype=xp.float64), xp.asarray(-columns, device=factor.device))
        rows = _as_float64(peaks(factor, axis=-1))
        return xp.asarray(factor, dtype=self._dtype, device=self._device), rows, columns

    @property
    def _graded(self) -> float:
        return graded_bits(self._dtype)

    def _scale(self, exponents: Exponents) -> None:
        """Multiply by diag(2^exponents): by what all have in common without M, by the rest in steps that M can hold."""
        common = int(exponents.max() + exponents.min()) // 2
        self._exponents = self._exponents + common  # a dead direction's stays far below all others
        self._start = self._start + common
        rest, most = exponents - common, 900 if self._dtype == self._xp.float64 else 100
        while rest.any():
            step = rest.clip(-most, most)
            powers = power_of_two(self._xp.asarray(step, device=self._device), self._dtype)[:, None]
            self._orthogonalise()
            self._multiply(functools.partial(self._xp.multiply, powers), np.ldexp(1.0, step))
            self._exact, rest = True, rest - step

    def _multiply(self, factor: Factor, rows: Values | None) -> None:
        if self._pending >= (self._fixed or self._interval) or self._full or self._exact:
            self._orthogonalise()
        bits = 0.0 if rows is None else range_bits(rows)
        if bits > UNSEEN / 2 and self._product is not None:  # a step as wide could leave the range at once
            self._exponents = self._exponents + rescaled_(self._product)
        product = self._applied(factor)
        self._full = bits > self._graded
        if not self._is_within(rows):
            self._rescale_(product)
            self._unseen = 0.0
        self._product, self._shape = product, (product.shape[-2], self._shape[1])
        self._rows = rows
        self._pending += 1

    def _applied(self, factor: Factor) -> Array:
        before, chains, xp = self._product, self._batch or 1, self._xp
        if not callable(factor):
            if before is None:
                return contiguous(xp.tile(factor, (chains if factor.ndim == 2 else 1, 1, 1)))
            return factor @ before
        if before is None:
            before = xp.zeros((chains, self._shape[0], self._shape[0]), dtype=self._dtype, device=self._device)
            set_diagonal_(before, xp.ones_like(before[:, 0]))
        given = tuple(before.shape)
        product = factor(before if self._batch is not None else before[0])
        product = product if self._batch is not None else product[None]
        got = tuple(product.shape)
        if len(got) != 3 or got[::2] != given[::2] or product.dtype != self._dtype:
            made = f"{got} {product.dtype} of {given} {self._dtype}"
            raise FormatError(f"a factor made {made}; it must keep the dtype and all sizes but the rows'")
        return contiguous(product)

    def _require_memory(self, rows: int) -> None:
        entries = (self._batch or 1) * max(rows, self._shape[1]) * self._shape[1]
        if self._on_cpu and entries > self._largest:
            held = 0 if self._product is None else math.prod(self._product.shape)
            needed = (3 * entries - held) * self._xp.finfo(self._dtype).bits // 8
            require_memory(needed, f"a product of {rows} x {self._shape[1]}", "choose fewer inputs or a smaller width")
            self._largest = entries

    def _is_within(self, rows: Values | None) -> bool:
        """Whether no column can have left the range of float64 by a factor whose rows' scales are known.

        A factor moves the norm of a column by no more than its rows are large or small, but for what M's condition
        number and its size allow: LEEWAY.
        """
        if rows is None or self._dtype != self._xp.float64:
            return False
        scales = rows[rows > 0]
        if not scales.size or not math.isfinite(scales.max()):
            return False
        self._unseen += max(abs(math.log2(scales.max())), abs(math.log2(scales.min()))) + LEEWAY
        return self._unseen < UNSEEN

    def _rescale_(self, product: Array) -> None:
        """Hand the powers of two of columns to e where one is large or small; on a GPU always, without a look at it."""
        xp = self._xp
        if self._on_cpu:
            largest = peaks(product, axis=-2)
            if not math.isfinite(high := float(largest.max())):
                raise FormatError(f"factor {self.depth + 1} gives {high}; every value must be a finite number")
            low = float(xp.where(largest > 0, largest, 1.0).min())
            if low > 2.0**-40 and high < 2.0**40:
                return
        self._exponents = self._exponents + rescaled_(product)
        live = is_live(self._exponents)
        moved = self._exponents - self._start
        high, low = (sign * xp.amax(xp.where(live, sign * moved, DEAD), axis=-1) for sign in (1, -1))
        self._full = self._full or bool((high - low > UNSEEN).any())  # where noise is still told in float64

    def _orthogonalise(self) -> None:
        if not self._pending:
            return
        if not math.isfinite(float(peaks(self._product, axis=-1).max())):
            raise FormatError(
                f"factors up to {self.depth} make numbers that are not finite; every value must be finite"
            )
        noise = self._normalise_()
        rank = is_live(self._exponents).sum(axis=-1).clip(max=self._shape[0])
        found = orthogonalised(self._taken(), self._exponents, self._right, self._eps, noise)
        self._product, self._exponents, self._right, order, blocks, condition, amplified = found
        del found
        # Rows of T drift otherwise, each by up to a factor 2 a group, and then D is not the scale to sort by.
        self._exponents = normalised_(self._right.mT, self._exponents)
        self._errors = picked(self._errors, order) + self._eps * amplified
        self._errors = no_better_than_larger(self._errors, self._exponents)
        self._overtaking.add(self._exponents, order, blocks)
        self._rows, self._unseen, self._start, self._exact = None, 0.0, self._exponents, False
        self._learn(condition, float(amplified.max()), bool((is_live(self._exponents).sum(axis=-1) < rank).any()))

    def _normalise_(self) -> Noise:
        """Give M's columns norm 1; what they are right to: as large as a row is, or was made, rounding may be in it."""
        assert self._product is not None
        product, before, xp = self._product, self._exponents, self._xp
        live = is_live(before)
        moved = xp.where(live, before - self._start, DEAD)
        common = xp.amax(moved, axis=-1, keepdims=True).clip(min=DEAD // 4)
        rows = row_peaks(product, None if bool(((moved == common) | ~live).all()) else moved - common)
        self._exponents = normalised_(product, before)
        if self._exact:
            return row_noise(row_peaks(product), xp.ones_like(product[:, 0]))
        if self._pending == 1 and self._rows is not None:
            told = xp.asarray(self._rows, device=self._device)
            rows = xp.maximum(rows, told * power_of_two((-common).clip(-1000, 1000), xp.float64))
        sizes = power_of_two(self._exponents - self._start - common, xp.float64)
        return row_noise(rows, sizes)

    def _taken(self) -> Array:
        product, self._product = self._product, None
        assert product is not None
        return product

    def _learn(self, condition: float, amplified: float, lost: bool) -> None:
        """Choose the length of the next group by the growth of the condition number in this one.

        Directions that are lost in an ill-conditioned group may have been small, not zero: so that is told earlier.
        """
        if amplified > self._eps ** (-0.25 if lost and self._pending > 1 else -0.5):
            last = f"{self.depth - self._pending + 1} to {self.depth}" if self._pending > 1 else f"{self.depth}"
            way_out = "set interval=1" if self._pending > 1 else "its small singular values are resolved no better"
            text = f"factors {last} have a condition number of about {amplified:.1g}: digits are lost; {way_out}"
            warnings.warn(text, SaoWarning, stacklevel=4)
        growth = max(6 * math.log2(condition), 4 * math.log2(amplified)) / self._pending
        self._growth = max(growth, 0.7 * self._growth, 1e-3)
        allowed = int(-math.log2(self._eps) / self._growth)
        self._interval = max(1, min(allowed, max(2 * self._pending, self._interval), LONGEST))
        self._pending = 0
        self.orthogonalisations += 1


def _checked_dtype(dtype: Any) -> Any:
    """Torch's or numpy's own, float64 or float32; None is torch's float64."""
    checked = namespace(None).float64 if dtype is None else np.dtype(dtype) if isinstance(dtype, type) else dtype
    if checked not in ((xp := namespace(checked)).float64, xp.float32):
        raise SaoError(f"long products in {checked} would resolve next to nothing; choose float64 or float32")
    return checked


def _as_float64(array: Array) -> Values:
    host: Values = on_host(array).astype(np.float64, copy=False)
    return host


def _require_matrices(factor: Array, rows: int, batch: int | None) -> None:
    shape = tuple(factor.shape)
    if (
        factor.ndim not in ((2,) if batch is None else (2, 3))
        or shape[-1] != rows
        or (len(shape) == 3 and shape[0] != batch)
    ):
        chains = "" if batch is None else f" or ({batch}, m, {rows})"
        raise FormatError(f"a factor of shape {shape} after {rows} rows; it must be (m, {rows}){chains}")
    if "complex" in str(factor.dtype):
        raise FormatError(f"a factor of {factor.dtype}; a product needs real numbers")
