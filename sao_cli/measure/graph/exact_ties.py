"""Whether eigenvalues that rounding can't tell from the Ramanujan bound are equal to it, decided in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fractions import Fraction

Values = NDArray[np.float64]

TIE_SIDE = 512  # shorter side up to which ties are decided: some seconds where there is one
_WIDTH = 32  # columns that are eliminated together
_PRIMES_BELOW = 2**24  # sums of 32 products of residues up to half of that are exact in float64
_MOST = 4000.0 * TIE_SIDE**3  # bits to decide times the cost of a prime: a mean degree may have a large denominator
_SLACK = 2.0**-45  # times the size and the norm: far more than LAPACK's eigenvalues are off


@dataclass(frozen=True)
class Bound:
    """The Ramanujan bound of degrees c and d >= 1, mean degrees where they vary, and its square.

    The square c + d - 2 + 2 sqrt((c-1)(d-1)) is (a + sqrt(b)) / scale in whole numbers; `root` is sqrt(b) where that is
    one too, else None.

    >>> Bound(5, 5).value, Bound(5, 2).root
    (4.0, 4)
    """

    c: Fraction | int
    d: Fraction | int

    @classmethod
    def of(cls, ones: int, m: int, n: int) -> Bound | None:
        """That of an (m, n) mask with so many ones; None where a mean degree is below 1."""
        return cls(_quotient(ones, n), _quotient(ones, m)) if ones >= max(m, n) else None

    @property
    def value(self) -> float:
        return math.sqrt(self.c - 1) + math.sqrt(self.d - 1)

    @property
    def squared(self) -> float:
        return float(self.c + self.d - 2) + 2 * math.sqrt((self.c - 1) * (self.d - 1))

    @property
    def scale(self) -> int:
        return math.lcm(self.c.denominator, self.d.denominator)

    @property
    def a(self) -> int:
        return int(self.scale * (self.c + self.d - 2))

    @property
    def b(self) -> int:
        return int(4 * self.scale**2 * (self.c - 1) * (self.d - 1))

    @property
    def root(self) -> int | None:
        root = math.isqrt(self.b)
        return root if root * root == self.b else None


def _quotient(number: int, divisor: int) -> Fraction | int:
    """Exactly: whole where it is, as the degrees of a biregular mask are, for which fractions need not be loaded."""
    if number % divisor == 0:
        return number // divisor
    from fractions import Fraction

    return Fraction(number, divisor)


def is_tie(gram: Values, bound: Bound) -> bool:
    """Whether the second eigenvalue of `gram` is the squared bound exactly, so that it is within it.

    `gram` (N, N) is M M^T or M^T M, in whole numbers. Let beta = a + sqrt(b), k of the eigenvalues of S = scale M M^T -
    beta I be 0 within rounding, and fewer than k exactly. The product of those that are not 0 is a coefficient of the
    characteristic polynomial: an algebraic integer, and so the product with its conjugate (where beta has one) is a
    whole number, not 0, and bounded by the eigenvalues that LAPACK gives. But modulo a prime where S has rank N - k or
    less, with a root of b for sqrt(b), that coefficient is 0, so that the prime divides the number. When the product of
    such primes exceeds the bound there is a contradiction: all k are 0. One prime of a higher rank says that not all
    are, and then nothing is claimed; nor where it would take minutes.

    Exact: sums of products of residues stay below 2^53. O(N^3) for each of about N log2(d) / 24 primes: 0.5 s in
    all at N = 250 and degree 5, and 4 s at 500; one prime's where there is no tie.

    >>> complete = np.ones((4, 4)) - np.eye(4)  # of eigenvalues 3 and -1
    >>> is_tie(complete @ complete, Bound(2, 1))
    True
    """
    size = len(gram)
    values: Values = bound.scale * np.linalg.eigvalsh(gram).astype(np.float64, copy=False)
    slack = _SLACK * size * bound.scale * float(np.abs(gram).sum(axis=1).max())
    root = math.sqrt(bound.b)
    gaps: Values = values - (bound.a + root)
    near = int((np.abs(gaps) <= slack).sum())
    if not near or (gaps > slack).sum() > 1:
        return False
    bits = _bits(gaps, slack) + (_bits(gaps + 2 * root, slack) if bound.root is None else 0.0)
    if bits * size**3 > _MOST:
        return False
    for prime, residue in _primes(bound):
        shifted = _residues(gram, prime) * (bound.scale % prime)
        shifted[np.diag_indices(size)] -= (bound.a + residue) % prime
        if size - rank_modulo(_residues(shifted, prime), prime) < near:
            return False
        bits -= math.log2(prime)
        if bits < -1:
            return True
    return False


def rank_modulo(matrix: Values, prime: int) -> int:
    """The rank of a matrix of residues, of at most prime/2 in size, modulo a prime below 2^24.

    _WIDTH columns are eliminated at a time, and their factors applied to the others by one product.
    """
    rank = 0
    while matrix.size:
        pivots, factors = _eliminated(matrix[:, :_WIDTH], prime)
        rest = matrix[:, _WIDTH:]
        matrix = _residues(np.delete(rest, pivots, axis=0) - factors @ rest[pivots], prime)
        rank += len(pivots)
    return rank


def _eliminated(panel: Values, prime: int) -> tuple[list[int], Values]:
    """A largest set of independent rows, and the factors by which the others, in order, are sums of them."""
    height, width = panel.shape
    work = np.hstack((panel, np.zeros((height, width))))  # what is left of each row, and what was taken off it
    pivots: list[int] = []
    for column in range(width):
        live = np.flatnonzero(work[:, column])
        if not len(live):
            continue
        work[live[0], width + len(pivots)] = -1.0
        part = work[:, column : width + len(pivots) + 1]
        pivot = part[live[0]].copy()
        part[live[0]] = 0.0
        pivots.append(int(live[0]))
        inverse = pow(int(pivot[0]), -1, prime)
        factors = _residues(part[:, 0] * _residues(np.array(float(inverse)), prime), prime)
        part -= np.outer(factors, pivot)
        part -= prime * np.rint(part / prime)
    return pivots, np.delete(work[:, width : width + len(pivots)], pivots, axis=0)


def _residues(numbers: Values, prime: int) -> Values:
    """Those nearest to 0 (or next to them), of whole numbers below 2^53."""
    residues: Values = numbers - prime * np.rint(numbers / prime)
    return residues


def _bits(gaps: Values, slack: float) -> float:
    """A bound on log2 of the product of those of the gaps that are not 0."""
    return float(np.log2(np.maximum(np.abs(gaps) + slack, 1.0)).sum())


def _primes(bound: Bound) -> Iterator[tuple[int, int]]:
    """Primes, downwards, for which b has a square root, and that root.

    Those that are 3 modulo 4, for which a power of b is the root if there is one.
    """
    odd = range(3, math.isqrt(_PRIMES_BELOW) + 1, 2)
    small = [q for q in odd if all(q % r for r in range(3, math.isqrt(q) + 1, 2))]
    for prime in range(_PRIMES_BELOW - 1, _PRIMES_BELOW // 2, -4):
        root = bound.root if bound.root is not None else pow(bound.b, (prime + 1) // 4, prime)
        if (root * root - bound.b) % prime == 0 and all(prime % q for q in small):
            yield prime, root
