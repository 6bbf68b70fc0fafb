"""What there is to say of singular values, and how they compare with a reference's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.names import check
from sao_cli.catalog import REFERENCES
from sao_cli.data.kernel import Kernel
from sao_cli.data.matrix import Matrix
from sao_cli.measure.values.ks import ks_test, ks_test_law
from sao_cli.measure.values.marchenko_pastur import singular_value_law
from sao_cli.measure.values.norms import frobenius_norm
from sao_cli.measure.values.singular_values import SingularValues
from sao_cli.reports.report import ESTIMATE
from sao_cli.reports.spectra import KSTest, Within

Values = NDArray[np.float64]

DENSE, MARCHENKO_PASTUR, NONE = REFERENCES
WITHIN = 0.05  # our choice
COARSE = 0.05  # a resolution of more than this share of sigma_max leaves little to compare


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What singular values are compared with, and how.

    `reference` is "dense" (a Haar orthogonal layer of the same shape, times `gain`), "marchenko-pastur" (the law for
    independent entries of the layer's own variance), "none", or a stack of weights: as many as there are layers, or
    one for all of them (kernels for a kernel); `name` is what reports call it. `resolution` overrides the slack of the
    KS test.
    """

    reference: str | Sequence[Matrix | Kernel] = DENSE
    name: str | None = None
    gain: float = 1.0
    resolution: float | None = None
    within: float = WITHIN

    def __post_init__(self) -> None:
        if isinstance(self.reference, str):
            check("reference", self.reference, REFERENCES, ", or a stack of weights")
        for label, value in (("gain", self.gain), ("within", self.within), ("resolution", self.resolution)):
            if value is not None and not (math.isfinite(value) and value >= 0 and (value or label != "gain")):
                raise SaoError(f"{label} {value} is no positive finite number")


class Reference(NamedTuple):
    """The singular values of a reference, and the eps of the numbers that they come from."""

    found: SingularValues
    eps: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """The singular values `found` of a linear map of `shape` (m, n), called `what`.

    `sides` and `eps` are of the matrix of numbers that it is made of, whose rounding is not to be seen as a property.
    """

    found: SingularValues
    shape: tuple[int, int]
    sides: tuple[int, int]
    eps: float
    what: str

    def facts(self, within: float) -> dict[str, Any]:
        """The fields of a LayerSpectrum that are facts of the values, as measure.layer.spectrum.spectrum defines
        them."""
        values = self.found.values
        largest = float(values[0])
        scaled = values / (largest or 1.0)  # so that no square overflows
        norm = self.norm
        threshold = max(self.sides) * self.eps * largest
        rank = int((values > threshold).sum()) if self.found.exact else None
        full = rank == len(values) and largest > 0
        return {
            "sigma_max": largest,
            "sigma_min": float(values[-1]) if self.found.exact else None,
            "mean": largest * float(scaled.mean()),
            "std": largest * float(scaled.std()),
            "rank": rank,
            "condition": largest / float(values[-1]) if full else None,
            "isometry_error": float(np.abs(values - 1).max()),
            "frobenius_norm": norm,
            "stable_rank": (norm / largest) ** 2 if largest else None,
            "effective_rank": _effective_rank(scaled) if largest else None,
            "within": Within(eps=within, fraction=float((np.abs(values - 1) <= within).mean())),
            "density_error": self.found.error,
            "error_kind": None if self.found.error is None else ESTIMATE,
            "reason": self._reason(rank, largest),
        }

    @property
    def norm(self) -> float:
        """The root of the sum of the squares of all singular values: of the numbers themselves, or of the values."""
        return frobenius_norm(self.found.values) if self.found.norm is None else self.found.norm

    def compare(
        self, comparison: Comparison, reference: Callable[[str], Reference]
    ) -> tuple[KSTest | None, Values | None]:
        """The KS test, and the reference's values: those that `reference` gives for the name that reports call it."""
        if comparison.reference == NONE:
            return None, None
        name = comparison.name or (comparison.reference if isinstance(comparison.reference, str) else "given")
        if comparison.reference == MARCHENKO_PASTUR:
            return self._against_law(comparison, name), None
        others = reference(name)
        largest = max(float(self.found.values[0]), float(others.found.values[0]))
        resolution = self.resolution(comparison, max(self.eps, others.eps), largest)
        test = ks_test(self.found.values, others.found.values, resolution=resolution, reference=name)
        return _noted(test, self.found.exact and others.found.exact, largest), others.found.values

    def resolution(self, comparison: Comparison, eps: float, sigma_max: float) -> float:
        """The slack of the KS test: values so near count as equal."""
        if comparison.resolution is not None:
            return comparison.resolution
        return 10 * math.sqrt(max(self.sides)) * eps * sigma_max

    def _reason(self, rank: int | None, largest: float) -> str | None:
        if largest == 0:
            return f"{self.what} is zero, so its condition number and its stable and effective ranks are not defined"
        if rank is not None and rank < len(self.found.values):
            return f"no condition number: {self.what} has rank {rank} of {len(self.found.values)}"
        return self.found.reason

    def _against_law(self, comparison: Comparison, name: str) -> KSTest | None:
        m, n = self.shape
        values, scale = self.found.values, float(self.found.values[0])
        if scale == 0:  # no variance, and so no law
            return None
        variance = (self.norm / scale) ** 2 / (m * n)
        law = singular_value_law(m, n, variance)
        resolution = self.resolution(comparison, self.eps, scale)
        test = ks_test_law(values / scale, law.cdf, resolution=resolution / scale, reference=name)
        return _noted(replace(test, resolution=resolution), self.found.exact, scale)


def mean_degree(nnz: int, size: int) -> float:
    """nnz / size, a whole number where it is one."""
    whole, rest = divmod(nnz, size)
    return nnz / size if rest else whole


def _effective_rank(scaled: Values) -> float:
    """Of singular values as shares of the largest."""
    shares = scaled[scaled > 0] / scaled.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))


def _noted(test: KSTest, exact: bool, largest: float) -> KSTest:
    """The test with a word on what it can't be trusted for."""
    notes = [test.note] if test.note else []
    if not exact:
        notes.append(
            "the singular values are quantiles of an estimated density, so statistic and p-value are estimates"
        )
    if test.resolution > COARSE * largest > 0:
        notes.append(f"values {test.resolution:.2g} apart count as equal, which hides most differences")
    return replace(test, note="; ".join(notes) or None)
