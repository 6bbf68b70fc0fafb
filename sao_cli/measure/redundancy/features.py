"""Units between layers that a smaller network does without: read by none, constant, or multiples of another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Booleans, Values
from sao_cli.measure.layer.activations import ActivationFunction, activation_value
from sao_cli.measure.redundancy.multiples import Indices, Multiples, multiples


class FeatureCounts(NamedTuple):
    """How many units one layer could lose without a change of what the next gives; no unit is counted twice.

    `unread`: the next layer has only zeros for them. `constant`: their own row is zero, so that they are phi(bias) for
    every input. `mergeable`: all but one of each class of units that are multiples of each other.
    """

    mergeable: int
    constant: int
    unread: int


class FeatureLayer(NamedTuple):
    """A layer of a chain: `weight` (m, n) or (m, n, ...), of float64, and `bias` (m,), None for zeros.

    What follows the first two axes are the taps of a kernel, or the pixels of each channel that a matrix reads. `dtype`
    is the precision in which the numbers were born.
    """

    weight: Values
    bias: Values | None = None
    dtype: str = "float64"

    @property
    def rows(self) -> Values:
        """[W, b], (m, numbers + 1)."""
        bias = np.zeros(len(self.weight)) if self.bias is None else self.bias
        return np.column_stack((self.weight.reshape(len(self.weight), -1), bias))

    @property
    def constant(self) -> Booleans:
        """Which units read nothing."""
        constant: Booleans = np.logical_not(self.weight.reshape(len(self.weight), -1).any(axis=1))
        return constant

    @property
    def unread(self) -> Booleans:
        """Which units of the layer before it has only zeros for."""
        unread: Booleans = np.logical_not(self.weight.any(axis=(0, *range(2, self.weight.ndim))))
        return unread


class Between(Protocol):
    """What stands between two layers, and acts on each unit alone."""

    def passes(self, factor: float) -> bool:
        """Whether a unit that is `factor` times another one before it is so after it too."""

    def constants(self, biases: Values) -> Values:
        """What the next layer reads of units that are `biases` (k,) everywhere: (k,), or (k, taps) where taps differ.

        NaN for a unit that it does not see as a constant.
        """


class StatedBetween(NamedTuple):
    """An activation, and maybe more that is not known: a pooling, which is no odd function, and borders.

    Beyond a border there are zeros, so that a constant unit is not what it is inside.
    """

    activation: ActivationFunction
    pooled: bool = False
    bordered: bool = False

    def passes(self, factor: float) -> bool:
        """As Between says."""
        return (factor > 0 or not self.pooled) and self.activation.passes(factor)

    def constants(self, biases: Values) -> Values:
        """As Between says."""
        values = activation_value(self.activation, biases)
        return np.where(values == 0, 0.0, np.nan) if self.bordered else values


@dataclass(frozen=True, eq=False)
class ReducedFeatures:
    """A chain of layers without the units that are not needed, and how many of each layer's were what.

    `kept` are the numbers of the units that are left of each layer; the last one's are all. `merged`, `constant` and
    `unread` count those that are gone, `unread_inputs` the inputs of the first layer that it has only zeros for, which
    stay. A layer keeps one unit, made of zeros, where none is needed.
    """

    layers: tuple[FeatureLayer, ...]
    kept: tuple[Indices, ...]
    merged: tuple[int, ...]
    constant: tuple[int, ...]
    unread: tuple[int, ...]
    unread_inputs: int


def feature_counts(
    weight: ArrayLike,
    bias: ArrayLike | None,
    following: ArrayLike,
    activation: str | ActivationFunction | None = None,
    *,
    dtype: str = "float64",
) -> FeatureCounts:
    """How many units of a layer, as it stands, the next layer could do without, and why (FeatureCounts).

    `weight` (m, n) and `bias` (m,) are the layer's, `following` (k, m) the next one's weight; either may have more
    axes, as FeatureLayer says. Units i and j are merged where [w_i, b_i] = r [w_j, b_j] and phi(r h) = r phi(h) for
    every h: any r for linear, r > 0 for relu and leaky-relu, r = 1 or -1 for odd functions, r = 1 for others;
    `multiples` says how equal that is, in `dtype`. Without an `activation` they are those with r = 1, which merge
    whatever it is: a lower bound, while the other two counts are the same for every elementwise function. Removing
    units may leave more to be removed before and after, which `reduce_features` does. O(size of both, and m log m).

    Raises SaoError for sizes that do not fit, and for numbers that are not finite.

    >>> row = np.array([1.0, -2.0])
    >>> feature_counts([row, 2 * row, -row, 0 * row, row + 1], [1.0, 2.0, -1.0, 3.0, 0.0], np.ones((2, 5)), "relu")
    FeatureCounts(mergeable=1, constant=1, unread=0)
    """
    layers = _checked([_layer(weight, bias, dtype), _layer(following, None, dtype)])
    unread = layers[1].unread
    constant = layers[0].constant & ~unread
    merged = multiples(layers[0].rows[~unread & ~constant], _passes(activation), dtype).dropped
    return FeatureCounts(int(merged.sum()), int(constant.sum()), int(unread.sum()))


def reduce_features(layers: Sequence[FeatureLayer], between: Sequence[Between]) -> ReducedFeatures:
    """The smallest chain that gives the same outputs and is had by dropping units that are not needed, ReducedFeatures.

    `layers` in the order in which they run; `between` what stands between each two. Until nothing is left to do: units
    that are not read are dropped; of constant ones v_i phi(b_i) is added to the next layer's bias, v_i their column of
    its weight; of a class of multiples, unit i = r_i unit j, unit j stays, with the column v_j + sum r_i v_i. Each of
    these may make rows or columns zero, or rows equal, in the layers beside. The last layer's outputs all stay, and so
    do the inputs. A bias is made where a constant needs one.

    The outputs are the same to rounding: a few eps of each sum, as `multiples` says. O(numbers) a pass; passes are as
    many as there are layers at most that a change travels through.

    Raises SaoError as feature_counts does.

    >>> first = FeatureLayer(np.array([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]]), np.array([0.0, 0.0, 5.0]))
    >>> last = FeatureLayer(np.array([[1.0, 1.0, 2.0]]), np.array([7.0]))
    >>> smaller = reduce_features([first, last], [StatedBetween(ActivationFunction("relu"))])
    >>> [layer.weight.tolist() for layer in smaller.layers], smaller.layers[1].bias.tolist(), smaller.kept[0].tolist()
    ([[[2.0, 4.0]], [[1.5]]], [17.0], [1])
    """
    chain = _Chain(_checked(layers))
    while chain.sweep(between):
        pass
    return ReducedFeatures(
        tuple(chain.layers),
        tuple(chain.kept),
        tuple(chain.merged),
        tuple(chain.constant),
        tuple(chain.unread),
        int(chain.layers[0].unread.sum()),
    )


class _Chain:
    """The layers while they shrink."""

    def __init__(self, layers: Sequence[FeatureLayer]) -> None:
        self.layers = list(layers)
        self.kept: list[Indices] = [np.arange(len(layer.weight)) for layer in layers]
        self.merged, self.constant, self.unread = ([0] * len(layers) for _ in range(3))

    def sweep(self, between: Sequence[Between]) -> bool:
        """Whether anything changed on the way back, along which unread units travel, or else on the way forth."""
        places = range(len(between))
        for way in (reversed(places), places):
            changed = [self.pass_over(place, between[place]) for place in way]
            if any(changed):
                return True
        return False

    def pass_over(self, place: int, between: Between) -> bool:
        """Whether units of the layer at `place` went, or gave up their numbers."""
        layer, following = self.layers[place : place + 2]
        unread = following.unread
        constant = layer.constant & ~unread
        if constant.any():
            constant = self._folded(place, constant, between)
        live = np.flatnonzero(~unread & ~constant)
        same = multiples(layer.rows[live], between.passes, layer.dtype)
        self._merge(place, live, same)
        merged = np.zeros_like(unread)
        merged[live[same.dropped]] = True
        return self._drop(place, unread, constant, merged)

    def _folded(self, place: int, constant: Booleans, between: Between) -> Booleans:
        """Those of the constant units whose constant is in the next layer's bias now, where it is not 0."""
        layer, following = self.layers[place : place + 2]
        places = np.flatnonzero(constant)
        biases = np.zeros(len(places)) if layer.bias is None else layer.bias[places]
        values = between.constants(biases).reshape(len(places), -1)
        known = np.isfinite(values).all(axis=1)
        constant = constant.copy()
        constant[places[~known]] = False
        values, columns = values[known], following.weight[:, places[known]]
        if values.any():
            read = columns.reshape(*columns.shape[:2], -1) * values
            bias = np.zeros(len(read)) if following.bias is None else following.bias
            # Not the product of BLAS, which may sum equal rows in different orders, after which they would not merge.
            self.layers[place + 1] = following._replace(bias=bias + read.reshape(len(read), -1).sum(axis=1))
        return constant

    def _merge(self, place: int, live: Indices, same: Multiples) -> None:
        if not same.dropped.any():
            return
        following = self.layers[place + 1]
        weight = following.weight.copy()
        for i in np.flatnonzero(same.dropped).tolist():
            weight[:, live[same.of[i]]] += same.ratio[i] * weight[:, live[i]]
        self.layers[place + 1] = following._replace(weight=weight)

    def _drop(self, place: int, unread: Booleans, constant: Booleans, merged: Booleans) -> bool:
        gone = unread | constant | merged
        if not gone.any():
            return False
        layer, following = self.layers[place : place + 2]
        stays: Booleans = ~gone
        emptied = not stays.any()
        stays[0] |= emptied
        counts = (self.unread, self.constant, self.merged)
        for count, units in zip(counts, (unread, constant, merged), strict=True):
            count[place] += int((units & ~stays).sum())
        self.kept[place] = self.kept[place][stays]
        bias = None if layer.bias is None else layer.bias[stays]
        smaller = layer._replace(weight=layer.weight[stays], bias=bias)
        reading = following._replace(weight=following.weight[:, stays])
        if emptied:
            done = len(gone) == 1 and not (smaller.rows.any() or reading.weight.any())
            smaller = smaller._replace(
                weight=np.zeros_like(smaller.weight), bias=None if bias is None else np.zeros_like(bias)
            )
            reading = reading._replace(weight=np.zeros_like(reading.weight))
        self.layers[place : place + 2] = smaller, reading
        return not (emptied and done)


def _passes(activation: str | ActivationFunction | None) -> Any:
    return (lambda factor: factor == 1) if activation is None else ActivationFunction.of(activation).passes


def _layer(weight: ArrayLike, bias: ArrayLike | None, dtype: str) -> FeatureLayer:
    told = None if bias is None else np.asarray(bias, dtype=np.float64)
    return FeatureLayer(np.asarray(weight, dtype=np.float64), told, dtype)


def _checked(layers: Sequence[FeatureLayer]) -> Sequence[FeatureLayer]:
    for number, layer in enumerate(layers, 1):
        if layer.bias is not None and layer.bias.shape != layer.weight.shape[:1]:
            raise SaoError(f"layer {number}: a bias of shape {layer.bias.shape} for {len(layer.weight)} outputs")
        if not (_is_finite(layer.weight) and (layer.bias is None or _is_finite(layer.bias))):
            raise SaoError(f"layer {number} has numbers that are not finite: no unit of it can be told to be needless")
        if number > 1 and layer.weight.shape[1] != (before := len(layers[number - 2].weight)):
            raise SaoError(
                f"layer {number} reads {layer.weight.shape[1]} inputs, and the one before has {before} outputs"
            )
    return layers


def _is_finite(numbers: NDArray[Any]) -> bool:
    return bool(np.isfinite(numbers).all())
