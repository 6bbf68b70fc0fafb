"""The three-term Lanczos process on the Gram operator of a mask or weight, its Ritz values, and Perron's pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.progress import Progress
from sao_cli.data.mask import Mask
from sao_cli.measure.krylov.gather import product_of

Vector = NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-53
STEP_LIMIT = 10_000  # of one Lanczos process; random graphs need about 10 n^(1/3)
_PROGRESS_STEPS = 20
_FEW = 32  # steps whose T_k is as soon decomposed whole
_SHORTEST_WAIT = 3  # steps, of as much time as it takes to look at them
_CLUSTER = 1e-10  # Ritz values nearer than this, relatively, are copies of one that has converged
_PERRON_RESIDUAL = 1e-10  # relative; the error that it leaves in lambda_2 is its square over the gap


class Operator(Protocol):
    """A symmetric operator, and the projection onto the space that a process is to stay in."""

    def apply(self, x: Vector) -> Vector: ...

    def project_(self, x: Vector) -> None: ...


class SizedOperator(Operator, Protocol):
    """An Operator on vectors of length `size`."""

    @property
    def size(self) -> int: ...


class Gram:
    """x -> P A P x, with A = M M^T or M^T M, whichever is smaller, and P the projection off a trivial direction.

    M holds `values` (nnz,) at the mask's ones, or ones. `uniform` removes the vector of ones, which is the trivial
    direction of a biregular mask; `direction` removes any other unit vector. `size` is A's order and `dimension` that
    of the space which is left.
    """

    def __init__(self, mask: Mask, values: NDArray[Any] | None = None) -> None:
        from scipy.sparse import csr_array

        numbers = np.ones(mask.nnz) if values is None else values
        matrix = csr_array((numbers, mask.indices, mask.indptr), shape=mask.shape)
        transposed = matrix.T.tocsr()  # a row-wise copy of the transpose is a fifth faster than scattering
        if values is None:  # the ones can be shared
            transposed = csr_array((matrix.data, transposed.indices, transposed.indptr), shape=transposed.shape)
        wide = mask.m <= mask.n
        self.matrix, self.transposed = (matrix, transposed) if wide else (transposed, matrix)
        each = (self.matrix, self.transposed)
        self._products = tuple(one.__matmul__ if values is not None else product_of(one) for one in each)
        self.size = min(mask.shape)
        self.uniform = False
        self.direction: Vector | None = None

    @property
    def dimension(self) -> int:
        return self.size - (self.uniform or self.direction is not None)

    def apply(self, x: Vector) -> Vector:
        """A x, without the projection."""
        last, first = self._products
        return last(first(x))

    def project_(self, x: Vector) -> None:
        """Remove the trivial direction from x, in place."""
        if self.uniform:
            x -= x.mean()
        elif self.direction is not None:
            x -= (self.direction @ x) * self.direction

    @cached_property
    def row_sum(self) -> float:
        """The largest row sum of |M| |M^T| (or |M^T| |M|), which bounds the norm of A too."""
        ones = np.ones(self.size, self.matrix.dtype)
        return float((abs(self.matrix) @ (abs(self.transposed) @ ones)).max())

    def roundoff(self, norm: float, peak: float) -> float:
        """A bound on what rounding adds in one step to a Lanczos vector's component along an eigenvector.

        `norm` is no less than the eigenvalue and the norms of the vectors A q, and `peak` no less than any entry of
        the Lanczos vectors q. The sums in float64, of `terms` numbers, may have roundings of one sign (sums of numbers
        of one sign do drift): u terms row_sum, u the unit roundoff. The other operations of a step are eight of one
        rounding.
        """
        return UNIT_ROUNDOFF * (8 * norm + self.terms * self.row_sum)

    @property
    def summing(self) -> float:
        """A bound on what rounding does to a Rayleigh quotient in float64, and to its residual."""
        return 4 * UNIT_ROUNDOFF * (self.terms + self.size) * self.row_sum

    @property
    def terms(self) -> int:
        """How many numbers the two products sum at most."""
        return int(np.diff(self.matrix.indptr).max()) + int(np.diff(self.transposed.indptr).max())


class Lanczos:
    """The process itself: `alphas` and `betas` are the diagonal and off-diagonal of T_k after k steps.

    `peak` is the largest absolute value of any entry of a Lanczos vector so far.

    beta_k q_{k+1} = A q_k - alpha_k q_k - beta_{k-1} q_{k-1}. Nothing is orthogonalised again: rounding makes
    copies of converged Ritz values and moves none (Paige, Linear Algebra Appl. 34, 1980), and the largest one is
    all that is asked for. Three vectors are kept; `start`, of norm 1, becomes one of them and is overwritten.
    """

    def __init__(self, gram: Operator, start: Vector) -> None:
        self._gram = gram
        self.current = start
        self._previous = np.zeros_like(start)
        self.alphas: list[float] = []
        self.betas: list[float] = []
        self.peak = 0.0

    @property
    def steps(self) -> int:
        return len(self.alphas)

    def step(self) -> None:
        """One more coefficient of each kind; `current` is zero after a step that used up the space."""
        self.peak = max(self.peak, float(self.current.max()), -float(self.current.min()))
        following = self._gram.apply(self.current)
        self._previous *= self.betas[-1] if self.betas else 0.0
        following -= self._previous
        alpha = float(following @ self.current)
        np.multiply(self.current, alpha, out=self._previous)
        following -= self._previous
        self._gram.project_(following)
        beta = math.sqrt(following @ following)
        if beta > 0:
            following /= beta
        self._previous, self.current = self.current, following
        self.alphas.append(alpha)
        self.betas.append(beta)


class Ritz(NamedTuple):
    """The largest Ritz value, the norm of its vector's residual, and an estimate of its error from below."""

    value: float
    residual: float
    error: float
    vector: Vector


def largest_ritz(alphas: list[float], betas: list[float], count: int = 4) -> Ritz:
    """The largest eigenvalue of T_k, with error = min(residual, residual^2 / gap) (Parlett, 1998, section 11.7).

    `vector` (k,) is T_k's eigenvector. Copies of a converged value count as one: their residuals are joined, and
    the gap is to the first value that is no copy, for which `count` values are looked at, or more as needed.
    """
    k = len(alphas)
    values, vectors = _largest_pairs(alphas, betas[: k - 1], min(k, count))
    top = float(values[-1])
    copies = values >= top - _CLUSTER * abs(top)
    if copies.all() and count < k:
        return largest_ritz(alphas, betas, 4 * count)
    residual = betas[-1] * abs(float(vectors[-1, -1]))
    joint = betas[-1] * float(np.linalg.norm(vectors[-1, copies]))
    others = values[~copies]
    error = min(residual, joint**2 / (top - float(others[-1]))) if len(others) else residual
    return Ritz(top, residual, error, vectors[:, -1])


def _largest_pairs(diagonal: list[float], off: list[float], count: int) -> tuple[Vector, Vector]:
    """The `count` largest eigenvalues of a tridiagonal matrix, ascending, and the columns that are their vectors.

    Of few rows by numpy, whose eigenvectors of a small full matrix take less than scipy's import does.
    """
    k = len(diagonal)
    if k <= _FEW:
        beside = np.diag(off, 1)
        values, vectors = np.linalg.eigh(np.diag(diagonal) + beside + beside.T)
        return values[-count:], vectors[:, -count:]
    from scipy.linalg import eigh_tridiagonal

    found: tuple[Vector, Vector] = eigh_tridiagonal(diagonal, off, select="i", select_range=(k - count, k - 1))
    return found


def a_tenth_more(steps: int) -> int:
    """After how many steps to look again: ten more, and from a hundred on a tenth."""
    return steps + max(10, steps // 10)


class Pace:
    """When to look again at what falls geometrically: where it will be gone, going by the last two looks."""

    def __init__(self) -> None:
        self._last = (0, math.inf)
        self._next = 0

    def look(self, steps: int, missing: float) -> None:
        """`missing` is the logarithm of what is left over what is allowed, infinite where that isn't known."""
        before, more = self._last
        falls = (more - missing) / (steps - before) if math.isfinite(more) and steps > before else 0.0
        wait = math.ceil(missing / falls) if falls > 0 and missing > 0 else 0
        self._next = steps + max(wait, _SHORTEST_WAIT) if wait else 0
        self._last = (steps, missing)

    def due(self, steps: int) -> int:
        """No later than a_tenth_more."""
        return min(self._next, a_tenth_more(steps)) if self._next > steps else a_tenth_more(steps)


def iterate(
    lanczos: Lanczos,
    enough: Callable[[Ritz], bool],
    roundoff: float,
    progress: Progress,
    what: str,
    due: Callable[[int], int] = a_tenth_more,
) -> tuple[Ritz, bool]:
    """Steps until `enough` says so of the largest Ritz pair, the space is used up, or STEP_LIMIT is reached.

    Returns the last pair, and whether the space was used up (then it is as exact as rounding lets it be).
    `enough` is asked after one step, and then whenever `due` of the steps that it was last asked at are taken.
    """
    limit = min(STEP_LIMIT, 4 * lanczos.current.size + 100)
    question = 1
    while True:
        lanczos.step()
        used_up = lanczos.betas[-1] <= roundoff
        if lanczos.steps % _PROGRESS_STEPS == 0:
            progress(what, lanczos.steps, None)
        if lanczos.steps >= min(question, limit) or used_up:
            ritz = largest_ritz(lanczos.alphas, lanczos.betas)
            if used_up or enough(ritz) or lanczos.steps >= limit:
                return ritz, used_up
            question = due(lanczos.steps)


def perron_pair(gram: Gram, progress: Progress) -> tuple[float, Vector, float]:
    """The largest eigenvalue of A, its positive unit vector (size,), and the norm of their residual.

    Starts at the vector of ones, on which Perron's vector always has a component. The recurrence is run twice,
    the second time to sum the Ritz vector up, so that no basis is kept.
    """
    start = np.full(gram.size, 1 / math.sqrt(gram.size))
    first = Lanczos(gram, start.copy())
    roundoff = gram.roundoff(gram.row_sum, 1.0)
    ritz, _ = iterate(
        first, lambda pair: pair.residual <= _PERRON_RESIDUAL * pair.value, roundoff, progress, "lambda_1"
    )
    vector = ritz_vector(Lanczos(gram, start), ritz.vector)
    image = gram.apply(vector)
    value = float(vector @ image)
    return value, vector, float(np.linalg.norm(image - value * vector))


def ritz_vector(lanczos: Lanczos, coefficients: NDArray[Any]) -> Vector:
    """The Ritz vector of these coefficients, of norm 1: the process must be at its start, and takes its steps again."""
    vector = np.zeros_like(lanczos.current)
    for coefficient in coefficients.tolist():
        vector += coefficient * lanczos.current
        lanczos.step()
    vector /= np.linalg.norm(vector)
    return vector if vector.sum() >= 0 else -vector


def random_direction(gram: SizedOperator, rng: np.random.Generator) -> Vector:
    """A unit vector (size,) uniform on the sphere of the space that `gram` leaves."""
    start = rng.standard_normal(gram.size)
    gram.project_(start)
    gram.project_(start)  # once more: the first leaves rounding of the size of what it removed
    start /= np.linalg.norm(start)
    return start
