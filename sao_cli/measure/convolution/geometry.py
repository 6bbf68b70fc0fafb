"""Where a convolution reads: image, padding, stride and dilation, axis by axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import FormatError, SaoError
from sao_cli.base.names import check
from sao_cli.catalog import PADDINGS

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Axis:
    """One axis: output p reads at stride p + dilation a - before, a = 0 .. size - 1, of an image of `side` places."""

    side: int
    size: int
    padding: str | int
    stride: int
    dilation: int

    @property
    def reach(self) -> int:
        """The distance from the first tap to the last."""
        return self.dilation * (self.size - 1)

    @cached_property
    def outputs(self) -> int:
        """How many outputs there are along this axis; none or less where the kernel does not fit."""
        if isinstance(self.padding, int):
            return (self.side + 2 * self.padding - self.reach - 1) // self.stride + 1
        if self.padding == "valid":
            return (self.side - self.reach - 1) // self.stride + 1
        return -(-self.side // self.stride)

    @cached_property
    def before(self) -> int:
        """How many places are put before the image's first."""
        if isinstance(self.padding, int):
            return self.padding
        if self.padding == "valid":
            return 0
        if self.padding == "same":
            return max((self.outputs - 1) * self.stride + self.reach + 1 - self.side, 0) // 2
        return self.reach // 2

    @property
    def padded(self) -> int:
        """The length of the padded axis, as far as any output reads."""
        return (self.outputs - 1) * self.stride + self.reach + 1

    def sources(self, places: Places) -> Places:
        """The place of the image that stands at each place of the padded axis, -1 for a zero. O(len(places))."""
        inner = places - self.before
        if self.padding == "circular":
            return inner % self.side
        if self.padding == "reflect":
            inner = np.abs(inner)
            return np.minimum(inner, 2 * (self.side - 1) - inner)
        return np.where((inner >= 0) & (inner < self.side), inner, -1)

    def reads(self, taps: Sequence[int]) -> Places:
        """(outputs, len(taps)) the place of the image that each output reads by each tap, -1 for a zero."""
        starts = self.stride * np.arange(self.outputs, dtype=np.int64)
        return self.sources(starts[:, None] + self.dilation * np.asarray(taps, dtype=np.int64))


@dataclass(frozen=True, init=False)
class Geometry:
    """How a kernel of `size` (k_1, ..., k_D) is applied to an image (n_1, ..., n_D): torch's cross-correlation,

        y[o, p] = sum_{i, a} W[o, i, a] x[i, stride p + dilation a - before].

    `image`, `stride` and `dilation` are a number or one for each axis. With reach = dilation (k - 1) on each axis,
    `padding` is

    - `circular`: places mod n, ceil(n/stride) outputs; before = reach // 2, which permutes the inputs only;
    - `zeros`: reach // 2 zeros before and the rest of reach after, ceil(n/stride) outputs: torch.nn.Conv's
      padding=reach/2 for an even reach;
    - `same`: TensorFlow's, as many zeros in all as ceil(n/stride) outputs need, half of them (rounded down) before; at
      stride 1 it is `zeros` and torch's padding="same";
    - `valid`: none; `reflect`: as `zeros`, but mirrored without the edge (torch's padding_mode="reflect");
    - a whole number p: p zeros on both sides, torch's padding=p.

    The padded image must hold the kernel, as in torch: n + 2 p > reach for p zeros on both sides, n > reach without
    any, and a mirror needs n > reach - reach // 2. `zeros`, `same` and `circular` fit every image: a kernel larger than
    the image wraps around it, as often as it takes, where torch's own circular padding stops at once around.

    Raises SaoError for unknown paddings and for strides, dilations and sides below 1, FormatError for kernels that do
    not fit. O(D), whatever the image.

    >>> Geometry(32, (3, 3), "zeros", stride=2).outputs
    (16, 16)
    """

    image: tuple[int, ...]
    size: tuple[int, ...]
    padding: str | int
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def __init__(
        self,
        image: int | Sequence[int],
        size: Sequence[int],
        padding: str | int = "circular",
        stride: int | Sequence[int] = 1,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        size = tuple(int(k) for k in size)
        fields = {
            "image": _per_axis("image", image, len(size)),
            "size": size,
            "padding": _checked_padding(padding),
            "stride": _per_axis("stride", stride, len(size)),
            "dilation": _per_axis("dilation", dilation, len(size)),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        for axis in self.axes:
            _check_fit(axis)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes one by one."""
        each = zip(self.image, self.size, self.stride, self.dilation, strict=True)
        return tuple(Axis(side, size, self.padding, stride, dilation) for side, size, stride, dilation in each)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The places of the output image along each axis."""
        return tuple(axis.outputs for axis in self.axes)

    def sides(self, c_out: int, c_in: int) -> tuple[int, int]:
        """(m, n): the outputs and inputs of the whole linear map for that many channels."""
        return c_out * math.prod(self.outputs), c_in * math.prod(self.image)


def transposed_outputs(
    image: int | Sequence[int],
    size: Sequence[int],
    padding: str | int,
    stride: int | Sequence[int],
    dilation: int | Sequence[int],
) -> tuple[int, ...]:
    """The sides that a transposed convolution makes of an `image`: the least on which the convolution makes that image.

    With p zeros on both sides it is torch.nn.ConvTranspose's with padding=p and no output_padding. The transposed map
    is the transpose of that convolution. Raises SaoError and FormatError as Geometry does.

    >>> transposed_outputs(16, (4, 4), 1, 2, 1)
    (32, 32)
    """
    count = len(size)
    sides, strides = _per_axis("image", image, count), _per_axis("stride", stride, count)
    zeros = 0 if padding == "valid" else _checked_padding(padding)
    found = []
    for side, taps, step, wide in zip(sides, size, strides, _per_axis("dilation", dilation, count), strict=True):
        if isinstance(zeros, str):
            found.append(side * step)
            continue
        made = (side - 1) * step - 2 * zeros + wide * (taps - 1) + 1
        if made < 1:
            raise FormatError(
                f"a transposed kernel of {taps} taps makes nothing of an image of {side} with padding {zeros}"
            )
        found.append(made)
    return tuple(found)


def _per_axis(name: str, value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    given = tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,) * axes
    if len(given) != axes:
        raise SaoError(f"{name} {given} for a kernel with {axes} axes; give one number, or one for each axis")
    for one in given:
        if int(one) != one or one < 1:
            raise SaoError(f"{name} {one}; it is a whole number from 1")
    return tuple(int(one) for one in given)


def _checked_padding(padding: str | int) -> str | int:
    if isinstance(padding, str):
        check("padding", padding, PADDINGS, ", or a whole number of zeros")
        return padding
    if isinstance(padding, bool) or int(padding) != padding or padding < 0:
        raise SaoError(f"padding {padding}; it is a whole number of zeros from 0, or one of {', '.join(PADDINGS)}")
    return int(padding)


def _check_fit(axis: Axis) -> None:
    mirrored = axis.padding == "reflect"
    edge = axis.reach - axis.reach // 2  # the longer of the two that are mirrored
    if axis.outputs < 1 or (mirrored and axis.side <= edge):
        zeros = axis.padding if isinstance(axis.padding, int) else 0
        dilated = "" if axis.dilation == 1 else f" (dilation {axis.dilation})"
        raise FormatError(
            f"a kernel of {axis.size} taps{dilated} is larger than an image of {axis.side} with padding "
            f"{axis.padding}; choose an image of {edge + 1 if mirrored else axis.reach + 1 - 2 * zeros} or more"
        )
