"""Option values: names of the catalog, and what reads more than one word of text."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.names import Row, refusal
from sao_cli.catalog import CRITERIA, DEVICES, PADDINGS
from sao_cli.cli.shared.paths import Picture

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

FEW = 4  # names that help shows in the place of the value


class Named(click.ParamType):  # type: ignore[type-arg]  # which only newer versions of click let one name
    """A name of the catalog, or `also` another word: refused with the nearest, completed by shells with its line.

    `same` has names that mean one of these.
    """

    name = "name"

    def __init__(
        self, kind: str, known: Mapping[str, Row], also: str = "", same: Mapping[str, str] | None = None
    ) -> None:
        self.kind, self.known, self.also, self.same = kind, known, also, same or {}
        self.more = f", or {also}" if also else ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        value = self.same.get(value, value) if isinstance(value, str) else value
        if not (self.also and value == self.also) and (said := refusal(self.kind, value, self.known, self.more)):
            self.fail(said, param, ctx)
        return value

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        return f"[{'|'.join(self.known)}]" if len(self.known) <= FEW else None

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem  # only shells ask

        found = [CompletionItem(row.name, help=row.line) for row in self.known.values()]
        found += [CompletionItem(self.also, help="all of them")] if self.also else []
        return [item for item in found if item.value.startswith(incomplete)]


class Sizes(click.ParamType):  # type: ignore[type-arg]
    """A whole number for all axes of an image, or one for each of them, as in 32x24."""

    name = "n[xn...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if not re.fullmatch(r"0*[1-9]\d*(x0*[1-9]\d*)*", value, re.ASCII):
            self.fail(f"{value!r} is no size; write a number from 1, or one for each axis, as in 32x24", param, ctx)
        sizes = tuple(map(int, value.split("x")))
        return sizes if len(sizes) > 1 else sizes[0]


class Side(Sizes):
    """The sides of a square image, as Sizes has them: 32 or 32x32."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The one side."""
        sizes = super().convert(value, param, ctx)
        if isinstance(sizes, int):
            return sizes
        if len({*sizes}) > 1 or len(sizes) != 2:
            self.fail(f"{value!r}: images are square here; write one side, as in {sizes[0]}", param, ctx)
        return sizes[0]


class Padding(Named):
    """The name of a padding, or a number of zeros on each side of the image."""

    def __init__(self) -> None:
        super().__init__("padding", PADDINGS)
        self.more = ", or a number of zeros"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        is_number = isinstance(value, str) and value.isascii() and value.isdigit()
        return int(value) if is_number else super().convert(value, param, ctx)


class Device(Named):
    """What torch computes on."""

    def __init__(self) -> None:
        super().__init__("device", DEVICES)
        self.more = ", or cuda:N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        is_numbered = isinstance(value, str) and re.fullmatch(r"cuda:\d+", value, re.ASCII)
        return value if is_numbered else super().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        return "NAME"


class Pattern(click.ParamType):  # type: ignore[type-arg]
    """N:M, checked."""

    name = "n:m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from sao_cli.base.errors import SaoError
        from sao_cli.data.nm_pattern import NMPattern

        try:
            return str(NMPattern.parse(value))
        except SaoError as error:
            self.fail(str(error), param, ctx)


class Criterion(Named):
    """A condition of masks by its name, or an N:M pattern."""

    def __init__(self) -> None:
        super().__init__("criterion", CRITERIA)
        self.more = ", or a pattern N:M, as in 2:4"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return Pattern().convert(value, param, ctx) if ":" in str(value) else super().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        return f"[{'|'.join(self.known)}|N:M]"


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


class Scheduler(click.ParamType):  # type: ignore[type-arg]
    """The address of a Dask scheduler."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or not str(value).isprintable():
            self.fail(f"{value!r} is no address; write it as tcp://192.168.0.2:8786", param, ctx)
        return str(value)


class Axis(click.ParamType):  # type: ignore[type-arg]
    """NAME=VALUES as the name and the values."""

    name = "name=values"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from sao_cli.study.grid import parse_axis

        return value if isinstance(value, tuple) else parse_axis(str(value))


class AxisNames(click.ParamType):  # type: ignore[type-arg]
    """Names of parameters, with commas between them."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        return tuple(name.strip().lstrip("-").replace("-", "_") for name in str(value).split(",") if name.strip())


class SummedField(click.ParamType):  # type: ignore[type-arg]
    """A field of reports that has one value."""

    name = "field"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from sao_cli.study.seed_summaries import unknown_field

        if (said := unknown_field(str(value))) is not None:
            self.fail(said, param, ctx)
        return str(value)


class DrawnField(SummedField):
    """FIELD, or FIELD=FILE, as the field and the picture's file, or None."""

    name = "field[=file]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        field, equals, path = str(value).partition("=")
        super().convert(field, param, ctx)
        return field, Picture().convert(path, param, ctx) if equals else None
