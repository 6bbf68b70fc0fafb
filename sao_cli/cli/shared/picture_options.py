"""--plot and how its picture looks, one meaning in all commands that draw."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sao_cli.cli.shared.paths import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300
LOOKS = ("title", "plot_width", "dpi")


class Inches(click.FloatRange):
    """A width that a page or a screen has."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; FloatRange alone takes nan."""
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value} is no width in inches", param, ctx)
        return found


@dataclass(frozen=True)
class Look:
    """What a picture's options say: a title above it, its width in inches, and dots an inch."""

    title: str | None
    width: float | None
    dpi: int


@dataclass(frozen=True)
class PictureFile:
    """The file of --plot, and the look of what it will show."""

    path: str
    look: Look

    def save(self, figure: Figure) -> None:
        """Write the figure."""
        from sao_cli.plots import save_figure

        save_figure(figure, self.path, **vars(self.look))


def plot_option(command: Any) -> Any:
    """--plot FILE, which the command gets as `plot`, a PictureFile or None, and --title, --plot-width and --dpi."""

    @functools.wraps(command)
    def bundled(*args: Any, plot: str | None, look: Look, **kwargs: Any) -> Any:
        return command(*args, plot=None if plot is None else PictureFile(plot, look), **kwargs)

    option = click.option(
        "--plot", metavar="FILE", type=Picture(), help="Draw the picture to FILE (.png, .svg or .pdf)."
    )
    return option(look_options("plot")(bundled))


def look_options(drawn: str) -> Callable[[Any], Any]:
    """--title, --plot-width and --dpi of a command whose option `drawn` names the picture; it gets them as `look`."""

    def add(command: Any) -> Any:
        @functools.wraps(command)
        def bundled(*args: Any, **kwargs: Any) -> Any:
            given = click.core.ParameterSource.COMMANDLINE
            source = click.get_current_context().get_parameter_source
            if kwargs[drawn] is None and (names := [name for name in LOOKS if source(name) == given]):
                told = " ".join(f"--{name.replace('_', '-')}" for name in names)
                raise click.UsageError(f"{told} is of the picture of --plot FILE, and none is named")
            title, width, dpi = (kwargs.pop(name) for name in LOOKS)
            return command(*args, look=Look(title, width, dpi), **kwargs)

        options = [
            click.option("--title", metavar="TEXT", help="Of --plot: a title above the picture."),
            click.option(
                "--plot-width",
                metavar="INCHES",
                type=Inches(1, 40),
                help="Of --plot: the picture's width; its height grows with it.  [default: as its panels need]",
            ),
            click.option(
                "--dpi",
                type=click.IntRange(20, 1200),
                default=DPI,
                show_default=True,
                help="Of --plot: dots an inch, of .png.",
            ),
        ]
        for option in reversed(options):
            bundled = option(bundled)
        return bundled

    return add
