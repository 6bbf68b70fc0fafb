"""Products of a thousand matrices whose small singular values are right: graded U D T factors, D as exponents."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from sao_cli.errors import FormatError, SaoError, SaoWarning
from sao_cli.memory import require_memory
from sao_cli.nets.long_products.orthogonalisation import is_live, normalised_, orthogonalised, power_of_two
from sao_cli.nets.long_products.values import SVD_ERROR, graded_log2_singular_values

Values = NDArray[np.float64]
Factor: TypeAlias = torch.Tensor | Callable[[torch.Tensor], torch.Tensor]

LEEWAY = 40.0  # bits: a condition number of eps^(-1/2), and the square root of 8192 rows
UNSEEN = 400.0  # bits
LONGEST = 32  # factors between two orthogonalisations, at most


@dataclass(frozen=True, eq=False, kw_only=True)
class LogSingularValues:
    """Logarithms of the singular values of each product of a batch, descending; see GradedProduct.

    `values` (..., min(m, n)) float64, -inf where a value is zero as far as the arithmetic can tell; `rank` (...)
    int64 counts the others; `error` estimates the absolute error of the natural logarithms, i.e. the relative error
    of the singular values. The leading axis is the batch, absent where the product has none.
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

    Condition numbers are those of M with its columns scaled to norm 1, estimated at each orthogonalisation. Their
    growth per factor decides how many factors the next group has, so that they stay near eps^(-1/6), 406 in float64:
    a group then costs a relative error of about eps^(5/6) = 1e-13, and one that is a thousand times worse than those
    before it keeps 1e-10. A group past eps^(-1/2) gives a SaoWarning; `interval` then sets the number by hand.

    `columns` is n, the columns of A_1. `batch` is the number B of independent chains, None for one chain without that
    axis. `dtype` is torch.float64, or torch.float32 with its own eps. Raises SaoError for any other, and for sizes
    below 1. Each orthogonalisation costs O(B m n min(m, n)). The memory is 3 Jacobians
    of (B, m, n), and up to 3 more while columns are pivoted.

    >>> product = GradedProduct(2)
    >>> for _ in range(1000):
    ...     product.multiply(torch.tensor([[0.0, 1e-3], [2.0, 0.0]], dtype=torch.float64))
    >>> product.log_singular_values(base=10).values.round(6)
    array([-1349.485002, -1349.485002])
    """

    def __init__(
        self,
        columns: int,
        *,
        batch: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        interval: int | None = None,
    ) -> None:
        if dtype not in (torch.float64, torch.float32):
            raise SaoError(f"long products in {dtype} would resolve next to nothing; choose float64 or float32")
        for name, number in (("columns", columns), ("chains", batch), ("factors between orthogonalisations", interval)):
            if number is not None and number < 1:
                raise SaoError(f"{number} {name}; a product needs at least 1")
        self.depth, self.orthogonalisations = 0, 0
        self._batch, self._dtype, self._device = batch, dtype, torch.device(device)
        self._shape = (columns, columns)
        self._eps = float(torch.finfo(dtype).eps)
        self._fixed, self._interval, self._pending = interval, 1, 0
        self._error, self._growth = 0.0, 0.0
        self._unseen = 0.0  # binary orders of magnitude that the product may have moved since it was looked at
        self._largest = 0
        self._exponents = torch.zeros(batch or 1, columns, dtype=torch.int64, device=self._device)
        self._product: torch.Tensor | None = None  # M; None is the identity
        self._right: torch.Tensor | None = None  # T; None is the identity

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n) of the product so far."""
        return self._shape

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def multiply(self, factor: Factor, largest: float | None = None) -> None:
        """Multiply from the left by `factor`, A, of shape (m_l, m_{l-1}) or (B, m_l, m_{l-1}).

        Either a dense real tensor, or a callable that gives A X for X of shape (B, m_{l-1}, k), or (m_{l-1}, k)
        without a batch, in X's dtype and on its device; k is at most n, and falls with the rank. `largest` is the
        largest magnitude in A, where it is known: on a CPU the range of the product is then looked at after a few
        factors and not after each.

        Raises FormatError where the shapes don't chain, for complex numbers and for numbers that are not finite (on
        a GPU, and with `largest`, when it is looked at or orthogonalised next), MemoryLimitError on a CPU.
        """
        if self._pending >= (self._fixed or self._interval):
            self._orthogonalise()
        self._require_memory(factor.shape[-2] if isinstance(factor, torch.Tensor) else self._shape[0])
        product = self._applied(factor)
        if not self._is_within(largest):
            self._rescale_(product)
            self._unseen = 0.0
        self._product, self._shape = product, (product.shape[-2], self._shape[1])
        self._pending += 1
        self.depth += 1

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def log_singular_values(self, base: float = math.e) -> LogSingularValues:
        """The logarithms to `base` of the min(m, n) singular values of the product so far; more factors may follow.

        The pending factors are orthogonalised, and each chain's D T, (r, n), is decomposed on the CPU in float64.
        O(B (m + n) r^2). Raises SaoError for a base that is not above 1.

        >>> product = GradedProduct(3)
        >>> product.multiply(torch.diag(torch.tensor([2.0, 0.0, 8.0], dtype=torch.float64)))
        >>> found = product.log_singular_values(base=2)
        >>> found.values, int(found.rank)
        (array([  3.,   1., -inf]), 2)
        """
        if not base > 1:
            raise SaoError(f"logarithms to base {base}; a base is above 1")
        self._orthogonalise()
        exponents = self._exponents.cpu().numpy()
        values = np.full((len(exponents), min(self._shape)), -np.inf)
        rank, worst = np.zeros(len(exponents), dtype=np.int64), 1.0
        for chain, scales in enumerate(exponents):
            live = is_live(scales)
            rank[chain] = live.sum()
            right = np.eye(len(scales)) if self._right is None else self._right[chain].double().cpu().numpy()
            found, condition = graded_log2_singular_values(right[live], scales[live])
            values[chain, : rank[chain]] = found / math.log2(base)
            worst = max(worst, condition)
        error = self._error + self._eps * worst + SVD_ERROR * min(self._shape)
        if self._batch is None:
            return LogSingularValues(values=values[0], rank=rank[0], error=error)
        return LogSingularValues(values=values, rank=rank, error=error)

    def _applied(self, factor: Factor) -> torch.Tensor:
        before, chains = self._product, self._batch or 1
        if isinstance(factor, torch.Tensor):
            _require_matrices(factor, self._shape[0], self._batch)
            dense = factor.to(dtype=self._dtype, device=self._device)
            if before is None:
                return dense.expand(chains, *dense.shape[-2:]).clone()
            return dense @ before
        if before is None:
            before = (
                torch.eye(self._shape[0], dtype=self._dtype, device=self._device).expand(chains, -1, -1).contiguous()
            )
        product = factor(before if self._batch is not None else before[0])
        product = product if self._batch is not None else product[None]
        if product.ndim != 3 or product.shape[::2] != before.shape[::2] or product.dtype != before.dtype:
            given, got = (f"{tuple(x.shape)} {x.dtype}" for x in (before, product))
            raise FormatError(f"a factor made {got} of {given}; it must keep the dtype and all sizes but the rows'")
        return product.contiguous()

    def _require_memory(self, rows: int) -> None:
        entries = (self._batch or 1) * max(rows, self._shape[1]) * self._shape[1]
        if self._device.type == "cpu" and entries > self._largest:
            held = 0 if self._product is None else self._product.numel()
            needed = (3 * entries - held) * torch.finfo(self._dtype).bits // 8
            require_memory(needed, f"a product of {rows} x {self._shape[1]}", "choose fewer inputs or a smaller width")
            self._largest = entries

    def _is_within(self, largest: float | None) -> bool:
        """Whether the product can't have left the range of float64 by a factor whose `largest` entry is known.

        A factor moves the norm of M by its own, but for what M's condition number and its size allow: LEEWAY.
        """
        if largest is None or not 0 < largest < math.inf or self._dtype != torch.float64:
            return False
        self._unseen += abs(math.log2(largest)) + LEEWAY
        return self._unseen < UNSEEN

    def _rescale_(self, product: torch.Tensor) -> None:
        """Take a power of two out of `product` where it is large or small; on a GPU always, without a look at it."""
        flat = product.flatten(1)
        peak = torch.maximum(flat.amax(dim=1), -flat.amin(dim=1))  # eight times as fast as a norm to infinity
        if self._device.type == "cpu":
            low, high = float(peak.min()), float(peak.max())
            if not math.isfinite(high):
                raise FormatError(f"factor {self.depth + 1} gives {high}; every value must be a finite number")
            if low > 2.0**-40 and high < 2.0**40:
                return
        shift = torch.frexp(peak).exponent.to(torch.int64)
        product *= power_of_two(-shift, self._dtype)[:, None, None]
        self._exponents += shift[:, None]

    def _orthogonalise(self) -> None:
        if not self._pending:
            return
        if not bool(torch.isfinite(torch.linalg.vector_norm(self._product, math.inf))):
            raise FormatError(
                f"factors up to {self.depth} make numbers that are not finite; every value must be finite"
            )
        self._exponents = normalised_(self._product, self._exponents)
        rank = is_live(self._exponents).sum(dim=-1).clamp(max=self._shape[0])
        found = orthogonalised(self._taken(), self._exponents, self._right, self._eps)
        left, self._exponents, self._right, condition = found
        del found
        self._product = left.contiguous()  # LAPACK's columns would make sparse operators read rows in strides
        # Rows of T drift otherwise, each by up to a factor 2 a group, and then D is not the scale to sort by.
        self._exponents = normalised_(self._right.mT, self._exponents)
        self._learn(condition, bool((is_live(self._exponents).sum(dim=-1) < rank).any()))

    def _taken(self) -> torch.Tensor:
        product, self._product = self._product, None
        assert product is not None
        return product

    def _learn(self, condition: float, lost: bool) -> None:
        """Choose the length of the next group by the growth of the condition number in this one.

        Directions that are lost in an ill-conditioned group may have been small, not zero: so that is told earlier.
        """
        if condition > self._eps ** (-0.25 if lost and self._pending > 1 else -0.5):
            last = f"{self.depth - self._pending + 1} to {self.depth}" if self._pending > 1 else f"{self.depth}"
            way_out = "set interval=1" if self._pending > 1 else "its small singular values are resolved no better"
            text = f"factors {last} have a condition number of about {condition:.1g}: digits are lost; {way_out}"
            warnings.warn(text, SaoWarning, stacklevel=5)
        self._error += self._eps * condition
        self._growth = max(math.log2(condition) / self._pending, 0.7 * self._growth, 1e-3)
        allowed = int(-math.log2(self._eps) / 6 / self._growth)
        self._interval = max(1, min(allowed, max(2 * self._pending, self._interval), LONGEST))
        self._pending = 0
        self.orthogonalisations += 1


def _require_matrices(factor: torch.Tensor, rows: int, batch: int | None) -> None:
    shape = tuple(factor.shape)
    if (
        factor.ndim not in ((2,) if batch is None else (2, 3))
        or shape[-1] != rows
        or (len(shape) == 3 and shape[0] != batch)
    ):
        chains = "" if batch is None else f" or ({batch}, m, {rows})"
        raise FormatError(f"a factor of shape {shape} after {rows} rows; it must be (m, {rows}){chains}")
    if factor.is_complex():
        raise FormatError(f"a factor of {factor.dtype}; a product needs real numbers")
