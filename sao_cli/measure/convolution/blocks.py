"""The blocks that a convolution's operator falls apart into, and their exact singular values in batches."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.memory import require_memory
from sao_cli.measure.convolution.geometry import Geometry, Places
from sao_cli.measure.convolution.parts import Part
from sao_cli.measure.convolution.patterns import AxisPattern, patterns
from sao_cli.measure.values.by_component import EXACT_ENTRIES, block_singular_values
from sao_cli.measure.values.small_singular_values import small_singular_values

CHUNK_BYTES = 2**25  # of the blocks that share a LAPACK call: a few of the largest, all of the smallest

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Blocks:
    """One AxisPattern an axis for one Part: blocks sum_t W_t (x) R_t of one shape, over their parts and components.

    R_t has the product of the axes' coefficients wherever an output reads an input by tap t.
    """

    part: Part
    axes: tuple[AxisPattern, ...]

    @functools.cached_property
    def sides(self) -> tuple[int, int]:
        """(height, width) of a block."""
        c_out, c_in = self.part.channels
        return c_out * math.prod(axis.outputs for axis in self.axes), c_in * math.prod(
            axis.inputs for axis in self.axes
        )

    @property
    def is_complex(self) -> bool:
        return any(axis.is_complex for axis in self.axes)

    @property
    def count(self) -> int:
        """How many blocks there are, repeats included."""
        return self.part.count * math.prod(int(axis.counts.sum()) for axis in self.axes)

    @property
    def cost(self) -> float:
        """Multiplications of the SVDs, up to a constant: components * parts * height * width * min(height, width)."""
        parts = math.prod(axis.parts for axis in self.axes) * (2.0 if self.is_complex else 1.0)  # half of them, by 4
        return self.part.count * parts * math.prod(self.sides) * min(self.sides)

    def is_affordable(self, exact_side: int) -> bool:
        """Whether one block is small enough for a dense SVD."""
        return min(self.sides) <= exact_side and math.prod(self.sides) <= EXACT_ENTRIES

    def values(self) -> Iterator[Values]:
        """The singular values of the blocks, batch after batch, with all repeats.

        Of frequencies that are each other's conjugates one is computed and counted twice, and those that are their
        own conjugates are real. The cost stated above, and memory for some blocks at once.
        """
        entries = math.prod(self.sides)
        bytes_each = 4.0 * (16 if self.is_complex else 8) * entries
        require_memory(bytes_each, f"the dense SVD of a block of {self.sides[0]} x {self.sides[1]}")
        for chosen, counts, real in self._frequencies():
            area = (8 if real else 16) * entries
            few = max(1, CHUNK_BYTES // area)
            components = max(1, few // len(chosen))
            parts = max(1, few // components)
            for start in range(0, len(chosen), parts):
                part = slice(start, start + parts)
                coefficients = self._coefficients(chosen[part])
                coefficients = coefficients.real if real else coefficients
                for first in range(0, self.part.count, components):
                    blocks = self._dense(self.part.weights[first : first + components], coefficients)
                    found = _singular_values(blocks).reshape(-1, len(coefficients), min(self.sides))
                    yield np.repeat(found, counts[part], axis=1).reshape(-1)

    def _frequencies(self) -> Iterator[tuple[Numbers, Numbers, bool]]:
        """Which parts are computed, how often each counts, and whether it is real: one batch of each kind."""
        shape = tuple(axis.parts for axis in self.axes)
        everything = np.arange(math.prod(shape))
        places = np.unravel_index(everything, shape)
        mirrored = tuple(axis.conjugate[place] for axis, place in zip(self.axes, places, strict=True))
        mirror = np.ravel_multi_index(mirrored, shape)
        counts = functools.reduce(np.multiply.outer, [axis.counts for axis in self.axes]).reshape(-1)
        for chosen, times, real in ((everything == mirror, 1, True), (everything < mirror, 2, False)):
            if chosen.any():
                yield everything[chosen], times * counts[chosen], real

    def _coefficients(self, chosen: Numbers) -> NDArray[Any]:
        """(parts, taps) the products over the axes."""
        places = np.unravel_index(chosen, tuple(axis.parts for axis in self.axes))
        factors = [
            axis.coefficients[np.ix_(place, taps)]
            for axis, place, taps in zip(self.axes, places, self._taps, strict=True)
        ]
        return np.asarray(functools.reduce(np.multiply, factors))

    @functools.cached_property
    def _taps(self) -> list[Places]:
        """For each axis the column of its AxisPattern that each tap of the part has."""
        return [np.searchsorted(self.part.live(j), self.part.places[:, j]) for j in range(len(self.axes))]

    def _dense(self, weights: Values, coefficients: NDArray[Any]) -> NDArray[Any]:
        """(components * parts, height, width) the blocks themselves."""
        count, _, c_out, c_in = weights.shape
        height, width = self.sides
        shape = (count, len(coefficients), height // c_out, c_out, width // c_in, c_in)
        blocks = np.zeros(shape, dtype=coefficients.dtype)
        if shape[2] == 1:  # a frequency: sums over taps are one matrix product for each residue
            for place in range(shape[4]):
                taps = np.flatnonzero(self._reads[0] == place)
                flat = weights[:, taps].reshape(count, len(taps), c_out * c_in)  # no tap, where none of them is live
                sums = blocks[:, :, 0, :, place, :]
                sums.real = (coefficients[:, taps].real @ flat).reshape(sums.shape)
                if sums.dtype.kind == "c":
                    sums.imag = (coefficients[:, taps].imag @ flat).reshape(sums.shape)
        else:
            for tap, reads in enumerate(self._reads.T):
                outputs = np.flatnonzero(reads >= 0)
                terms = coefficients[:, tap, None, None] * weights[:, None, tap]
                blocks[:, :, outputs, :, reads[outputs], :] += terms
        return blocks.reshape(-1, height, width)

    @functools.cached_property
    def _reads(self) -> Places:
        """(outputs, taps) the input that each output of a block reads by each tap, -1 for a zero."""
        reads = np.zeros((1, len(self.part.places)), dtype=np.int64)
        for axis, taps in zip(self.axes, self._taps, strict=True):
            own = axis.reads[:, taps]
            joint = reads[:, None] * axis.inputs + own
            reads = np.where((reads[:, None] >= 0) & (own >= 0), joint, -1).reshape(-1, len(taps))
        return reads


def blocks_of(part: Part, geometry: Geometry) -> list[Blocks]:
    """All blocks of a part, of every combination of what the axes fall apart into."""
    axes = [patterns(axis, part.live(j)) for j, axis in enumerate(geometry.axes)]
    return [Blocks(part, chosen) for chosen in itertools.product(*axes)]


def _singular_values(blocks: NDArray[Any]) -> Values:
    """(batch, min(height, width)) the singular values of each block."""
    if min(blocks.shape[1:]) == 1:
        blocks = np.abs(blocks)  # whose norm is the same, and real
    return small_singular_values(blocks) if blocks.dtype.kind == "c" else block_singular_values(blocks)
