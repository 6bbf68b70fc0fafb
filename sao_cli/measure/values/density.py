"""The distribution of singular values that are too many to compute, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import PROBES, generator
from sao_cli.base.threads import one_thread
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix, MatrixLike
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.graph.matching import matched_rows
from sao_cli.measure.krylov.lanczos import Gram, Lanczos, SizedOperator, largest_ritz, random_direction
from sao_cli.measure.krylov.quadrature import Distribution, Rule, mean_distribution, quadrature_rule, resolution
from sao_cli.measure.values.by_component import Numbers, WeightComponents
from sao_cli.reports.report import ESTIMATE

PRODUCTS = 1280  # our choice: the goal's budget at n = 1e5
FEWEST_PRODUCTS = 128
_PILOT = 16  # applications that the first probe has at least, for the largest singular value
_USED_UP = 1e-12  # of the norm: a beta of that size is what rounding leaves of 0
_HALVINGS = 4  # choices of the number of steps: 1/4 to 1/32 of the applications
_SUPREMUM = 2.72  # of a Brownian bridge: its 95 % quantile 1.358, in standard deviations 1/2 at the middle

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class SpectralDensity:
    """The distribution of `size` = min(m, n) singular values: some exact, the others by quadrature.

    `standard_error` is the largest standard error over x of `cdf(x)`, by the choice of the probes. `error` estimates
    sup |cdf - truth|: the 95 % quantile of the probes' error, and what the steps can't resolve; see spectral_density.
    `products` with W and W^T were spent on `probes` random starts of `steps` steps or more. `sigma_max` is the
    largest Ritz or singular value, a lower bound, and `sigma_max_error` estimates how far some singular value is from
    it (largest_ritz). `exact` (ascending, zeros included) are the singular values known one by one, and `rest` is the
    distribution of the others, None where there are none.
    """

    size: int
    exact: Values
    sigma_max: float
    sigma_max_error: float = 0.0
    standard_error: float = 0.0
    error: float = 0.0
    products: int = 0
    probes: int = 0
    steps: int = 0
    rest: Distribution | None = None

    def cdf(self, x: ArrayLike) -> Values:
        """The share of the singular values that are at most x, of the shape of x. O(log size) each."""
        return self._cdf(np.asarray(x, dtype=np.float64), "right")

    def quantiles(self, count: int) -> Values:
        """(count,) descending: the inverse of `cdf` at (i - 1/2)/count, a sample of the distribution without chance.

        Where all singular values are exact, `quantiles(size)` are these. SaoError for a count below 1.
        O((size + count) log size).
        """
        if count < 1:
            raise SaoError(f"{count} quantiles; ask for 1 or more")
        shares = (np.arange(count, 0, -1) - 0.5) / count
        points = self.exact if self.rest is None else np.union1d(self.exact, self.rest.points)
        heights = np.stack((self._cdf(points, "left"), self._cdf(points, "right")), axis=1).reshape(-1)
        heights = np.maximum.accumulate(heights)
        points = np.repeat(points, 2)
        after = np.clip(np.searchsorted(heights, shares), 1, len(heights) - 1)
        before = after - 1
        share = (shares - heights[before]) / (heights[after] - heights[before])
        return points[before] + np.clip(share, 0.0, 1.0) * (points[after] - points[before])

    def scaled(self, exponent: int) -> SpectralDensity:
        """The distribution of 2^exponent times as large singular values."""
        factor = math.ldexp(1.0, exponent)
        return replace(
            self,
            exact=factor * self.exact,
            sigma_max=factor * self.sigma_max,
            sigma_max_error=factor * self.sigma_max_error,
            rest=None if self.rest is None else self.rest.scaled(factor),
        )

    def _cdf(self, x: Values, side: Literal["left", "right"]) -> Values:
        counted = np.searchsorted(self.exact, x, side) / self.size
        return counted if self.rest is None else counted + self._rest_share * self.rest.cdf(x, side)

    @property
    def error_kind(self) -> str:
        """What `error`, `standard_error` and `sigma_max_error` are: estimates, which chance may exceed."""
        return ESTIMATE

    @property
    def _rest_share(self) -> float:
        return (self.size - len(self.exact)) / self.size


def spectral_density(
    weight: MatrixLike,
    *,
    seed: int = 0,
    layer: int = 1,
    products: int = PRODUCTS,
    exact_side: int = EXACT_SIDE,
    progress: Progress = silent,
) -> SpectralDensity:
    """The distribution of the min(m, n) singular values of `weight`, (m, n), by stochastic Lanczos quadrature.

    `weight` is a Matrix or anything that Matrix.of takes.
    Components whose shorter side is at most `exact_side` are computed exactly, and dead nodes are zeros. For the
    others together, N values, A = W W^T or W^T W (each component's smaller one) and a random unit vector v,
    v^T 1(A <= t) v has the mean (number of eigenvalues <= t)/N, and k steps of the Lanczos process started at v give
    it by a Gauss rule of k nodes (Golub and Meurant 2010; Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 38, 2017);
    the mean over probes is taken. measure.krylov.quadrature tells how the rules' steps are made a curve: atoms as
    jumps, and the rest linear between the middles of the steps.

    Errors: the weights of a uniformly random direction are of a Dirichlet law, so that the variance of one probe is
    2 F (1 - F)/(N + 2) at each t, whatever the spectrum, and their joint law near a Brownian bridge's. `error` is the
    95 % quantile of its supremum (2.72 standard errors); plus twice the change that the second half of the steps made
    and the weight of what is seen as narrower than they resolve and may be an atom or a cluster, but no more than
    what is not in atoms. It is an estimate: structure finer than sigma_max/k that does not show by then is not
    accounted for. Singular values below 3e-6 sigma_max count as zeros, and zeros that the pattern forces are counted
    by a maximum matching. Within `products` products with W and W^T the first probe takes a quarter, and the steps
    of the others are chosen by what it shows, so that both errors together are least. N steps use the space up: the
    nodes then are the eigenvalues, and the probes' error is all there is.

    Raises SaoError for fewer than 128 products, FormatError for values that are not finite, MemoryLimitError. O(nnz)
    a product, N log N once, and some eight vectors of length m + n beside a transposed copy of W.

    >>> density = spectral_density(Matrix.from_dense(np.diag([3.0, 1.0, 0.0, 0.0])))
    >>> density.cdf([0, 1, 2, 3]).tolist(), density.quantiles(4).tolist()
    ([0.5, 0.75, 0.75, 1.0], [3.0, 1.0, 0.0, 0.0])
    """
    check_products(products)
    weight = Matrix.of(weight)
    parts = WeightComponents.of(weight)
    large = parts.too_large(exact_side)
    small = np.setdiff1d(np.arange(parts.components.count), large)
    size = min(weight.shape)
    remaining = int(np.minimum(parts.components.heights, parts.components.widths)[large].sum())
    exact = np.zeros(size - remaining)
    found = np.sort(parts.values(small))
    exact[len(exact) - len(found) :] = found
    if not len(large):
        return SpectralDensity(size=size, exact=exact, sigma_max=float(exact[-1]))
    rest = _by_quadrature(parts, large, products, generator(seed, layer, PROBES), progress)
    largest = float(exact.max(initial=0.0))
    return replace(
        rest,
        size=size,
        exact=exact,
        sigma_max=max(largest, rest.sigma_max),
        sigma_max_error=rest.sigma_max_error if rest.sigma_max >= largest else 0.0,
        standard_error=remaining / size * rest.standard_error,
        error=remaining / size * rest.error,
    )


def operator_density(
    gram: SizedOperator,
    rng: np.random.Generator,
    *,
    products: int = PRODUCTS,
    zeros: Callable[[], float] = lambda: 0.0,
    progress: Progress = silent,
) -> SpectralDensity:
    """The distribution of the `gram.size` singular values of W, known by `gram` alone, which applies W W^T or W^T W.

    All by quadrature, as spectral_density tells. `zeros`, called where the values near 0 may be an atom, gives the
    share of zeros that is known by other means. Each application counts as two products; 32 products are what the
    first probe takes alone.
    """
    runs = _runs(gram, products // 2, rng, progress)
    rules = [run.rule() for run in runs]
    known = zeros() if _may_have_zeros(rules) else 0.0
    distribution = mean_distribution(rules, known)
    standard_error = _standard_error(distribution, gram.size, len(runs))
    sigma_max, sigma_max_error = max(run.largest() for run in runs)
    return SpectralDensity(
        size=gram.size,
        exact=np.empty(0),
        sigma_max=sigma_max,
        sigma_max_error=sigma_max_error,
        standard_error=standard_error,
        error=min(1.0, _SUPREMUM * standard_error + resolution(rules, [run.rule(1) for run in runs], known)),
        products=2 * sum(len(run.alphas) for run in runs),
        probes=len(runs),
        steps=min(len(run.alphas) for run in runs),
        rest=distribution,
    )


def check_products(products: int) -> None:
    """Raise SaoError for fewer products than a density can be estimated with."""
    if products < FEWEST_PRODUCTS:
        raise SaoError(f"{products} products are too few for a density; give {FEWEST_PRODUCTS} or more")


class _Run(NamedTuple):
    """The coefficients of one Lanczos process; the last beta is 0 where it used its space up."""

    alphas: list[float]
    betas: list[float]

    def rule(self, halvings: int = 0) -> Rule:
        """The quadrature rule of all steps, or of the first 2^-halvings of them where there are more to come."""
        steps = len(self.alphas) if self.betas[-1] == 0 else max(1, len(self.alphas) >> halvings)
        return quadrature_rule(self.alphas[:steps], self.betas[:steps])

    def largest(self) -> tuple[float, float]:
        """The root of the largest Ritz value, and an estimate of its error, which is no less than one rounding."""
        ritz = largest_ritz(self.alphas, self.betas)
        value = math.sqrt(max(ritz.value, 0.0))
        error = max(ritz.error, 2.0**-52 * ritz.value)
        return value, error / (value + math.sqrt(max(ritz.value - error, 0.0))) if value else 0.0


def _by_quadrature(
    parts: WeightComponents, large: Numbers, products: int, rng: np.random.Generator, progress: Progress
) -> SpectralDensity:
    """The density of the large components alone."""
    mask, values = _together(parts, large)
    exponent = 0 if values is None else int(np.frexp(np.abs(values).max())[1]) - 1
    gram = Gram(mask, None if values is None else np.ldexp(values, -exponent))  # so that squares stay in range
    with one_thread():
        found = operator_density(
            gram, rng, products=products, zeros=lambda: _structural_zeros(gram, progress), progress=progress
        )
    return found.scaled(exponent)


def _together(parts: WeightComponents, chosen: Numbers) -> tuple[Mask, Values | None]:
    """The chosen components as one matrix whose rows are each component's shorter side, without dead nodes."""
    components, mask, values = parts.components, parts.weight.mask, parts.weight.values
    require_memory(60.0 * mask.nnz + 100.0 * (mask.m + mask.n), f"the spectral density of {mask.nnz} weights")
    if components.count == 1 and not components.dead:
        return mask, values
    turned = np.zeros(components.count + 1, dtype=np.int8)  # 0: not chosen; the last is the dead nodes'
    turned[chosen] = np.where(components.heights > components.widths, -1, 1)[chosen]
    rows, columns = turned[components.rows], turned[components.columns]
    short = np.cumsum(np.concatenate((rows == 1, columns == -1))) - 1
    long = np.cumsum(np.concatenate((columns == 1, rows == -1))) - 1
    entry_rows = mask.entry_rows
    side = rows[entry_rows]
    kept = side != 0
    i, j, flip = entry_rows[kept], mask.indices[kept], side[kept] == -1
    new_rows = np.where(flip, short[mask.m + j], short[i])
    new_columns = np.where(flip, long[mask.n + i], long[j])
    order = np.lexsort((new_columns, new_rows)) if flip.any() else slice(None)
    shape = (int(short[-1]) + 1, int(long[-1]) + 1)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(new_rows, minlength=shape[0]))))
    together = Mask(indptr, new_columns[order], shape)
    return together, None if values is None else values[kept][order]


def _runs(gram: SizedOperator, applications: int, rng: np.random.Generator, progress: Progress) -> list[_Run]:
    """A pilot that takes a quarter of the applications of A, or 16, and as many more runs as the rest allows."""
    progress("spectral density", 0, applications)
    longest = min(max(applications // 4, _PILOT), gram.size)
    runs = [_run(gram, longest, rng)]
    steps = longest if runs[0].betas[-1] == 0 else _best_steps(runs[0], gram.size, applications)
    spent = len(runs[0].alphas)
    while spent + steps <= applications and spent > 1:  # after one step A is a multiple of the identity
        progress("spectral density", spent, applications)
        runs.append(_run(gram, steps, rng))
        spent += len(runs[-1].alphas)
    return runs


def _run(gram: SizedOperator, steps: int, rng: np.random.Generator) -> _Run:
    """`steps` steps, or fewer where the space is used up: after `gram.size` of them whatever rounding left of beta."""
    start = random_direction(gram, rng)
    whole = gram.size <= min(steps, EXACT_SIDE)
    process = Lanczos(_Orthogonal(gram) if whole else gram, start)
    while process.steps < steps:
        process.step()
        if process.betas[-1] <= _USED_UP * (max(process.alphas) + 2 * max(process.betas)):  # above the norm of T_k
            process.betas[-1] = 0.0
            break
    if process.steps == gram.size and whole:
        process.betas[-1] = 0.0
    return _Run(process.alphas, process.betas)


class _Orthogonal:
    """`gram` for one Lanczos process, each of whose vectors is made orthogonal to all before it.

    Without that, rounding puts copies of converged values in the place of others, and after `size` steps most of the
    nodes are no eigenvalues, from a size of some 20 on. Twice is enough (Parlett 1998, section 6.9). O(size) a step
    and vector, and (size, size) numbers.
    """

    def __init__(self, gram: SizedOperator) -> None:
        self._gram = gram
        self._basis = np.empty((gram.size, gram.size))
        self._count = 0

    def apply(self, x: Values) -> Values:
        self._basis[self._count] = x
        self._count += 1
        return self._gram.apply(x)

    def project_(self, x: Values) -> None:
        basis = self._basis[: self._count]
        for _ in range(2):
            self._gram.project_(x)
            x -= (basis @ x) @ basis


def _best_steps(pilot: _Run, size: int, applications: int) -> int:
    """The steps for which the errors of the probes and of the quadrature, as the pilot shows it, add up to least."""
    errors = {}
    for halvings in range(_HALVINGS):
        steps = max(1, len(pilot.alphas) >> halvings)
        noise = _SUPREMUM * math.sqrt(0.5 / (size * (applications // steps)))
        errors[steps] = noise + resolution([pilot.rule(halvings)], [pilot.rule(halvings + 1)])
    return min(errors, key=lambda steps: errors[steps])


def _may_have_zeros(rules: list[Rule]) -> bool:
    return any(rule.widths[0] > 0 and rule.lumps[0] > 0 for rule in rules)


def _structural_zeros(gram: Gram, progress: Progress) -> float:
    """The share of the singular values that are zero whatever the values are: 1 - (maximum matching)/size."""
    progress("structural rank", 0, None)
    return float((~matched_rows(gram.matrix)).mean())


def _standard_error(distribution: Distribution, size: int, probes: int) -> float:
    below = np.concatenate([distribution.cdf(distribution.points, side) for side in ("left", "right")])
    return float(np.sqrt(2 * np.clip(below * (1 - below), 0, None).max() / ((size + 2) * probes)))
