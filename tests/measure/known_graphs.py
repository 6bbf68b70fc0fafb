"""Masks whose spectra are known on paper, and random ones, built with numpy alone."""

import math
from itertools import combinations, product

import numpy as np

from sao_cli.data.mask import Mask

DIFFERENCE_SETS = {2: (7, (0, 1, 3)), 3: (13, (0, 1, 3, 9)), 4: (21, (0, 1, 4, 14, 16)), 5: (31, (0, 1, 3, 8, 12, 18))}


def complete(m, n):
    return Mask.from_dense(np.ones((m, n)))


def circulant(n, shifts):
    dense = np.zeros((n, n))
    for shift in shifts:
        dense[np.arange(n), (np.arange(n) + shift) % n] = 1
    return Mask.from_dense(dense)


def cycle(length):
    """The cycle of 2 * length nodes."""
    return circulant(length, (0, 1))


def projective_plane(q):
    """Singer's difference set modulo q^2 + q + 1; q = 2 is the Heawood graph. Singular values q + 1 and sqrt(q)."""
    return circulant(*DIFFERENCE_SETS[q])


def generalised_quadrangle(q):
    """W(q) for a prime q: points of PG(3, q) and the lines that a symplectic form makes zero. sqrt(2q) comes second."""
    points = [p for p in product(range(q), repeat=4) if next((x for x in p if x), 0) == 1]
    index = {point: i for i, point in enumerate(points)}

    def normal(vector):
        lead = next(x for x in vector if x)
        inverse = pow(lead, -1, q)
        return tuple(x * inverse % q for x in vector)

    lines = set()
    for a, b in combinations(points, 2):
        if (a[0] * b[1] - a[1] * b[0] + a[2] * b[3] - a[3] * b[2]) % q == 0:
            span = {normal(tuple((x + t * y) % q for x, y in zip(a, b, strict=True))) for t in range(q)}
            lines.add(frozenset(index[point] for point in {*span, b}))
    dense = np.zeros((len(lines), len(points)))
    for row, line in enumerate(sorted(map(sorted, lines))):
        dense[row, line] = 1
    return Mask.from_dense(dense)


def hypercube(dimension):
    """Even against odd corners: singular values dimension - 2j."""
    corners = np.array(list(product((0, 1), repeat=dimension)))
    even, odd = corners[corners.sum(1) % 2 == 0], corners[corners.sum(1) % 2 == 1]
    return Mask.from_dense((even[:, None] != odd).sum(2) == 1)


def petersen_double_cover():
    """The Desargues graph: the singular values of Petersen's adjacency, 3, 2 (four times) and 1 (five times)."""
    pairs = list(combinations(range(5), 2))
    return Mask.from_dense([[not {*a} & {*b} for b in pairs] for a in pairs])


def affine_plane_less_a_class():
    """Points of GF(16)^2 and its lines y = s x + b, the vertical ones left out: 16, 4 (240 times) and zeros."""

    def times(a, b):  # modulo x^4 + x + 1
        result = 0
        for bit in range(4):
            result ^= (a << bit) * (b >> bit & 1)
        for bit in (6, 5, 4):
            result ^= (0b10011 << (bit - 4)) * (result >> bit & 1)
        return result

    dense = np.zeros((256, 256))
    for slope, offset, x in product(range(16), repeat=3):
        dense[16 * slope + offset, 16 * x + (times(slope, x) ^ offset)] = 1
    return Mask.from_dense(dense)


def cayley(bits, degree, seed):
    """A Cayley graph of Z_2^bits: eigenvalues are the Walsh transform of its generators, eigenvectors are signs.

    Returns the mask, all its singular values in Walsh order, and the unit eigenvector of the largest but the first.
    """
    size = 2**bits
    generators = np.random.default_rng(seed).choice(size, degree, replace=False)
    mask = Mask.from_dense(np.isin(np.arange(size)[:, None] ^ np.arange(size), generators))
    values = np.abs(walsh(np.isin(np.arange(size), generators)))
    second = np.argmax(np.append(0, values[1:]))
    return mask, values, walsh(np.arange(size) == second) / math.sqrt(size)


def walsh(function):
    """Its Walsh-Hadamard transform, exactly for whole numbers."""
    result = np.asarray(function, dtype=float)
    for width in 2 ** np.arange(len(result).bit_length() - 1):
        pairs = result.reshape(-1, 2, width)
        result = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), axis=1).reshape(-1)
    return result


def lambda_2_at_the_bound():
    """Masks whose lambda_2 is the bound, in whole numbers.

    - Edges against nodes of the 5-regular C_6 x K_4, whose second eigenvalue is 4: c = 5, d = 2, and M^T M = 5 I + A,
      so that lambda_2 = sqrt(5 + 4), and the bound is sqrt(4) + sqrt(1).
    - One half of C_6 x K_{3,3} against the other: 5-regular, of eigenvalues 2 cos(pi j / 3) + (3, 0 or -3): 5, 4 ...
    - Cayley graphs of Z_2^6 and Z_2^7 with ten generators, of which a character sees eight alike: 6 = 2 sqrt(10 - 1).
    """
    nodes = list(product(range(6), range(4)))
    edges = [
        (a, b)
        for (a, (i, j)), (b, (k, m)) in combinations(enumerate(nodes), 2)
        if (i == k) or (j == m and (i - k) % 6 in (1, 5))
    ]
    dense = np.zeros((len(edges), len(nodes)))
    for row, ends in enumerate(edges):
        dense[row, ends] = 1
    ring = np.roll(np.eye(6), 1, axis=0) + np.roll(np.eye(6), -1, axis=0)
    both = np.kron(ring, np.eye(6)) + np.kron(np.eye(6), np.kron(1 - np.eye(2), np.ones((3, 3))))
    side = (np.arange(36) // 6 + np.arange(36) % 6 // 3) % 2 == 0
    halves = Mask.from_dense(both[side][:, ~side])
    return [Mask.from_dense(dense), halves, cayley(6, 10, 0)[0], cayley(7, 10, 5)[0]]


def two_complete_switched(k):
    """Two K_{k,k} joined by one switch of two ones: connected, k-regular, and hardly an expander."""
    dense = np.kron(np.eye(2), np.ones((k, k)))
    dense[0, 0] = dense[k, k] = 0
    dense[0, k] = dense[k, 0] = 1
    return Mask.from_dense(dense)


def random_lift(c, d, k, seed):
    """A random k-lift of K_{c,d}, with shuffled rows and columns: c k x d k, row degree d, column degree c."""
    rng = np.random.default_rng(seed)
    columns = np.concatenate([np.stack([j * k + rng.permutation(k) for j in range(d)], axis=1) for _ in range(c)])
    columns = rng.permutation(d * k)[columns[rng.permutation(c * k)]]
    return Mask.from_entries(np.repeat(np.arange(c * k), d), columns.reshape(-1), (c * k, d * k))


def random_pattern(m, n, density, seed):
    return Mask.from_dense(np.random.default_rng(seed).random((m, n)) < density)


def union(*masks):
    """The masks as the blocks of a block diagonal one: a disjoint union of graphs."""
    m, n = np.cumsum([(0, 0), *(mask.shape for mask in masks)], axis=0).T
    rows = np.concatenate([mask.entry_rows + at for mask, at in zip(masks, m, strict=False)])
    columns = np.concatenate([mask.indices + at for mask, at in zip(masks, n, strict=False)])
    return Mask.from_entries(rows, columns, (int(m[-1]), int(n[-1])))


def padded(mask, rows, columns):
    """The mask with dead rows and columns added at its end."""
    return Mask.from_entries(mask.entry_rows, mask.indices, (mask.m + rows, mask.n + columns))


def shuffled(mask, seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(mask.m), rng.permutation(mask.n)
    return Mask.from_entries(rows[mask.entry_rows], columns[mask.indices], mask.shape)
