"""Networks of finite width: the variance q of their layers is a Markov chain about its fixed point."""

from __future__ import annotations

import math

import numpy as np

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import CHAINS, generator
from sao_cli.data.arrays import Values
from sao_cli.measure.criticality.fixed_points import FixedVariance
from sao_cli.measure.criticality.variance_map import VarianceMap
from sao_cli.measure.layer.activations import activation_value

FAR_ABOVE = 10.0  # times the highest fixed point: what passes it has escaped, where there is no other to be drawn to
_SAME = 1e-6  # of two fixed points, relatively
_LARGEST = 1e300


def variance_chains(
    variance_map: VarianceMap,
    q: float,
    *,
    depth: int,
    width: int,
    chains: int = 400,
    seed: int = 0,
    progress: Progress = silent,
) -> Values:
    """(chains, depth) float64: q of layers 1 .. depth in `chains` networks of that width, with q of layer 1 given.

    q_{l+1} = sigma_b^2 + sigma_w^2/N sum_i phi(sqrt(q_l) z_i)^2, z_i ~ N(0, 1): given q_l, the N pre-activations of
    layer l are independent and N(0, q_l) where weights and biases are Gaussian, so that for one input the law is exact,
    not a limit. Layer 1 reads the input, whose norm sets its q. No more than 1e300. Layer l draws from a stream of its
    own, so that more layers leave the first as they are.

    Raises SaoError for a depth, width or number of chains below 1, MemoryLimitError for what would not fit.
    O(chains depth width): 12 million numbers in half a second.

    >>> from sao_cli.measure.criticality.variance_map import edge_of_chaos
    >>> found = variance_chains(edge_of_chaos("relu"), 1.0, depth=2, width=1000, chains=3)
    >>> found.shape, found[:, 0].tolist()
    ((3, 2), [1.0, 1.0, 1.0])
    """
    for name, number in (("depth", depth), ("width", width), ("chains", chains)):
        if number < 1:
            raise SaoError(f"{name} {number}: it is a whole number from 1")
    what = f"{chains} chains of {width} units and {depth} layers"
    require_memory(8.0 * chains * (4 * width + depth), what, "choose fewer chains or a smaller width")
    found = np.empty((chains, depth))
    found[:, 0] = q
    for layer in range(1, depth):
        z = generator(seed, layer, CHAINS).standard_normal((chains, width))
        phi = activation_value(variance_map.activation, np.sqrt(found[:, layer - 1, None]) * z)
        with np.errstate(over="ignore"):
            squares = np.square(phi, out=phi).mean(axis=1)
            found[:, layer] = np.minimum(variance_map.sigma_b**2 + variance_map.sigma_w**2 * squares, _LARGEST)
        progress("chains", layer + 1, depth)
    return found


def escape_level(points: list[FixedVariance], q: float) -> float:
    """The q that a chain about the fixed point q passes when it has left it: sqrt(q_2 q_3) of the next two above.

    They are the one that drives away and the one that then attracts. Where q drives away itself, it takes the place of
    q_2. Where nothing above attracts, it is 10 times the highest fixed point.
    """
    above = sorted(point.q for point in points if point.q > q * (1 + _SAME))
    own = [point.stability for point in points if abs(point.q - q) <= _SAME * q]
    pair = above if own in (["stable"], ["neutral"]) or not above else [q, *above]
    return math.sqrt(pair[0] * pair[1]) if len(pair) > 1 else FAR_ABOVE * max([q, *above])


def escaped(chains: Values, level: float) -> Values:
    """(depth,) float64: the share of `chains` that have passed `level` in layers 1 .. l.

    >>> escaped(np.array([[1.0, 9.0, 1.0], [1.0, 1.0, 1.0]]), 5.0).tolist()
    [0.0, 0.5, 0.5]
    """
    shares: Values = (np.maximum.accumulate(chains, axis=1) > level).mean(axis=0)
    return shares


def linearised_std(variance_map: VarianceMap, q: float, *, depth: int, width: int) -> float:
    """The standard deviation of q in layer `depth` of networks of that width, V taken as straight about q.

    sqrt(s^2 sum_{l < depth - 1} V'^{2 l}) with s^2 = sigma_w^4 Var(phi^2)/N: s/sqrt(1 - V'^2) in deep ones.
    """
    found = variance_map.moments(q)
    step = variance_map.sigma_w**4 * float(found.fourth - found.square**2) / width
    with np.errstate(over="ignore"):
        terms = float(((variance_map.sigma_w**2 * found.slope) ** (2 * np.arange(depth - 1))).sum())
    return math.sqrt(max(step, 0.0) * terms)
