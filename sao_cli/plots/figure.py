"""What all pictures share: sizes, colours, a grid of panels, and the writing of files."""

from __future__ import annotations

import math
import re
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.io.output import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMN = 3.5  # inches: a journal page's column
PAGE = 7.0  # and its width
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"  # of Okabe and Ito's colour-blind safe palette
PALE = "#C8C8C8"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # what else of that palette shows
DASHES = ("--", "-", "-.", (0, (3, 1, 1, 1, 1, 1)))  # dots alone are for what theory predicts
MARKERS = "osv^Dx+*"
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "sao",  # the same figure gives the same bytes
    "pdf.fonttype": 42,
}
DPI = 300  # what journals print
MAX_DOTS = 1e8  # 400 MB while they are drawn
MAX_PANELS = 20
MAX_CURVES = 12  # in a panel
NAMED = 12  # layers whose names have room beside their bars
LETTER, AXIS = 0.06, 0.6  # inches, about: of a letter, and of the labels beside a panel
_LETTERS = 24

Style = dict[str, Any]


def save_figure(
    figure: Figure, path: str, *, title: str | None = None, width: float | None = None, dpi: int = DPI
) -> None:
    """Write the figure to `path` in the format of its suffix, aside and then renamed.

    `title` stands above all, `width` (inches) is instead of the figure's own, whose height grows with it, and `dpi`
    counts in PNG, and in what other formats hold as dots. Raises SaoError for a width that has no room for the panels,
    and for more than 10^8 dots.

    Here is the gate for texts of files, such as a method's name: what can't be printed is escaped, and a dollar begins
    no formula, but for powers of 10 as of ticks.
    """
    from sao_cli.io import atomic_output

    with mpl.rc_context(STYLE):
        if width is not None:
            _resize(figure, width)
        if title:
            _head(figure, title)
    if (dots := dpi**2 * math.prod(figure.get_size_inches())) > MAX_DOTS:
        raise SaoError(f"a picture of {dots:.3g} dots is too large; fewer dots an inch or a smaller width (inches) do")
    for text in figure.findobj(Text):
        if (told := _harmless(text.get_text())) != text.get_text():
            text.set_text(told)
    kind = Path(path).suffix.lower().lstrip(".")
    dateless: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    with mpl.rc_context(STYLE), atomic_output(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("error", "constrained_layout not applied")
        try:
            figure.savefig(file, format=kind, dpi=dpi, metadata=dateless)
        except UserWarning:
            wide = figure.get_figwidth()
            raise SaoError(f"a width of {wide:g} inches has no room for these panels; give more, or none") from None


def _resize(figure: Figure, width: float) -> None:
    """To so many inches, and no less high; a legend has as few rows as its names have room in then."""
    figure.set_size_inches(width, figure.get_figheight() * max(width / figure.get_figwidth(), 1.0))
    rooms = {panel.xaxis.label: width - AXIS for panel in figure.axes}
    if figure.get_supxlabel():
        rooms[figure._supxlabel] = width  # type: ignore[attr-defined]
    for label, room in rooms.items():
        label.set_text("\n".join(textwrap.fill(line, int(room / LETTER)) for line in label.get_text().split("\n")))
    drawn = [panel.get_legend_handles_labels() for panel in figure.axes]
    known = {name: handle for handles, names in drawn for handle, name in zip(handles, names, strict=True)}
    for legend in figure.legends:
        names = [text.get_text() for text in legend.get_texts()]
        handles = {name: known.get(name, one) for name, one in zip(names, legend.legend_handles, strict=True)}
        title = legend.get_title().get_text()
        legend.remove()
        _set_legend(figure, handles, title)


def _head(figure: Figure, title: str) -> None:
    """The title above what stands at the top: the legend, for which alone room is made there, or another title."""
    if figure.legends:
        legend = figure.legends[0]
        below = legend.get_title().get_text()
        legend.set_title(f"{title}\n{below}" if below else title)
        legend.get_title().set_multialignment("center")
    else:
        below = figure.get_suptitle()
        figure.suptitle(f"{title}\n{below}" if below else title, fontsize=9)


def _harmless(text: str) -> str:
    if re.fullmatch(r"\$10\^\{-?\d+\}\$", text):
        return text
    return "\n".join(map(visible, text.split("\n"))).replace("$", r"\$")


def grid(count: int, per_row: int, size: tuple[float, float], single: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows, the unused ones removed; one panel alone fills a journal column."""
    if count == 1:
        figure = Figure(figsize=single, layout="constrained")
        return figure, [figure.subplots()]
    rows = math.ceil(count / per_row)
    columns = math.ceil(count / rows)
    figure = Figure(figsize=(max(columns * size[0], COLUMN), rows * size[1] + 0.4), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in panels[count:]:
        spare.remove()
    return figure, panels[:count]


def columns(count: int) -> int:
    """How many of `count` panels stand in a row; 11 panels fill a page."""
    return count if count <= 3 else 2 if count == 4 else 3 if count <= 12 else 4


def styles(titles: Iterable[str]) -> dict[str, Style]:
    """What tells the curves of each title from any other's, the same in every panel: of the first 12 titles."""
    distinct = list(dict.fromkeys(titles))[:MAX_CURVES]
    return {
        title: {
            "color": COLOURS[rank % len(COLOURS)],
            "linestyle": DASHES[rank % len(DASHES)],
            "linewidth": 1,
            "marker": MARKERS[rank % len(MARKERS)],
            "markersize": 2 + 0.3 * (rank % len(MARKERS)),
            "zorder": 4 - rank / len(distinct),  # where two coincide, the upper one's dashes and small marks show both
        }
        for rank, title in enumerate(distinct)
    }


def add_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, in as few rows as its names have room in; none where they name nothing."""
    handles: dict[str, Any] = {}
    for panel in panels:
        for handle, title in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(title, handle)
    if handles:
        _set_legend(figure, handles)


def _set_legend(figure: Figure, handles: Mapping[str, Any], title: str = "") -> None:
    widths = [0.55 + LETTER * len(title) for title in handles]  # inches, about
    per_row = next(count for count in range(len(widths), 0, -1) if count == 1 or _fits(widths, count, figure))
    rows = math.ceil(len(widths) / per_row)
    per_row = math.ceil(len(widths) / rows)  # the last row no shorter than need be
    figure.set_figheight(figure.get_figheight() + 0.17 * (rows - 1))
    told: dict[str, Any] = {"title": title or None, "frameon": False, "ncols": per_row, "loc": "outside upper center"}
    figure.legend(list(handles.values()), list(handles), **told)


def captioned(label: str, *notes: str) -> str:
    """An axis's label, and below it what there is to know of the picture."""
    told = ", ".join(filter(None, notes))
    return f"{label}\n{told}" if told else label


def _fits(widths: Sequence[float], count: int, figure: Figure) -> bool:
    """Whether so many columns, filled one after another and as wide as their widest name, fit the figure."""
    return float(sum(part.max() for part in np.array_split(widths, count))) <= figure.get_figwidth()


def percent(fraction: float) -> str:
    """Never 100 % before everything is reached, and never 0 % where something is."""
    text = f"{100 * fraction:.1f}"
    if text == "100.0":
        return "100 %" if fraction == 1 else ">99.9 %"
    return "<0.1 %" if text == "0.0" and fraction else f"{text} %"


def name_layers(panel: Axes, names: Sequence[str]) -> None:
    """The layers of bars that stand from 0 on, first layer on top: by name where 12 have room, else by number."""
    panel.invert_yaxis()
    if len(names) <= NAMED:
        panel.set_yticks(range(len(names)), [brief(name) for name in names])
    else:
        panel.yaxis.set_major_locator(MaxNLocator(8, integer=True))
        panel.set_ylabel("layer, from 0")


def brief(name: str) -> str:
    """The end of a name that is too long for a title."""
    return name if len(name) <= _LETTERS else f"...{name[3 - _LETTERS :]}"


def block_means(matrix: NDArray[Any], pixels: int) -> NDArray[np.float64]:
    """The matrix by at most `pixels` block averages a side."""
    image = matrix
    for axis, side in enumerate(image.shape):
        borders = np.linspace(0, side, min(side, pixels) + 1).astype(int)
        counts = np.diff(borders).reshape((-1, 1) if axis == 0 else (1, -1))
        image = np.add.reduceat(image, borders[:-1], axis=axis, dtype=np.float64) / counts
    return image
