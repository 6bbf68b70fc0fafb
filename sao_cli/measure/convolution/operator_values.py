"""All singular values of a convolution as the linear map of an image, exactly wherever that can be afforded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError
from sao_cli.base.memory import require_memory
from sao_cli.base.progress import Progress, silent
from sao_cli.base.rng import PROBES, generator
from sao_cli.base.threads import one_thread
from sao_cli.data.kernel import Kernel, KernelLike
from sao_cli.data.matrix import FINITE
from sao_cli.measure.convolution.blocks import Blocks, blocks_of
from sao_cli.measure.convolution.geometry import Axis, Geometry
from sao_cli.measure.convolution.operator import ConvolutionGram, PartOperator
from sao_cli.measure.convolution.parts import Part, channel_parts
from sao_cli.measure.graph.certificates import overlap, upper_bound
from sao_cli.measure.graph.edge import EXACT_SIDE
from sao_cli.measure.krylov.lanczos import Lanczos, Ritz, iterate, random_direction
from sao_cli.measure.values.density import operator_density
from sao_cli.measure.values.singular_values import SingularValues

EXACT_COST = 2.0**38  # height * width * min(height, width) of all blocks together: some minutes; our choice
SIGMA_ERROR = 1e-8  # relative error of sigma_max at which its Lanczos process stops
SIGMA_BOUND = 1e-3  # the same for the bound on its error
BOUND_FAILS = 1e-6  # the chance at which that bound fails
SIGMA_STEPS = 1000  # and after how many steps it stops at the latest

Values = NDArray[np.float64]


def convolution_values(
    kernel: KernelLike,
    image: int | Sequence[int],
    *,
    padding: str | int = "circular",
    stride: int | Sequence[int] = 1,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    seed: int = 0,
    layer: int = 1,
    exact_side: int = EXACT_SIDE,
    exact_cost: float = EXACT_COST,
    progress: Progress = silent,
) -> SingularValues:
    """The min(m, n) singular values of a convolution as a linear map of images, descending, zeros included.

    m = c_out * outputs and n = c_in * groups * prod(image); `kernel` (c_out, c_in, k_1, ..., k_D) is a Kernel or what
    Kernel.of takes, the others are Geometry's, and `groups` divides c_out. The map is taken apart, exactly:

    - into the connected components of its channels (those of an SAO kernel are c x d), and into its axes;
    - an axis with circular padding whose side the stride divides into its frequencies (Sedghi, Gupta and Long, ICLR
      2019; here half of them by conjugate symmetry, equal ones once, and strides in polyphase form);
    - any other axis into stretches that share no input, equal ones once; where one tap alone is live (delta kernels),
      into single places. Delta kernels have the values of their channel matrix, for every padding.

    What is left are small matrices, whose singular values are computed in batches (`small_singular_values`). They are
    exact to rounding, a modest multiple of eps sigma_max. Where the sides of a block are past `exact_side`, or all of a
    part's SVDs would take more than `exact_cost` multiplications times a constant, the cheapest parts first, `exact` is
    False: the others' largest value is found by Lanczos, and the rest are quantiles of measure.values.density, whose
    `error` is that of their distribution function.

    Raises SaoError and FormatError as Geometry does, for groups that do not divide and values that are not finite,
    and MemoryLimitError. Cost: for c channels, circular, n^D c^3; SAO kernels of degree d n^D c d^2; delta kernels
    that of their matrix alone.

    >>> convolution_values(np.array([[[1.0, 1.0]]]), 4).values.round(6).tolist()
    [2.0, 1.414214, 1.414214, 0.0]
    """
    kernel = checked_kernel(kernel, groups)
    geometry = Geometry(image, kernel.size, padding, stride, dilation)
    size = min(geometry.sides(kernel.shape[0], kernel.shape[1] * groups))
    read = sum(max(axis.side, axis.outputs) * axis.size for axis in geometry.axes)  # places or frequencies, by taps
    require_memory(40.0 * (size + read), f"{size} singular values of a convolution", "choose a smaller image")
    exact, rest = _split(
        [_Piece(part, blocks_of(part, geometry)) for part in channel_parts(kernel, groups)],
        exact_side,
        exact_cost,
    )
    known = _exact_values(exact, progress)
    norm = operator_norm(kernel, geometry)
    if not rest:
        values = np.zeros(size)
        values[: len(known)] = known[::-1]
        return SingularValues(values=values, exact=True, norm=norm)
    found = _estimated(known, size, _Rest.of(rest, geometry), generator(seed, layer, PROBES), progress)
    return replace(found, norm=norm)


def operator_norm(kernel: Kernel, geometry: Geometry) -> float:
    """The Frobenius norm of the whole linear map, from the numbers of the kernel alone.

    Its square is sum_{a, b} <W_a, W_b> C[a, b], where C[a, b] counts the outputs that read one place by both taps a
    and b, and is a product over the axes: taps meet where a dilated kernel wraps around or the padding reflects.
    O(size of the kernel times its taps along each axis, and the outputs along it times those squared).
    """
    peak = float(np.abs(kernel.values).max()) or 1.0
    scaled = kernel.values / peak
    summed = scaled
    for number, axis in enumerate(geometry.axes, 2):
        summed = np.moveaxis(np.tensordot(summed, _meetings(axis), (number, 0)), -1, number)
    return peak * math.sqrt(max(float(np.vdot(scaled, summed)), 0.0))


def _meetings(axis: Axis) -> Values:
    """(k, k) how many outputs read one place of the image by both of two taps; on the diagonal, by one tap."""
    reads = axis.reads(range(axis.size))
    inside = [reads[reads[:, tap] >= 0] for tap in range(axis.size)]  # a zero beyond the edge is no place
    return np.array([(places == places[:, [tap]]).sum(axis=0) for tap, places in enumerate(inside)], dtype=np.float64)


def checked_kernel(kernel: KernelLike, groups: int) -> Kernel:
    """The Kernel that `kernel` is or holds; FormatError unless it is finite and `groups` divides its outputs."""
    kernel = Kernel.of(kernel)
    if int(groups) != groups or groups < 1 or kernel.shape[0] % groups:
        near = [g for g in range(1, kernel.shape[0] + 1) if kernel.shape[0] % g == 0]
        raise FormatError(
            f"{groups} groups for {kernel.shape[0]} output channels; they are a divisor: {', '.join(map(str, near))}"
        )
    if not np.isfinite(kernel.values).all():
        raise FormatError(f"the kernel holds {kernel.values[~np.isfinite(kernel.values)][0]}; {FINITE}")
    return kernel


class _Piece(NamedTuple):
    """A part and the blocks that it falls apart into."""

    part: Part
    blocks: list[Blocks]

    @property
    def cost(self) -> float:
        return sum(blocks.cost for blocks in self.blocks)

    def is_affordable(self, exact_side: int) -> bool:
        return all(blocks.is_affordable(exact_side) for blocks in self.blocks)


def _split(pieces: list[_Piece], exact_side: int, exact_cost: float) -> tuple[list[_Piece], list[_Piece]]:
    """Those whose singular values are computed, the cheapest as far as `exact_cost` goes, and the others."""
    exact: list[_Piece] = []
    rest: list[_Piece] = []
    cost = 0.0
    for piece in sorted(pieces, key=lambda piece: piece.cost):
        cost += piece.cost
        (exact if cost <= exact_cost and piece.is_affordable(exact_side) else rest).append(piece)
    return exact, rest


def _exact_values(pieces: list[_Piece], progress: Progress) -> Values:
    """The singular values of all blocks, ascending."""
    everything = [blocks for piece in pieces for blocks in piece.blocks]
    total = sum(blocks.count * min(blocks.sides) for blocks in everything)
    found, done = [np.empty(0)], 0
    for blocks in everything:
        with one_thread(min(blocks.sides)):
            for values in blocks.values():
                found.append(values)
                done += len(values)
                progress("singular values", done, total)
    return np.sort(np.concatenate(found)) + 0.0  # so that no zero is negative


@dataclass(frozen=True, eq=False)
class _Rest:
    """What is too large for SVDs: its Gram operator for weights 2^-exponent as large, so that squares stay in range.

    `values` is how many singular values its blocks have; the other of gram.size are zeros. `what` names the largest.
    """

    gram: ConvolutionGram
    exponent: int
    values: int
    what: str

    @classmethod
    def of(cls, pieces: list[_Piece], geometry: Geometry) -> _Rest:
        exponent = max(int(np.frexp(np.abs(piece.part.weights).max())[1]) for piece in pieces)
        gram = ConvolutionGram(
            [PartOperator(replace(part, weights=np.ldexp(part.weights, -exponent)), geometry) for part, _ in pieces]
        )
        blocks = [blocks for piece in pieces for blocks in piece.blocks]
        largest = max((one.sides for one in blocks), key=min)
        number = sum(one.count for one in blocks)
        what = f"dense SVDs of {number} blocks of up to {largest[0]} x {largest[1]}"
        return cls(gram, exponent, sum(one.count * min(one.sides) for one in blocks), what)


def _estimated(known: Values, size: int, rest: _Rest, rng: np.random.Generator, progress: Progress) -> SingularValues:
    """The known singular values, and the largest of the rest and its distribution without a matrix."""
    gram = rest.gram
    with one_thread():
        largest = largest_value(gram, rng, progress)
        share = 1 - rest.values / gram.size
        density = operator_density(gram, rng, zeros=lambda: share, progress=progress).scaled(rest.exponent)
    zeros = np.zeros(size - gram.size - len(known))
    fraction = gram.size / size
    density = replace(density, size=size, exact=np.concatenate((zeros, known)), error=fraction * density.error)
    sigma = max(math.ldexp(largest.value, rest.exponent), float(known[-1]) if len(known) else 0.0)
    why = (
        f"too low by about {largest.error:.1g} of it (at most {largest.bound:.1g}, but for a chance of "
        f"{BOUND_FAILS:g}); {rest.what} would take too long"
    )
    return SingularValues.estimated(density, why, at_least=sigma)


class Largest(NamedTuple):
    """sigma_max from below, an estimate of its relative error, and a bound on that error.

    The bound fails with probability BOUND_FAILS, over the random start.
    """

    value: float
    error: float
    bound: float


def largest_value(gram: ConvolutionGram, rng: np.random.Generator, progress: Progress = silent) -> Largest:
    """sqrt(lambda_max) of `gram` by Lanczos from a random start.

    It stops when the Ritz value's estimated error, which takes the gap to the next Ritz value for the true one, is
    below 1e-8 and the bound of the Lanczos polynomials (measure.graph.certificates.is_above), which takes no gap for
    granted, below 1e-3, relatively; or after 1000 steps. An application of `gram` a step.
    """
    process = Lanczos(gram, random_direction(gram, rng))
    delta = overlap(gram.size, BOUND_FAILS)

    def bound(ritz: Ritz) -> float:
        most = upper_bound(ritz.value, gram.norm_bound, process.alphas, process.betas, delta, gram.roundoff)
        return most / ritz.value - 1

    def is_enough(ritz: Ritz) -> bool:
        if process.steps >= SIGMA_STEPS:
            return True
        return ritz.error <= 2 * SIGMA_ERROR * ritz.value and bound(ritz) <= 2 * SIGMA_BOUND

    ritz, used_up = iterate(process, is_enough, gram.roundoff, progress, "sigma_max")
    if ritz.value <= 0:  # the taps read nothing but zeros, or cancel
        return Largest(0.0, 0.0, 0.0)
    rounding = 4 * gram.roundoff / ritz.value
    error = max(ritz.error / ritz.value, rounding) / 2
    return Largest(math.sqrt(ritz.value), error, error if used_up else bound(ritz) / 2)
