"""SOC kernels: the exponential of a skew-symmetric convolution, cut off where its error is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.rng import VALUES, generator
from sao_cli.data.arrays import Values
from sao_cli.data.kernel import Kernel
from sao_cli.weights.kernels.channels import (
    Taps,
    checked_size,
    cut_mask,
    kept_places,
    placed,
    require_kernel_memory,
    told,
)

if TYPE_CHECKING:
    from numpy.random import Generator

TERMS = 12  # Singla and Feizi's at evaluation; the error bound at scale 1 is 2.1e-9
LARGEST_SCALE = 10.0  # the terms of the series grow to exp(scale) before they cancel, and their rounding with them
SAMPLES = 12  # grid points for each degree of a trigonometric polynomial: the bound is at most 3.6 % too large, an axis
CHUNK = 2**16  # complex numbers at a time, which stay in a core's cache


def soc_kernel(
    c_out: int,
    c_in: int,
    size: int | Sequence[int] = 3,
    *,
    axes: int = 2,
    degree: int | None = None,
    terms: int = TERMS,
    scale: float = 1.0,
    seed: int = 0,
    layer: int = 1,
    arrangement: str = "random",
) -> Kernel:
    """A (c_out, c_in, ...) kernel, the first T = `terms` terms of exp(L); it has 1 + (T - 1)(k - 1) taps along an axis.

    Skew Orthogonal Convolution (Singla and Feizi, ICML 2021). L is a Gaussian kernel of `size` k made skew,
    L[i, j, a] = M[i, j, a] - M[j, i, -a] with a counted from the centre, and multiplied by a number that makes the norm
    of its operator at most `scale` (skew_norm). The operator is then skew-symmetric, its exponential orthogonal, and

        S_T(L) = sum_{j < T} L^{*j} / j!

    is within soc_error_bound(scale, T) of it: all singular values of the circular convolution are so near to 1,
    whatever the image. Powers are convolutions of the kernel with itself. With zero padding S_T(L) as one kernel is not
    orthogonal, as it looks past the border; S_T of the zero-padded convolution, T - 1 convolutions by L, is.

    Unequal channels are padding and selection: a square kernel of c = max(c_out, c_in) channels, of which the first
    c_out rows or c_in columns are kept. With `degree` d, a divisor of c, it is our sparse form: L couples c/d
    cliques of d channels only, each with an L and a norm of its own, and exp(L) too. The outputs are then permuted, so
    that the kernel-level mask is the square SAO mask of degree d, cut as ECO's.

    Raises SaoError for even k, which has no centre, for terms < 1, and for a scale that is not above 0 and at most 10
    or whose error bound is above 1; InfeasibleError as sao_mask does; MemoryLimitError for what would not fit.
    O((T k)^D c d^2 sqrt(T)) by the transforms of L, O(k^D c d^2) for its norm.

    >>> kernel = soc_kernel(4, 4, 3, terms=4)
    >>> kernel.size, kernel.mask.provenance["error_bound"]
    ((7, 7), 0.041666666666666664)
    """
    taps = _checked(size, axes, terms, scale)
    full = tuple(1 + (terms - 1) * (k - 1) for k in taps)
    channels = max(c_out, c_in)
    width = channels if degree is None else degree
    numbers = channels * width * (4 * math.prod(full) + 6 * math.prod(taps) + 3 * math.prod(_samples(taps)))
    require_kernel_memory(c_out, c_in, full, 8 * numbers)
    square, mask = cut_mask(c_out, c_in, degree, seed=seed, layer=layer, arrangement=arrangement)
    skew = _skew_cliques(channels // width, width, taps, scale, generator(seed, layer, VALUES))
    series = np.moveaxis(_exponential(skew, terms).reshape(-1, channels // width, width, width), 0, -1)
    assert square.groups is not None
    entries = np.empty((channels, width, math.prod(full)))
    entries[np.argsort(square.groups.rows, kind="stable")] = series.reshape(entries.shape)
    kept = entries.reshape(square.nnz, -1)[kept_places(square, c_out, c_in)]
    facts: dict[str, Any] = {} if degree is None else {"arrangement": arrangement}
    facts |= {"skew_size": list(taps), "terms": terms, "scale": scale, "error_bound": soc_error_bound(scale, terms)}
    mask = told(mask, "dense" if degree is None else "sao", "soc", full, seed=seed, layer=layer, **facts)
    return Kernel(placed(mask, kept, full), mask)


def soc_error_bound(scale: float, terms: int) -> float:
    """scale^T / T!, T = `terms`: at most this far is S_T(A) from exp(A), for every skew A of norm at most `scale`.

    A is normal with eigenvalues i t, |t| <= scale, and Taylor's remainder |exp(i t) - S_T(i t)| is at most |t|^T / T!,
    since every derivative of exp(i t) has modulus 1 (the bound of Singla and Feizi, ICML 2021). O(T).

    Raises SaoError for terms < 1 and for a scale that is no positive number.

    >>> soc_error_bound(1.0, 4)
    0.041666666666666664
    """
    if terms < 1:
        raise SaoError(f"terms {terms}; the series of the exponential has at least 1, the identity")
    if not 0 < scale < math.inf:
        raise SaoError(f"scale {scale} is no positive finite number; 1 is usual, and pi reaches every rotation")
    return math.prod(scale / j for j in range(1, min(terms, 1000) + 1))


def skew_norm(skew: Values) -> Values:
    """(count,) upper bounds on the norms of the convolutions by skew kernels (k_1, ..., k_D, count, c, c), odd k.

    They hold for every image, with circular and with zero padding, at any dilation. The convolution over the whole
    lattice has the norm sup_t |L(t)| over all frequencies t, where L(t) = sum_a L[a] exp(i <a, t>); circular padding
    sees some of those frequencies only, and zero padding makes a compression of the lattice's operator.

    The sup is bounded by a grid of N = 12 r points along each axis, r = (k - 1) / 2. With L's singular vectors u and v
    at the frequency of the sup, Re u* L(t) v is along each axis a real trigonometric polynomial of degree r, and such
    a p with its maximum at s has p(t) >= p(s) cos(r (t - s)) for |t - s| <= pi / r (M. Riesz 1914). A grid point is
    within pi / N, so that sup <= max over the grid / cos(pi r / N)^D, at most 3.6 % too large an axis. (The bound by
    four reshaped matrices of Singla and Feizi, ICLR 2021, may be k^(D/2) times too large.) O((6 k)^D count c^3).

    >>> shift = np.zeros((3, 1, 1, 1))
    >>> shift[0], shift[2] = 0.5, -0.5  # L(t) = -i sin(t)
    >>> 1 <= skew_norm(shift)[0] < 1.036
    np.True_
    """
    size = skew.shape[:-3]
    transform = np.fft.rfftn(_wrapped(skew, _samples(size)), axes=range(len(size)))
    largest = np.abs(np.linalg.eigvalsh(1j * transform)).max(axis=(*range(len(size)), -1))
    bound: Values = largest / math.cos(math.pi / SAMPLES) ** sum(k > 1 for k in size)
    return bound


def _checked(size: int | Sequence[int], axes: int, terms: int, scale: float) -> Taps:
    taps = checked_size(size, axes)
    if even := [k for k in taps if k % 2 == 0]:
        raise SaoError(f"size {even[0]} is even; a skew kernel is odd about its centre, so that it needs an odd size")
    bound = soc_error_bound(scale, terms)
    if scale > LARGEST_SCALE:
        raise SaoError(f"scale {scale} is above {LARGEST_SCALE:g}, where rounding grows; pi reaches every rotation")
    if bound > 1:
        enough = next(count for count in range(terms, 100) if soc_error_bound(scale, count) < 1e-6)
        raise SaoError(f"scale {scale} with {terms} terms has the error bound {bound:.3g}; take {enough} terms")
    return taps


def _samples(size: Taps) -> Taps:
    return tuple(max(1, SAMPLES * (k - 1) // 2) for k in size)


def _skew_cliques(count: int, width: int, size: Taps, scale: float, rng: Generator) -> Values:
    """(*size, count, width, width): skew Gaussian kernels, each of an operator norm of at most `scale`."""
    drawn = rng.standard_normal((*size, count, width, width))
    skew: Values = drawn - np.flip(drawn, axis=tuple(range(len(size)))).swapaxes(-1, -2)
    norm = skew_norm(skew)
    skew *= (scale / np.where(norm > 0, norm, 1.0))[:, None, None]
    return skew


def _exponential(skew: Values, terms: int) -> Values:
    """(*full, count, c, c): S_T of each kernel, centred, by way of the frequencies of a grid that just holds it."""
    axes = range(skew.ndim - 3)
    full = tuple(1 + (terms - 1) * (k - 1) for k in skew.shape[:-3])
    transform = np.fft.rfftn(_wrapped(skew, full), axes=axes)
    matrices = transform.reshape(-1, *skew.shape[-2:])
    step = max(1, CHUNK // matrices[0].size)
    for start in range(0, len(matrices), step):
        matrices[start : start + step] = _series(matrices[start : start + step], terms)
    return np.roll(np.fft.irfftn(transform, full, axes), [k // 2 for k in full], axes)


def _series(matrices: NDArray[np.complex128], terms: int) -> NDArray[np.complex128]:
    """sum_{j < terms} X^j / j! of each, in about 2 sqrt(terms) products (Paterson and Stockmeyer 1973)."""
    step = math.isqrt(terms)
    powers = [np.broadcast_to(np.eye(matrices.shape[-1], dtype=np.complex128), matrices.shape), matrices]
    while len(powers) <= step:
        powers.append(powers[-1] @ matrices)
    factors = [1 / math.factorial(j) for j in range(terms)]
    starts = range(0, terms, step)
    total = _sum(powers, factors[starts[-1] :])
    for start in reversed(starts[:-1]):
        total = total @ powers[step] + _sum(powers, factors[start : start + step])
    return total


def _sum(powers: list[NDArray[np.complex128]], factors: list[float]) -> NDArray[np.complex128]:
    total = factors[0] * powers[0]
    for power, factor in zip(powers[1:], factors[1:], strict=False):
        total += factor * power
    return total


def _wrapped(kernel: Values, grid: Taps) -> Values:
    """The kernel's taps on a periodic grid, the centre at 0; where the grid is smaller than it, taps add up."""
    placed = np.zeros((*grid, *kernel.shape[len(grid) :]))
    places = [(np.arange(k) - k // 2) % side for k, side in zip(kernel.shape, grid, strict=False)]
    np.add.at(placed, np.ix_(*places), kernel)
    return placed
