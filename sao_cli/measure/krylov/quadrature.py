"""Distributions from the Lanczos coefficients of random starts: Gauss rules, made into one curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

ZERO_LEVEL = 1e-11  # share of the largest eigenvalue below which one can't be told from zero
SHARP = 1e-8  # the same for the residual below which a Ritz value is an eigenvalue, not the middle of a cluster
_COPIES = 1e-12  # the same for the distance within which Ritz values are copies of one, made by rounding
_REACH = 4.0  # our choice; side by side, the gaps of a smooth density differ by a factor of 3 at most
_LUMP = 0.75  # of a node's weight that half as many steps saw already; a smooth density gives 1/2, an atom 1


class Rule(NamedTuple):
    """A quadrature rule for the measure of one start: nodes (k,) ascending eigenvalues of A, and their weights (k,).

    `lumps` (k,) is the part of each weight that belongs to an atom or to a cluster too narrow to resolve, and
    `widths` (k,) tell within what distance of the node that part lies; 0 where the node is an atom.
    """

    nodes: Values
    weights: Values
    lumps: Values
    widths: Values


def quadrature_rule(alphas: Sequence[float], betas: Sequence[float]) -> Rule:
    """The Gauss rule of T_k, for an operator A without negative eigenvalues (Golub and Meurant 2010, section 6.2).

    `alphas` and `betas` (k,) are those of a Lanczos process; betas[-1] is 0 where the space was used up, and the rule
    then is the measure itself. Of a node theta's weight w_k(theta) = 1 / sum_{j<k} p_j(theta)^2 (Christoffel's
    function) a smooth density leaves half when k is doubled, and an atom all: 2 w_k - w_{k/2} is left for what does
    not shrink. It lies within the residual of theta, which is about its mean. Where 3 theta is less than that
    residual, it lies below 4 theta, for nothing is below 0, and w is compared at 0 instead: a density that ends there,
    as that of square matrices does, leaves all at its first node, but half at 0. Copies of a converged value, which
    rounding makes, are taken together. O(k^3).
    """
    off = np.diag(betas[:-1], 1)
    nodes, vectors = np.linalg.eigh(np.diag(alphas) + off + off.T)
    scale = float(nodes[-1])
    nodes[nodes <= ZERO_LEVEL * scale] = 0.0
    widths = betas[-1] * np.abs(vectors[-1])
    weights, seen = vectors[0] ** 2, _share_of_half(vectors)  # w_k and w_k / w_{k/2}
    if widths[0] > 3 * nodes[0] > 0:
        widths[0] = 3 * nodes[0]
        seen[0] = _share_of_half(vectors @ (vectors[-1] / nodes))  # T_k^-1 e_k, which is (p_0(0) .. p_{k-1}(0))
    widths[widths <= SHARP * scale] = 0.0
    nodes, weights, seen, widths = _joined(nodes, weights, seen, widths, _COPIES * scale)
    lumps = np.where(seen >= _LUMP, weights * np.clip(2 - 1 / np.maximum(seen, _LUMP), 0, 1), 0.0)
    return Rule(nodes, weights, np.where(widths == 0, weights, lumps), widths)


def _share_of_half(vectors: Values) -> Values:
    """sum_{j<k/2} p_j^2 / sum_{j<k} p_j^2 of each column (p_0 .. p_{k-1}), or of one such vector."""
    squares = vectors * vectors
    share: Values = squares[: len(squares) // 2].sum(axis=0) / squares.sum(axis=0)
    return share


def _joined(
    nodes: Values, weights: Values, seen: Values, widths: Values, distance: float
) -> tuple[Values, Values, Values, Values]:
    """Nodes that are copies of one, as one: each vector's share of the joint weight stands for them all."""
    firsts = np.flatnonzero(np.diff(nodes, prepend=-np.inf) > distance)
    if len(firsts) == len(nodes):
        return nodes, weights, seen, widths
    joint = np.add.reduceat(weights, firsts)
    best = np.array(
        [first + np.argmax(part) for first, part in zip(firsts, np.split(weights, firsts[1:]), strict=True)]
    )
    seen = np.minimum(joint * seen[best] / np.maximum(weights[best], np.finfo(np.float64).tiny), 1.0)
    return nodes[best], joint, seen, widths[best]


@dataclass(frozen=True, eq=False)
class Distribution:
    """A distribution function: the line through (grid, heights), and jumps of `masses` at `places`, both ascending.

    `heights` begins with 0; its last value and the masses add up to 1.
    """

    grid: Values
    heights: Values
    places: Values
    masses: Values

    def cdf(self, x: Values, side: Literal["left", "right"] = "right") -> Values:
        """The share at or below each x, or below it where `side` is "left"."""
        jumps = np.concatenate(([0.0], np.cumsum(self.masses)))
        return np.interp(x, self.grid, self.heights) + jumps[np.searchsorted(self.places, x, side)]

    def scaled(self, factor: float) -> Distribution:
        """The distribution of `factor` times as large values."""
        return Distribution(factor * self.grid, self.heights, factor * self.places, self.masses)

    @property
    def points(self) -> Values:
        """Where the slope changes or a jump is, ascending."""
        return np.unique(np.concatenate((self.grid, self.places)))


def mean_distribution(rules: Sequence[Rule], zeros: float = 0.0) -> Distribution:
    """The mean over probes of the distributions of sigma = sqrt(lambda) that their rules stand for.

    By the separation theorem of Chebyshev, Markov and Stieltjes (Szego 1975, section 3.41) the distribution at a node
    lies between the sums of the weights before and up to it: it is taken to be in the middle, and linear in sigma
    between the nodes. Atoms are jumps, and clusters spread over their widths. `zeros` is a share of zeros that is
    known; so much of the first node's weight is an atom at 0.
    """
    lines: list[tuple[Values, Values]] = []
    places, masses = [], []
    for rule in rules:
        known, atoms, clusters = _lumps(rule, zeros)
        smooth = rule.weights - atoms - clusters
        smooth[0] -= known
        lines.append(_line(rule.nodes, smooth))
        for i in np.flatnonzero(clusters).tolist():
            ends = np.array([rule.nodes[i] - rule.widths[i], rule.nodes[i] + rule.widths[i]])
            lines.append((np.sqrt(np.maximum(ends, 0.0)), np.array([0.0, clusters[i]])))
        jumps = atoms > 0
        places.append(np.append(0.0, np.sqrt(rule.nodes[jumps])))
        masses.append(np.append(known, atoms[jumps]))
    grid = np.unique(np.concatenate([positions for positions, _ in lines]))
    heights = np.sum([np.interp(grid, *line) for line in lines], axis=0) / len(rules)
    place, mass = np.concatenate(places), np.concatenate(masses) / len(rules)
    order = np.argsort(place, kind="stable")
    return Distribution(grid, heights, place[order], mass[order])


def _line(nodes: Values, weights: Values) -> tuple[Values, Values]:
    """Half of each weight evenly to the left of its node and half to the right, up to the middle of the gap.

    But no farther than _REACH times as far as on the other side: beside a wide gap the weight is near the node.
    Nothing goes below 0, or above the largest node.
    """
    sigma = np.sqrt(nodes)
    gaps = np.diff(sigma) / 2
    left, right = np.append(sigma[0], gaps), np.append(gaps, 0.0)
    left[:-1], right[:-1] = np.minimum(left, _REACH * right)[:-1], np.minimum(right, _REACH * left)[:-1]
    below = np.cumsum(weights) - weights
    positions = np.stack((sigma - left, sigma, sigma + right), axis=1)
    return positions.reshape(-1), np.stack((below, below + weights / 2, below + weights), axis=1).reshape(-1)


def _lumps(rule: Rule, zeros: float) -> tuple[float, Values, Values]:
    """The weight of known zeros, and those (k,) of atoms, and of clusters whose place is known to their widths only."""
    atoms = np.where(rule.widths == 0, rule.lumps, 0.0)
    clusters = rule.lumps - atoms
    known = 0.0 if atoms[0] > 0 else min(zeros, float(rule.weights[0]))
    clusters[0] = max(clusters[0] - known, 0.0)
    return known, atoms, clusters


def resolution(rules: Sequence[Rule], coarser: Sequence[Rule], zeros: float = 0.0) -> float:
    """How far `mean_distribution` may be off, in sup norm, for want of steps: an estimate.

    Twice the change from that of the `coarser` rules, which half as many steps gave: the error itself where it falls
    as 1/k is the change, and twice that is enough from k^-0.6 on. Plus the weight of the largest cluster, and no more
    than all that is not in atoms.
    """
    lumps = [_lumps(rule, zeros) for rule in rules]
    clusters = float(np.mean([clusters.max() for _, _, clusters in lumps]))
    smooth = 1.0 - float(np.mean([known + atoms.sum() for known, atoms, _ in lumps]))
    change = distance(mean_distribution(rules, zeros), mean_distribution(coarser, zeros))
    return min(2 * change + clusters, max(smooth, 0.0))


def distance(first: Distribution, second: Distribution) -> float:
    """The Kolmogorov-Smirnov distance sup |F - G|: between two points both are linear, so that it is at one of them."""
    points = np.union1d(first.points, second.points)
    gaps = [np.abs(first.cdf(points, side) - second.cdf(points, side)).max() for side in ("left", "right")]
    return float(max(gaps))
