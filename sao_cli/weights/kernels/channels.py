"""What all constructions of kernels share: sizes, memory, masks, the looks-linear block, and what they tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.data.arrays import Values
from sao_cli.data.kernel import Kernel
from sao_cli.data.mask import Indices, Mask
from sao_cli.masks.degrees import check_sizes
from sao_cli.masks.origin import provenance
from sao_cli.masks.sao import sao_mask

Taps = tuple[int, ...]


def checked_size(size: int | Sequence[int], axes: int) -> Taps:
    """(k_1, ..., k_D): the taps along each of `axes` axes; one number stands for all of them.

    >>> checked_size(3, 2)
    (3, 3)
    """
    if axes not in (1, 2, 3):
        raise SaoError(f"{axes} axes; a convolution runs along 1, 2 or 3")
    sizes = tuple(int(k) for k in size) if isinstance(size, Sequence) else (int(size),) * axes
    if len(sizes) != axes:
        raise SaoError(f"size {sizes} for {axes} axes; give one number of taps, or one for each axis")
    if min(sizes) < 1:
        raise SaoError(f"size {min(sizes)}; a kernel has at least 1 tap along each axis")
    return sizes


def require_kernel_memory(c_out: int, c_in: int, size: Taps, work: int = 0) -> None:
    """Raise InfeasibleError for sizes below 1, MemoryLimitError unless the kernel and `work` bytes more would fit."""
    check_sizes(c_out, c_in)
    shape = " x ".join(map(str, (c_out, c_in, *size)))
    way_out = "choose fewer channels, taps or terms"
    require_memory(12 * c_out * c_in * math.prod(size) + work, f"a kernel of {shape}", way_out)


def channel_mask(
    c_out: int, c_in: int, degree: int | None, *, seed: int, layer: int, arrangement: str = "random"
) -> Mask:
    """The (c_out, c_in) SAO mask of that degree, or all ones where it is None."""
    if degree is None and arrangement != "random":
        raise SaoError(
            f"arrangement {arrangement!r} is of SAO masks; give a degree, or leave it out for a dense kernel"
        )
    return sao_mask(c_out, c_in, c_in if degree is None else degree, seed=seed, layer=layer, arrangement=arrangement)


def cut_mask(
    c_out: int, c_in: int, degree: int | None, *, seed: int, layer: int, arrangement: str = "random"
) -> tuple[Mask, Mask]:
    """The square (c, c) mask, c = max(c_out, c_in), and its first c_out rows and c_in columns.

    Its first columns: the input is padded with zero channels; its first rows: only they are selected (SAO, section
    IV-C). With `degree` d, a divisor of c, exactly the fraction d/c of all kernels is kept. Where c_in > c_out, inputs
    whose d outputs are all cut off reach no output, and where c_out > c_in some outputs may read nothing.
    The arrangement `minimal` would cut off whole groups, so it is refused unless c_out == c_in.
    """
    if arrangement != "random" and c_out != c_in:
        raise SaoError(
            f"arrangement {arrangement!r} for {c_in} channels to {c_out}: padding and selection would cut off whole "
            "groups of channels; choose as many of one as of the other, or the arrangement 'random'"
        )
    channels = max(c_out, c_in)
    square = channel_mask(channels, channels, degree, seed=seed, layer=layer, arrangement=arrangement)
    if c_out == c_in:
        return square, square
    kept = kept_places(square, c_out, c_in)
    return square, Mask.from_entries(square.entry_rows[kept], square.indices[kept], (c_out, c_in))


def kept_places(square: Mask, c_out: int, c_in: int) -> NDArray[np.bool_]:
    """(nnz,) which ones of `square` are in its first c_out rows and c_in columns."""
    kept: NDArray[np.bool_] = (square.entry_rows < c_out) & (square.indices < c_in)
    return kept


def placed(mask: Mask, entries: Values, size: Taps) -> Values:
    """(c_out, c_in, *size) float64: row e of `entries` (nnz, taps) as the e-th kernel that `mask` keeps."""
    values = np.zeros((*mask.shape, math.prod(size)))
    values[mask.entry_rows, mask.indices] = entries
    return values.reshape(*mask.shape, *size)


def told(mask: Mask, method: str, scheme: str, size: Taps, *, seed: int, layer: int, **facts: Any) -> Mask:
    """`mask` with the provenance of a kernel: c and d are None where columns or rows differ in degree."""
    general = provenance(method, *mask.shape, 0, seed=seed, layer=layer)
    return replace(mask, provenance=general | degrees_of(mask) | {"scheme": scheme, "size": list(size)} | facts)


def degrees_of(mask: Mask) -> dict[str, int | None]:
    """The mask's degrees c and d, each None unless all columns, or rows, have it."""
    return {"c": _common(mask.column_degrees), "d": _common(mask.row_degrees)}


def halves(c_out: int, c_in: int, d: int | None, c: int | None = None) -> tuple[int, int, int | None, int | None]:
    """The channels and degrees of H in a looks-linear kernel [[H, -H], [-H, H]]; SaoError for an odd one."""
    for name, number in (("c_out", c_out), ("c_in", c_in), ("d", d), ("c", c)):
        if number is not None and number % 2:
            raise SaoError(
                f"{name} {number} is odd; a looks-linear kernel [[H, -H], [-H, H]] needs even channels and degrees"
            )
    return c_out // 2, c_in // 2, None if d is None else d // 2, None if c is None else c // 2


def looks_linear_kernel(half: Kernel) -> Kernel:
    """[[H, -H], [-H, H]] of the kernel H = `half`, which has half the channels (Balduzzi et al. 2017; SAO, Eq. 5).

    Its operator is that of H times [[1, -1], [-1, 1]]: singular values 2 where those of H are 1, and as many zeros.
    A layer of ReLU that reads (x, -x) and applies it is linear at initialisation. O(size).

    >>> looks_linear_kernel(Kernel.from_dense(np.ones((1, 1, 1)))).values[:, :, 0]
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    c_out, c_in = half.mask.shape
    require_kernel_memory(2 * c_out, 2 * c_in, half.size)
    values = np.concatenate([half.values, -half.values], axis=1)
    values = np.concatenate([values, -values])
    facts = dict(half.mask.provenance)
    facts |= {key: 2 * facts[key] for key in ("m", "n", "c", "d") if isinstance(facts.get(key), int)}
    if "nnz" in facts:
        facts["nnz"] *= 4
    mask = Mask.from_dense(np.tile(half.mask.to_dense(), (2, 2)), facts | {"looks_linear": True})
    return Kernel(values, mask, half.dtype)


def _common(degrees: Indices) -> int | None:
    return int(degrees[0]) if (degrees == degrees[0]).all() else None
