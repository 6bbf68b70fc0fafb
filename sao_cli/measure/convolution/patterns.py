"""How one axis of a convolution falls apart: into frequencies, or into stretches that share no input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.data.mask import Mask
from sao_cli.measure.convolution.geometry import Axis, Places
from sao_cli.measure.values.by_component import labelled

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AxisPattern:
    """Parts of an axis that read alike: output x reads input reads[x, a] by tap a, times coefficients[f, a] in part f.

    `reads` (outputs, taps) holds numbers below `inputs`, or -1 for a zero. `coefficients` (parts, taps) are real or
    complex; part f occurs `counts[f]` times, and part `conjugate[f]` has the complex conjugates of its coefficients.
    """

    reads: Places
    inputs: int
    coefficients: NDArray[Any]
    counts: NDArray[np.int64]
    conjugate: NDArray[np.int64]

    @property
    def outputs(self) -> int:
        return len(self.reads)

    @property
    def parts(self) -> int:
        return len(self.counts)

    @property
    def is_complex(self) -> bool:
        return self.coefficients.dtype.kind == "c"


def patterns(axis: Axis, taps: Sequence[int]) -> list[AxisPattern]:
    """What the axis falls apart into, when `taps` (ascending) alone are live there.

    Together they are the whole axis, up to unitary changes of basis and to outputs and inputs that are not used:

    - circular padding and a stride s that divides n: frequencies, see `_frequencies`;
    - one tap: each input that is read by j outputs is a single output of coefficient sqrt(j);
    - else the connected components of outputs and inputs: at dilation 2 and stride 1 even and odd places, where the
      stride is the kernel's size every output. Equal ones are counted.

    O(outputs * taps), and the logarithm of that for sorting.
    """
    if axis.padding == "circular" and axis.side % axis.stride == 0:
        return [_frequencies(axis, taps)]
    reads = axis.reads(taps)
    if len(taps) == 1:
        return _stars(reads[:, 0])
    return _stretches(reads)


def _frequencies(axis: Axis, taps: Sequence[int]) -> AxisPattern:
    """The Fourier transform of a circular axis: output frequency u of N = n/s mixes the residues mod s of the inputs.

    With dilation a - before = s q + r, 0 <= r < s, output p reads place p + q (mod N) of the inputs of residue r, so
    that tap a has the coefficient exp(2 pi i u q / N) on residue r: the polyphase form of alias folding, without the
    residues that no tap reads. A phase common to all taps of a residue is unitary, so q counts from the first of them;
    if all these q and N share a factor g, frequencies that are equal mod N/g coincide, and N/g of them remain. The
    angles are reduced mod N as whole numbers, and frequency -u is the exact conjugate of u.
    """
    length = axis.side // axis.stride
    offsets = [axis.dilation * tap - axis.before for tap in taps]
    residues = [offset % axis.stride for offset in offsets]
    first: dict[int, int] = {}
    shifts = [offset // axis.stride - first.setdefault(offset % axis.stride, offset // axis.stride)
              for offset in offsets]  # fmt: skip
    common = math.gcd(length, *shifts)
    count = length // common
    turns = np.array([shift // common % count for shift in shifts], dtype=np.int64)
    frequencies = np.arange(count, dtype=np.int64)
    numbers = {residue: number for number, residue in enumerate(first)}
    return AxisPattern(
        np.array([[numbers[residue] for residue in residues]], dtype=np.int64),
        len(first),
        roots_of_unity(count)[np.multiply.outer(frequencies, turns) % count],
        np.full(count, common, dtype=np.int64),
        -frequencies % count,
    )


def roots_of_unity(count: int) -> NDArray[np.complex128]:
    """exp(2 pi i j / count), j = 0 .. count - 1, of which 1 and -1 are exactly real.

    >>> roots_of_unity(2).tolist()
    [(1+0j), (-1+0j)]
    """
    numbers = np.arange(count)
    angles = 2 * np.pi * np.where(2 * numbers > count, numbers - count, numbers) / count
    sines = np.where(2 * numbers % count == 0, 0.0, np.sin(angles))
    return np.asarray(np.cos(angles) + 1j * sines)


def _stars(reads: Places) -> list[AxisPattern]:
    """One tap: its part of the operator has orthogonal columns, of norm sqrt(j) where j outputs read that input."""
    if not (reads >= 0).any():
        return []
    readers = np.unique(reads[reads >= 0], return_counts=True)[1]
    degrees, counts = np.unique(readers, return_counts=True)
    single = np.zeros((1, 1), dtype=np.int64)
    return [AxisPattern(single, 1, np.sqrt(degrees)[:, None], counts.astype(np.int64), np.arange(len(degrees)))]


def _stretches(reads: Places) -> list[AxisPattern]:
    """The connected components of outputs and inputs, those that read alike as one."""
    rows, columns = np.nonzero(reads >= 0)
    if not len(rows):
        return []
    used, places = np.unique(reads[rows, columns], return_inverse=True)
    numbers = np.full(reads.shape, -1, dtype=np.int64)
    numbers[rows, columns] = places
    components = labelled(Mask.from_entries(rows, places, (len(reads), len(used))))
    order = np.argsort(components.rows, kind="stable")
    order = order[components.rows[order] >= 0]
    ends = np.cumsum(components.heights)
    repeats: dict[tuple[int, int, bytes], int] = {}
    for start, end, width in zip(ends - components.heights, ends, components.widths.tolist(), strict=True):
        reading = numbers[order[start:end]]
        inputs, local = np.unique(reading, return_inverse=True)
        local = local.reshape(reading.shape) - int(inputs[0] < 0)
        key = (len(local), width, local.tobytes())
        repeats[key] = repeats.get(key, 0) + 1
    return [_repeated(np.frombuffer(code, dtype=np.int64).reshape(height, -1), width, count)
            for (height, width, code), count in repeats.items()]  # fmt: skip


def _repeated(reads: Places, inputs: int, count: int) -> AxisPattern:
    ones = np.ones((1, reads.shape[1]))
    return AxisPattern(reads, inputs, ones, np.array([count]), np.zeros(1, dtype=np.int64))
