"""Upper bounds on a largest eigenvalue: by a polynomial of a random start, and by a Cholesky factorisation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sao_cli.measure.krylov.lanczos import UNIT_ROUNDOFF, Gram

_CHUNK_ROWS = 4096  # of the mask's longer side at a time, in a dense product
_UNIT_NORM = 1 + 1e-8  # computed unit vectors of any size are no longer than this


def overlap(dimension: int, failure_probability: float) -> float:
    """delta such that a uniform unit vector v of `dimension` has |<v, y>| < delta with at most that probability.

    The density of <v, y> is proportional to (1 - x^2)^((dimension - 3) / 2), largest at 0 for dimension >= 3, so
    delta = failure_probability / (2 f(0)) is safe, and tight where the probability is small (Hochstenbach, J. Sci.
    Comput. 57, 2013, asks for the quantile of the same law).
    """
    if dimension == 1:
        return 1.0
    if dimension == 2:
        return math.sin(math.pi * failure_probability / 2)
    log_density = math.lgamma(dimension / 2) - math.lgamma((dimension - 1) / 2) - math.log(math.pi) / 2
    return failure_probability / 2 * math.exp(-log_density)


def is_above(t: float, alphas: list[float], betas: list[float], delta: float, roundoff: float) -> bool:
    """Whether t exceeds the operator's largest eigenvalue: nothing is `missing` for that."""
    return missing(t, alphas, betas, delta, roundoff) <= 0


def missing(t: float, alphas: list[float], betas: list[float], delta: float, roundoff: float) -> float:
    """The logarithm of what is missing for a proof that t exceeds the operator's largest eigenvalue.

    0 or less where it does, unless the start's overlap with its vector was < delta; infinite where T_k has an
    eigenvalue above t, or rounding is in the way.
    The Lanczos polynomials, beta_k p_{k+1}(t) = (t - alpha_k) p_k(t) - beta_{k-1} p_{k-1}(t), give the component of
    the k-th Lanczos vector along the eigenvector of sigma^2 as p_k(sigma^2) times the start's; no unit vector has
    a component above 1, so p_k(sigma^2) <= 1/delta, and p_k increases beyond its roots: every t with
    p_k(t) > 1/delta is above (Hochstenbach 2013). One overlap serves all k, so any k will do.
    `roundoff` bounds what rounding adds to that component in one step; it is carried through the same recurrence,
    so that the statement holds for the coefficients as computed, t itself being blurred as a Ritz value is. O(k).
    """
    component, before = delta, 0.0
    rounding, rounding_before = 0.0, 0.0
    beta_before, ratio = 0.0, math.inf
    for alpha, beta in zip(alphas, betas, strict=True):
        following = (t - alpha) * component - beta_before * before
        rounding_following = (t - alpha) * rounding - beta_before * rounding_before + roundoff
        if following <= 0:  # T_k has an eigenvalue that is not below t
            return math.inf
        known = following - rounding_following
        if known > beta * _UNIT_NORM:
            return 0.0
        if known <= 0:  # and no step makes up for it
            return math.inf
        ratio = beta * _UNIT_NORM / known
        before, component = component, following / beta
        rounding_before, rounding = rounding, rounding_following / beta
        beta_before = beta
    return math.log(ratio)


def upper_bound(
    low: float, high: float, alphas: list[float], betas: list[float], delta: float, roundoff: float
) -> float:
    """The least t in [low, high], to 1e-12 of high - low, that `is_above`; high where none is."""
    for _ in range(40):
        middle = (low + high) / 2
        if is_above(middle, alphas, betas, delta, roundoff):
            high = middle
        else:
            low = middle
    return high


def cholesky_below(gram: Gram, trivial: float, tau_squared: float, entries: NDArray[np.float64]) -> bool:
    """Whether all eigenvalues of the Gram matrix A but one are below `tau_squared`, for certain.

    tau^2 I - A + trivial y y^T is positive definite exactly when A - trivial y y^T is below tau^2, and then, by
    Weyl's inequality, so is A's second eigenvalue, whatever the unit vector y; for a biregular mask y is
    1/sqrt(m) and trivial is c d. Definite for certain: the factorisation must succeed with the diagonal lowered
    by Rump's allowance for rounding (BIT 46, 2006), and by one for forming the matrix. `entries` is
    A as `gram_matrix` gives it. O(size^3 / 3), and one more matrix of that size.
    """
    from scipy.linalg import LinAlgError, cholesky

    size = gram.size
    shifted = -entries
    direction = np.full(size, 1 / math.sqrt(size)) if gram.direction is None else gram.direction
    for row, factor in zip(shifted, (trivial * direction).tolist(), strict=True):
        row += factor * direction
    trace = size * tau_squared + float(np.trace(shifted))
    forming = 4 * UNIT_ROUNDOFF * (tau_squared + 4 * trivial)
    shifted[np.diag_indices(size)] += tau_squared - _rump(size) * trace - forming
    try:
        cholesky(shifted.T, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return False
    return True


def cholesky_slack(size: int, trivial: float, tau_squared: float) -> float:
    """How far above the truth tau^2 must lie, about, for `cholesky_below` to succeed."""
    return 2 * _rump(size) * (size * tau_squared + trivial) + 8 * UNIT_ROUNDOFF * (tau_squared + 4 * trivial)


def gram_matrix(gram: Gram) -> NDArray[np.float64]:
    """A (size, size), exactly: its entries are counts. By a sparse product where that is less work."""
    degrees = np.diff(gram.transposed.indptr).astype(np.float64)
    if degrees @ degrees < gram.size**2 / 2:
        sparse: NDArray[np.float64] = (gram.matrix @ gram.transposed).toarray().astype(np.float64, copy=False)
        return sparse
    product = np.zeros((gram.size, gram.size))
    for start in range(0, gram.transposed.shape[0], _CHUNK_ROWS):
        # float32 counts up to 2^24 exactly, in half the time
        block = gram.transposed[start : start + _CHUNK_ROWS].astype(np.float32).toarray()
        product += block.T @ block
    return product


def _rump(size: int) -> float:
    """gamma_{size+1} / (1 - gamma_{size+1}), of the trace."""
    gamma = (size + 1) * UNIT_ROUNDOFF / (1 - (size + 1) * UNIT_ROUNDOFF)
    return gamma / (1 - gamma)
