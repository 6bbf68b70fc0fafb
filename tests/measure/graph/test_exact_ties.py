"""Ties with the bound against exact characteristic polynomials, and near misses that no floating point tells apart."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from sao_cli.data.mask import Mask
from sao_cli.measure.graph import exact_ties as ties
from sao_cli.measure.graph.exact_ties import Bound, is_tie, rank_modulo
from sao_cli.measure.graph.expansion import expansion

from .. import known_graphs as known

PRIME = 16777183


def characteristic(matrix):
    """The coefficients of det(x I - A), highest first, in whole numbers (Faddeev and LeVerrier)."""
    a = np.array(matrix, dtype=object)
    product, coefficients = np.zeros_like(a), [1]
    for k in range(1, len(a) + 1):
        product = a @ product + coefficients[-1] * np.eye(len(a), dtype=object).astype(int).astype(object)
        coefficients.append(-int(np.trace(a @ product)) // k)
    return coefficients


class Surd:
    """x + y sqrt(b), and its sign."""

    def __init__(self, x, y, b):
        self.x, self.y, self.b = x, y, b

    def __add__(self, other):
        return Surd(self.x + other.x, self.y + other.y, self.b)

    def __mul__(self, other):
        return Surd(self.x * other.x + self.y * other.y * self.b, self.x * other.y + self.y * other.x, self.b)

    @property
    def sign(self):
        squares = self.x * abs(self.x) + self.y * abs(self.y) * self.b
        return (squares > 0) - (squares < 0)


def eigenvalues_above(gram, bound):
    """(above, equal): how many there are, by Descartes' rule, which is exact for polynomials with real roots alone."""
    scaled = (bound.scale * np.array(gram)).astype(int).tolist()
    beta, zero = Surd(bound.a, 1, bound.b), Surd(0, 0, bound.b)
    shifted = []
    for coefficient in characteristic(scaled):  # Horner's scheme of p(x + beta)
        shifted = [one * beta + other for one, other in zip([*shifted, zero], [zero, *shifted], strict=True)] or [zero]
        shifted[0] += Surd(coefficient, 0, bound.b)
    signs = [term.sign for term in shifted]
    equal = next(number for number, sign in enumerate(signs) if sign)
    live = [sign for sign in signs if sign]
    return sum(one != other for one, other in itertools.pairwise(live)), equal


def test_the_oracle_counts():
    bound = Bound(Fraction(3), Fraction(2))  # 3 + 2 sqrt(2), an eigenvalue of [[1, 2], [2, 5]]
    gram = np.diag([5, 6, 7, 1, 1, 0])
    gram[3:5, 3:5] = [[1, 2], [2, 5]]
    assert eigenvalues_above(gram, bound) == (2, 1)
    assert eigenvalues_above(np.diag([16, 17, 15, 16]), Bound(Fraction(5), Fraction(5))) == (1, 2)


@pytest.mark.parametrize("seed", range(4))
def test_every_small_mask_gets_the_verdict_of_whole_numbers(seed):
    """None is open: 60 of each seed, sparse enough for ties, which some of them are."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        m, n = rng.integers(2, 7, 2).tolist()
        mask = Mask.from_dense(rng.random((m, n)) < rng.choice([0.4, 0.6]))
        result = expansion(mask)
        if result.bound is None or not result.connected:
            continue
        dense = mask.to_dense(int)
        above, _ = eigenvalues_above(dense @ dense.T, Bound(Fraction(mask.nnz, n), Fraction(mask.nnz, m)))
        assert result.ramanujan is (above <= 1)


@pytest.mark.parametrize("copies", [1, 2])
def test_an_irrational_tie(copies):
    """Degrees 3 and 2: the bound's square is 3 + 2 sqrt(2), and its conjugate is an eigenvalue too."""
    bound = Bound(Fraction(3), Fraction(2))
    gram = np.zeros((2 * copies + 2, 2 * copies + 2))
    gram[:-2, :-2] = np.kron(np.eye(copies), [[1, 2], [2, 5]])
    gram[-2:, -2:] = [[4, 2], [2, 4]]
    assert bound.root is None
    assert bound.squared == pytest.approx(3 + 2 * math.sqrt(2), rel=1e-15)
    assert eigenvalues_above(gram, bound) == (1, copies)
    assert is_tie(gram, bound)
    gram[0, 0] = 2
    assert eigenvalues_above(gram, bound)[1] == copies - 1
    assert not is_tie(gram, bound)


@pytest.mark.parametrize("size", [6, 9, 14])
def test_a_near_miss_is_no_tie(size):
    """16 I - L L^T with L a unit triangle: an eigenvalue is some 100^-size below 16, which 9 rows hide in rounding."""
    lower = np.eye(size) + 10 * np.eye(size, k=-1)
    bound = Bound(Fraction(5), Fraction(5))
    gram = np.zeros((size + 1, size + 1))
    gram[1:, 1:] = 16 * np.eye(size) - lower @ lower.T
    gram[0, 0] = 1000
    assert np.abs(np.linalg.eigvalsh(gram)[-2] - 16) < 1e-3
    assert eigenvalues_above(gram, bound) == (1, 0)
    assert not is_tie(gram, bound)
    lower[0, 0] = 0
    gram[1:, 1:] = 16 * np.eye(size) - lower @ lower.T
    assert eigenvalues_above(gram, bound) == (1, 1)
    assert is_tie(gram, bound)


def test_two_above_the_bound_are_no_tie():
    assert not is_tie(np.diag([20.0, 17.0, 16.0, 3.0]), Bound(Fraction(5), Fraction(5)))
    assert is_tie(np.diag([20.0, 16.0, 16.0, 3.0]), Bound(Fraction(5), Fraction(5)))
    assert not is_tie(np.diag([20.0, 15.0, 14.0, 3.0]), Bound(Fraction(5), Fraction(5)))


@pytest.mark.parametrize(("size", "rank"), [(1, 0), (1, 1), (5, 3), (40, 40), (70, 33), (130, 100), (64, 0), (100, 1)])
@pytest.mark.parametrize("prime", [3, 101, PRIME])
def test_ranks_modulo_a_prime(size, rank, prime):
    """A product of triangles with units on their diagonals has the rank that it is made of."""
    rng = np.random.default_rng(size + rank)
    left = np.tril(rng.integers(-9, 10, (size, rank)), -1) + np.eye(size, rank)
    right = np.triu(rng.integers(-9, 10, (rank, size)), 1) + np.eye(rank, size)
    matrix = rng.permutation(left @ right)[:, rng.permutation(size)]
    assert rank_modulo(ties._residues(matrix, prime), prime) == rank


def test_ranks_where_residues_are_as_large_as_they_get():
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, PRIME, shape).astype(object) for shape in ((60, 45), (45, 60)))
    product = np.array(left @ right % PRIME, dtype=float)
    assert rank_modulo(ties._residues(product, PRIME), PRIME) == 45


def test_the_primes_are_primes_with_roots():
    for bound in (
        Bound(Fraction(3), Fraction(2)),
        Bound(Fraction(5), Fraction(5)),
        Bound(Fraction(7, 3), Fraction(7, 5)),
    ):
        chosen = [prime for prime, _ in zip(ties._primes(bound), range(50), strict=False)]
        assert len({prime for prime, _ in chosen}) == 50
        for prime, root in chosen:
            assert 2**23 < prime < 2**24
            assert pow(2, prime - 1, prime) == pow(3, prime - 1, prime) == 1
            assert (root * root - bound.b) % prime == 0


def test_what_would_take_minutes_is_left_open(monkeypatch):
    monkeypatch.setattr(ties, "_MOST", 10.0)
    mask = known.lambda_2_at_the_bound()[1]
    assert expansion(mask).ramanujan is None
