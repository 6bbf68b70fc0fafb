"""Option values that read more than one word of text."""

import math
import re
from typing import Any

import click


class Sizes(click.ParamType):  # type: ignore[type-arg]  # which only newer versions of click let one name
    """A whole number for all axes of an image, or one for each of them, as in 32x24."""

    name = "n[xn...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if not re.fullmatch(r"0*[1-9]\d{0,8}(x0*[1-9]\d{0,8})*", value, re.ASCII):
            self.fail(f"{value!r} is no size; write a number from 1, or one for each axis, as in 32x24", param, ctx)
        sizes = tuple(map(int, value.split("x")))
        return sizes if len(sizes) > 1 else sizes[0]


class Padding(Sizes):
    """The name of a padding, or a number of zeros on each side of the image."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


class Groups(click.ParamType):  # type: ignore[type-arg]
    """PATTERN=G as the pattern and the number."""

    name = "pattern=g"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        pattern, equals, groups = str(value).rpartition("=")
        if not equals or not pattern or not groups.isdecimal() or not int(groups):
            self.fail(f"{value!r}; write PATTERN=G, as in 'features.*.conv=32'", param, ctx)
        return pattern, int(groups)


class Gain(click.ParamType):  # type: ignore[type-arg]
    """A positive number, or keep, which is None."""

    name = "g|keep"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if value is None or value == "keep":
            return None
        try:
            gain = float(value)
        except ValueError:
            gain = math.nan
        if not 0 < gain < math.inf:
            self.fail(f"{value!r} is no gain; write a positive number, or keep", param, ctx)
        return gain
