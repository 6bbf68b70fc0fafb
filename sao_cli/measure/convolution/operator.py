"""The linear map of a convolution without its matrix: forwards, transposed, and its Gram operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.measure.convolution.geometry import Axis, Geometry
from sao_cli.measure.convolution.parts import Part
from sao_cli.measure.krylov.lanczos import UNIT_ROUNDOFF

Values = NDArray[np.float64]


class PartOperator:
    """A part of a convolution as a map of images (count, c_in, n_1, ...) to (count, c_out, outputs_1, ...), float64.

    The image is padded once, an axis at a time, all live taps' views of it are laid out in columns, and one matrix
    product for each component applies them: O(count c_out c_in taps outputs), and taps times the image of memory.

    >>> part = Part(np.array([[[[1.0]], [[-1.0]]]]), np.array([[0], [1]]))  # differences of neighbours
    >>> PartOperator(part, Geometry(4, (2,), "valid")).apply(np.array([[[1.0, 2.0, 4.0, 8.0]]]))
    array([[[-1., -2., -4.]]])
    """

    def __init__(self, part: Part, geometry: Geometry) -> None:
        self.axes = geometry.axes
        c_out, c_in = part.channels
        self.inputs = (part.count, c_in, *geometry.image)
        self.outputs = (part.count, c_out, *geometry.outputs)
        padded = math.prod(axis.padded for axis in self.axes)
        columns = c_in * (len(part.places) + 1) * math.prod(geometry.outputs) + 2 * c_in * padded
        require_memory(8.0 * part.count * columns, "the columns of a convolution", "choose a smaller image")
        self._weights = np.ascontiguousarray(part.weights.transpose(0, 2, 1, 3)).reshape(part.count, c_out, -1)
        self._views = [self._view(place) for place in part.places.tolist()]
        self._columns = (part.count, len(part.places), c_in, *geometry.outputs)

    def apply(self, x: Values) -> Values:
        """The convolution of x."""
        for j, axis in enumerate(self.axes):
            x = _padded(x, axis, j + 2)
        columns = np.empty(self._columns)
        for tap, view in enumerate(self._views):
            columns[:, tap] = x[view]
        y: Values = self._weights @ columns.reshape(len(columns), self._weights.shape[2], -1)
        return y.reshape(self.outputs)

    def transposed(self, y: Values) -> Values:
        """The transposed convolution of y: <apply(x), y> = <x, transposed(y)>."""
        columns = self._weights.swapaxes(1, 2) @ y.reshape(*self.outputs[:2], -1)
        columns = columns.reshape(self._columns)
        x = np.zeros((*self.inputs[:2], *(axis.padded for axis in self.axes)))
        for tap, view in enumerate(self._views):
            x[view] += columns[:, tap]
        for j, axis in enumerate(self.axes):
            x = _folded(x, axis, j + 2)
        return x

    @property
    def size(self) -> int:
        """The smaller side of the map."""
        return min(math.prod(self.inputs), math.prod(self.outputs))

    @property
    def norm_bound(self) -> float:
        """An upper bound on the norm of the map: sum_t |W_t|, times the root of how often a tap can read one place."""
        count, c_out = self._weights.shape[:2]
        norms = np.linalg.norm(self._weights.reshape(count, c_out, len(self._views), -1), axis=(1, 3))
        repeats = math.prod(2 if axis.padding == "reflect" else 1 for axis in self.axes)
        return math.sqrt(repeats) * float(norms.sum(axis=1).max())

    @property
    def terms(self) -> int:
        """How many numbers the two products of `gram` sum at most."""
        return len(self._views) * (self._weights.shape[1] + self._weights.shape[2] // len(self._views))

    def gram(self, x: Values) -> Values:
        """A A^T x or A^T A x, (size,), of the map A, whichever is smaller."""
        if math.prod(self.outputs) <= math.prod(self.inputs):
            return self.apply(self.transposed(x.reshape(self.outputs))).reshape(-1)
        return self.transposed(self.apply(x.reshape(self.inputs))).reshape(-1)

    def _view(self, place: list[int]) -> tuple[slice, ...]:
        """Where in the padded image the outputs find what they read by the tap at `place`."""
        spans = []
        for axis, tap in zip(self.axes, place, strict=True):
            start = axis.dilation * tap
            spans.append(slice(start, start + (axis.outputs - 1) * axis.stride + 1, axis.stride))
        return (slice(None), slice(None), *spans)


class ConvolutionGram:
    """The Gram operators of several maps side by side, each of its smaller side: an Operator for
    measure.krylov.lanczos."""

    def __init__(self, operators: Sequence[PartOperator]) -> None:
        self._operators = operators
        self._ends = np.cumsum([0, *(operator.size for operator in operators)]).tolist()

    @property
    def size(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def norm_bound(self) -> float:
        """An upper bound on the largest eigenvalue."""
        return max(operator.norm_bound for operator in self._operators) ** 2

    @cached_property
    def roundoff(self) -> float:
        """A bound on what rounding adds to a Lanczos vector in one step, whatever its signs, as Gram.roundoff."""
        return UNIT_ROUNDOFF * (max(operator.terms for operator in self._operators) + 8) * self.norm_bound

    def apply(self, x: Values) -> Values:
        """The Gram operators' products with their stretches of x (size,)."""
        spans = zip(self._operators, pairwise(self._ends), strict=True)
        return np.concatenate([operator.gram(x[start:end]) for operator, (start, end) in spans])

    def project_(self, x: Values) -> None:
        """Nothing: the process has the whole space."""


def _core(axis: Axis) -> tuple[slice, slice]:
    """Where the image itself stands on the padded axis, and which part of the image that is."""
    start = min(axis.before, axis.padded)  # the last outputs of a large stride may leave the image out
    length = min(axis.side, axis.padded - start)
    return slice(start, start + length), slice(0, length)


def _edges(axis: Axis) -> list[tuple[int, int]]:
    """The other places of the padded axis that are no zeros, and the place of the image that stands there."""
    core, _ = _core(axis)
    places = np.concatenate((np.arange(core.start), np.arange(core.stop, axis.padded)))
    sources = axis.sources(places)
    return [(place, source) for place, source in zip(places.tolist(), sources.tolist(), strict=True) if source >= 0]


def _padded(x: Values, axis: Axis, number: int) -> Values:
    """x padded along axis `number`."""
    padded = np.zeros((*x.shape[:number], axis.padded, *x.shape[number + 1 :]))
    core, image = _core(axis)
    padded[_at(number, core)] = x[_at(number, image)]
    for place, source in _edges(axis):
        padded[_at(number, place)] = x[_at(number, source)]
    return padded


def _folded(x: Values, axis: Axis, number: int) -> Values:
    """The transposed of `_padded`: what stands on the edges is added where it came from."""
    folded = np.zeros((*x.shape[:number], axis.side, *x.shape[number + 1 :]))
    core, image = _core(axis)
    folded[_at(number, image)] = x[_at(number, core)]
    for place, source in _edges(axis):
        folded[_at(number, source)] += x[_at(number, place)]
    return folded


def _at(number: int, place: int | slice) -> tuple[int | slice, ...]:
    """The index of `place` along axis `number`."""
    return (*[slice(None)] * number, place)
