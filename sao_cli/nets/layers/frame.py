"""`Frame`: how a 2-D kernel moves over an image, by torch.nn.Conv2d's options."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.functional import pad as padded

from sao_cli.base.errors import SaoError
from sao_cli.base.names import check

Sizes = int | Sequence[int]
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")  # torch.nn.Conv2d's


class Frame(NamedTuple):
    """How a kernel moves over an image: torch.nn.Conv2d's options, each with one number an axis."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] | str
    dilation: tuple[int, int]
    padding_mode: str

    @classmethod
    def of(cls, kernel_size: Sizes, stride: Sizes, padding: Sizes | str, dilation: Sizes, padding_mode: str) -> Frame:
        """The options as torch.nn.Conv2d takes them, checked; SaoError for what it can't be."""
        size, step, holes = (
            _pair(value, name, 1)
            for value, name in ((kernel_size, "kernel_size"), (stride, "stride"), (dilation, "dilation"))
        )
        check("padding_mode", padding_mode, PADDING_MODES)
        if not isinstance(padding, str):
            return cls(size, step, _pair(padding, "padding", 0), holes, padding_mode)
        check("padding", padding, ("same", "valid"), "; or whole numbers")
        if padding == "same" and step != (1, 1):
            raise SaoError(f"padding 'same' at stride {step} is not defined; give whole numbers, or stride 1")
        return cls(size, step, padding, holes, padding_mode)

    @property
    def edges(self) -> list[int]:
        """What is added before and after the last axis, then the first, as torch.nn.functional.pad takes it."""
        if self.padding == "valid":
            return [0, 0, 0, 0]
        if self.padding == "same":
            reach = [hole * (taps - 1) for hole, taps in zip(self.dilation, self.kernel_size, strict=True)]
            return [part for total in reversed(reach) for part in (total // 2, total - total // 2)]
        assert not isinstance(self.padding, str)
        return [part for one in reversed(self.padding) for part in (one, one)]

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        """The convolution of x (..., channels, height, width)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = padded(x, self.edges, mode=self.padding_mode), (0, 0)
        out: Tensor = conv2d(x, weight, bias, self.stride, padding, self.dilation, groups)
        return out


def _pair(value: Any, name: str, least: int) -> tuple[int, int]:
    try:
        pair = tuple(operator.index(one) for one in (value if isinstance(value, Sequence) else (value, value)))
    except TypeError:
        pair = ()
    if len(pair) != 2 or min(pair) < least:
        raise SaoError(f"{name} {value!r}; it is a whole number from {least}, or two of them")
    return pair[0], pair[1]
