"""How the singular values of deep networks are distributed on a logarithmic scale, depth after depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sao_cli.plots.depth_rows import PowerAxis, by_line, depth_axis, is_geometric, legible, told_of
from sao_cli.plots.figure import BLUE, COLUMN, GREY, MAX_PANELS, ORANGE, PAGE, STYLE, captioned, columns, grid, percent
from sao_cli.reports.networks import DepthJacobian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]
Columns = dict[int, Values]  # depth: log10 of the singular values there, ascending

SLOTS = 12  # more depths than these are a heat map
BINS = 60  # at least so many over all values
BARS = "bars: share of the fullest bin"
STRIP = 0.14  # of the axis: where the unresolved are told
HALF = 0.42  # of a slot: the fullest bin's bar to one side
SHADES = ListedColormap(mpl.colormaps["Blues"](np.linspace(0.2, 1, 256)))  # one value alone is no white


class Scale(NamedTuple):
    """The vertical axis of all panels: bins whose middles are the multiples first .. last of `width`, in its own units.

    Below it, a strip of the height `strip` tells of what is not resolved.
    """

    axis: PowerAxis
    width: float
    first: int
    last: int
    strip: float

    @property
    def edges(self) -> Values:
        """Of the bins, ascending."""
        edges: Values = (np.arange(self.first, self.last + 2, dtype=np.float64) - 0.5) * self.width
        return edges

    @property
    def floor(self) -> float:
        """Where the strip stands."""
        return float(self.edges[0]) - self.strip

    def shares(self, values: Values) -> Values:
        """How much each bin holds of the finite values, the fullest 1."""
        places = np.rint(self.axis.place(values[np.isfinite(values)]) / self.width).astype(np.int64)
        counts = np.bincount(places.clip(self.first, self.last) - self.first, minlength=self.last + 1 - self.first)
        shares: Values = counts / max(counts.max(), 1)
        return shares


def depth_histogram_figure(rows: Sequence[DepthJacobian], by_layer: bool = False) -> Figure:
    """Histograms of log10 sigma, depth after depth, a panel a method; all panels have the same scale, a PowerAxis.

    Up to 12 depths stand side by side, each a histogram whose bars run to both sides, with a thin line from the
    smallest value to the largest and a white dot at the median. More depths are a heat map, dark where many values are.
    Bars and colours tell what a bin holds as a share of what the fullest one holds at that depth, so that a point mass
    and a broad law are both readable. Bins are equally high as drawn; 1, at the dashed line, is the middle of its own.

    With `by_layer` each row is of one layer alone, and the axis says so.

    Values that the arithmetic can't tell from 0 are in no bin: below the axis, grey bars tell their share at each
    depth, and the panel's title the largest of these. Of more than 20 panels the first are drawn, and the picture says
    so.

    Raises SaoError for no rows, a depth below 1, and values that are no logarithms. O(k log k) for k values in all.

    >>> from sao_cli.nets.jacobians.chain import network_jacobian
    >>> from sao_cli.weights.build_weights import weight_stack
    >>> rows = list(network_jacobian(weight_stack([16] * 4, d=4), "tanh"))
    >>> depth_histogram_figure(rows).axes[0].get_title()
    'sao'
    """
    ((activation, lines),) = by_line(rows).items()
    drawn = {name: _by_depth(line) for name, line in list(lines.items())[:MAX_PANELS]}
    depths = sorted({depth for line in drawn.values() for depth in line})
    per_row, heat = columns(len(drawn)), len(depths) > SLOTS
    scale = _scale([values for line in drawn.values() for values in line.values()])
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(drawn), per_row, size=(PAGE / per_row, 2.1), single=(COLUMN, 2.8))
        width = (figure.get_figwidth() - 1.4) / per_row - 0.1  # without the labels of ticks and colours
        for number, ((name, line), panel) in enumerate(zip(drawn.items(), panels, strict=True)):
            panel.set_title(name + _told_unresolved(line))
            (_draw_heat_map if heat else _draw_slots)(panel, line, depths, scale, width)
            _value_axis(panel, scale, labelled=number % per_row == 0)
        if heat:
            bar = figure.colorbar(
                panels[0].collections[0], ax=panels, aspect=30, shrink=0.7, ticks=[0.01, 0.1, 0.25, 0.5, 1]
            )
            bar.set_label("fraction of the fullest bin")
            bar.ax.yaxis.set_major_formatter("{x:g}")
        cut = f" (the first {len(drawn)} of {len(lines)} panels)" if len(drawn) < len(lines) else ""
        axis, size = told_of(rows, by_layer)
        figure.supxlabel(captioned(f"{axis}{cut}", size, "" if heat else BARS), fontsize=8)
        figure.supylabel(f"singular value\n({scale.axis.scale})", fontsize=8)
        if activation:
            figure.suptitle(activation, fontsize=9)
    return figure


def _by_depth(line: Sequence[DepthJacobian]) -> Columns:
    parts: dict[int, list[Values]] = {}
    for row in line:
        parts.setdefault(row.depth, []).append(row.log10_values.ravel())
    return {depth: np.sort(np.concatenate(values)) for depth, values in parts.items()}


def _scale(columns: Sequence[Values]) -> Scale:
    resolved = [values[np.isfinite(values)] for values in columns]
    low = min([-0.5, *(float(values[0]) for values in resolved if values.size)])
    high = max([0.5, *(float(values[-1]) for values in resolved if values.size)])
    axis = PowerAxis(low, high)
    start, stop = axis.ends
    width = (stop - start) / BINS
    whole = all(_unresolved(values) == 0 for values in columns)
    return Scale(axis, width, round(start / width), round(stop / width), 0.0 if whole else STRIP * (stop - start))


def _unresolved(values: Values) -> float:
    """Their share."""
    return float(np.isneginf(values).mean())


def _told_unresolved(line: Columns) -> str:
    most = max(_unresolved(values) for values in line.values())
    return f"\ngrey: up to {percent(most)} not resolved" if most else ""


def _draw_slots(panel: Axes, line: Columns, depths: Sequence[int], scale: Scale, width: float) -> None:
    """The depths side by side, a histogram to both sides of each."""
    ticks = legible(np.arange(len(depths), dtype=np.float64), depths, width / len(depths))
    panel.set_xticks(ticks, [f"{depths[tick]}" for tick in ticks])
    panel.set_xlim(-0.5, len(depths) - 0.5)
    heights = np.repeat(scale.edges, 2)[1:-1]
    for slot, depth in enumerate(depths):
        if depth not in line:
            continue
        values = line[depth]
        half = HALF * np.repeat(scale.shares(values), 2)
        panel.fill_betweenx(heights, slot - half, slot + half, where=half > 0, color=BLUE, linewidth=0)
        resolved = values[np.isfinite(values)]
        if resolved.size:
            lowest, middle, highest = scale.axis.place(np.percentile(resolved, [0, 50, 100]))
            panel.plot([slot, slot], [lowest, highest], color=BLUE, linewidth=0.6)
            panel.plot([slot], [middle], "o", markersize=2.5, color=BLUE, markerfacecolor="white")
        panel.bar(slot, _unresolved(values) * scale.strip, 2 * HALF, scale.floor, color=GREY)


def _draw_heat_map(panel: Axes, line: Columns, depths: Sequence[int], scale: Scale, width: float) -> None:
    """A column of colours a depth, from halfway to the one before to halfway to the next."""
    depth_axis(panel, depths, width)
    edges = _edges(np.array(list(line), dtype=np.float64), np.array(depths, dtype=np.float64))
    shares = np.stack([scale.shares(values) for values in line.values()], axis=1)
    shares[shares == 0] = np.nan
    panel.pcolormesh(edges, scale.edges, shares, cmap=SHADES, norm=PowerNorm(0.5, 0, 1), rasterized=True)
    heights = [scale.floor + _unresolved(values) * scale.strip for values in line.values()]
    panel.stairs(heights, edges, baseline=scale.floor, fill=True, color=GREY)
    panel.set_xlim(*_edges(np.array(depths, dtype=np.float64), np.array(depths, dtype=np.float64))[[0, -1]])


def _edges(at: Values, depths: Values) -> Values:
    """Between the ascending depths `at`, halfway on the axis that fits all of `depths`, and as far beyond the ends."""
    into, back = (np.log, np.exp) if is_geometric(depths) else (np.positive, np.positive)
    places, all_places = into(at), into(depths)
    steps = np.diff(places) if len(at) > 1 else np.diff(all_places[[0, -1]]) / len(depths)
    middles = (places[:-1] + places[1:]) / 2
    edges: Values = back(np.r_[places[0] - steps[0] / 2, middles, places[-1] + steps[-1] / 2])
    return edges


def _value_axis(panel: Axes, scale: Scale, *, labelled: bool) -> None:
    panel.axhline(0, color=ORANGE, linestyle="--", linewidth=0.8, zorder=1.5)
    panel.set_ylim(scale.floor, scale.edges[-1])
    scale.axis.set_ticks(panel)
    panel.tick_params(labelleft=labelled)
