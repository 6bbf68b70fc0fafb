"""Pictures of a network at the edge of chaos: its variance map, the plane of variances, chains and correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sao_cli.data.arrays import Values
from sao_cli.plots.figure import BLUE, COLOURS, COLUMN, DASHES, GREY, ORANGE, PALE, STYLE
from sao_cli.reports.criticalities import Criticality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIGNS: dict[str, dict[str, Any]] = {  # full where q is drawn to the point from both sides
    "stable": {"marker": "o", "markerfacecolor": BLUE},
    "unstable": {"marker": "o", "markerfacecolor": "white"},
    "half-stable": {"marker": "o", "fillstyle": "left", "markerfacecoloralt": "white", "markerfacecolor": BLUE},
    "neutral": {"marker": "s", "markerfacecolor": "white"},
}
REGIONS = ("no fixed point", "one", "several")  # fixed points
SHADES = ("#F6D5C2", "#FFFFFF", "#C6DDEF")
BANDS = ((0.05, 0.95), (0.25, 0.75))  # quantiles


def variance_map_figure(row: Criticality, q: Values, values: Values, chains: Values) -> Figure:
    """V(q) - q with its fixed points, and below it the cobweb of `chains` (k, depth) between V and the diagonal.

    `values` (n,) are V at `q` (n,). Where chains run past the end of `q` they are drawn up to there.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1)
        above.axhline(0, color=GREY, linewidth=0.6)
        above.plot(q, values - q, color=BLUE, linewidth=1)
        for kind, sign in SIGNS.items():
            places = [point.q for point in row.fixed_points if point.stability == kind and point.q <= q[-1]]
            if places:
                above.plot(places, np.zeros(len(places)), linestyle="", markeredgecolor=BLUE, label=kind, **sign)
        above.set_xlabel("q, the mean square of a layer's sums")
        above.set_ylabel("V(q) - q")
        above.set_xlim(0, q[-1])
        if np.abs(values - q).max() <= 1e-9 * q[-1]:  # rounding alone, which would fill the panel
            above.set_ylim(-q[-1] / 4, q[-1] / 4)
        above.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), handletextpad=0.2)
        _cobweb(below, row, q, values, chains)
    return figure


def _cobweb(panel: Axes, row: Criticality, q: Values, values: Values, chains: Values) -> None:
    low, high = _window(chains, q[-1])
    panel.plot([0, q[-1]], [0, q[-1]], color=GREY, linewidth=0.6)
    panel.plot(q, values, color="black", linewidth=1)
    for chain, colour in zip(chains, COLOURS, strict=False):
        drawn = np.minimum(chain, 10 * q[-1])
        panel.plot(np.repeat(drawn, 2)[:-1], np.repeat(drawn, 2)[1:], color=colour, linewidth=0.6, alpha=0.8)
    panel.set_xlim(low, high)
    panel.set_ylim(low, high)
    panel.set_xlabel("q of a layer")
    panel.set_ylabel("q of the next layer")
    panel.set_title(f"{len(chains)} chains of {chains.shape[1]} layers about V (black)")


def _window(chains: Values, end: float) -> tuple[float, float]:
    """Where the chains are, but not past the end of the curve."""
    low, high = float(chains.min()), min(float(chains.max()), end)
    room = 0.15 * (high - low) or 0.1 * high or 1.0
    return max(low - room, 0.0), high + room


def phase_figure(
    row: Criticality, sigma_b: Values, sigma_w: Values, counts: NDArray[np.int64], edge: tuple[Values, Values]
) -> Figure:
    """How many fixed points there are in the plane of sigma_b (n,) and sigma_w (m,), `counts` (m, n), and the edge.

    The curve is the edge of chaos, `edge` its sigma_b and sigma_w by q; the mark is the row's own network.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 3.0), layout="constrained")
        panel = figure.subplots()
        shades = ListedColormap(SHADES)
        shown = np.minimum(counts, 2)
        panel.pcolormesh(
            sigma_b, sigma_w, shown, cmap=shades, norm=BoundaryNorm([-0.5, 0.5, 1.5, 2.5], 3), rasterized=True
        )
        handles: list[Any] = [
            Patch(facecolor=shade, edgecolor=PALE, label=name)
            for number, (shade, name) in enumerate(zip(SHADES, REGIONS, strict=True))
            if (shown == number).any()
        ]
        handles += panel.plot(*edge, color=BLUE, linewidth=1.2, label="edge of chaos")
        handles += panel.plot(
            row.sigma_b, row.sigma_w, "D", color=ORANGE, markersize=5, linestyle="", label="here", clip_on=False
        )
        panel.set_xlim(sigma_b[0], sigma_b[-1])
        panel.set_ylim(sigma_w[0], sigma_w[-1])
        panel.set_xlabel("sigma_b, the spread of the biases")
        panel.set_ylabel("sigma_w, the scale of the weights")
        figure.legend(handles=handles, frameon=False, ncols=3, loc="outside upper center", columnspacing=1)
    return figure


def slope_figure(
    row: Criticality, clips: Values, slopes: Values, alone: NDArray[np.bool_], here: tuple[float, float]
) -> Figure:
    """V'(q*) at the edge of chaos against the clip, dashed where there are fixed points besides q* (not `alone`).

    `here` is the row's own clip and slope there.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        panel = figure.subplots()
        panel.axhline(1, color=GREY, linewidth=0.6)
        for mask, colour, dash, label in (
            (alone, BLUE, "-", "q* is the only fixed point"),
            (~alone, ORANGE, (0, (2, 1)), "there are others"),
        ):
            if mask.any():
                panel.plot(clips, np.where(mask, slopes, np.nan), color=colour, linestyle=dash, label=label)
        panel.plot(*here, "D", color="black", markersize=4, label="here")
        panel.set_xlim(0, clips[-1])
        panel.set_ylim(0, 1.05)
        panel.set_xlabel("m, by which phi rises from its threshold")
        panel.set_ylabel("V'(q*) at the edge of chaos")
        panel.legend(frameon=False, loc="lower right", title=f"{row.activation}, s = {row.activation_sparsity:.3g}")
    return figure


def variance_depth_figure(
    row: Criticality, width: int, chains: tuple[Values, Values], network: tuple[Values, Values]
) -> Figure:
    """q by layer, and below it the activation sparsity there: quantiles over `chains`, and over inputs of a `network`.

    Of either: q, and the share of zeros (k, depth). `width` is that of all layers. Bands hold 90 % and 50 % of the
    chains and the line is their median; dashes are the median of the network's inputs, with 90 % of them between the
    thin ones, and dots the fixed point. Activations that are never exactly 0 have no lower panel.
    """
    panels = [("q, the mean square of sums", chains[0], network[0], row.q_star)]
    if chains[1].any():
        panels.append(("activation sparsity", chains[1], network[1], row.activation_sparsity))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 0.9 + 1.7 * len(panels)), layout="constrained")
        for panel, (name, found, inputs, point) in zip(
            figure.subplots(len(panels), 1, sharex=True, squeeze=False).flat, panels, strict=True
        ):
            _quantiles(panel, found, point)
            _inputs(panel, inputs)
            panel.set_ylabel(name)
            if name.startswith("q") and found[:, -1].max() > 10 * point:
                panel.set_yscale("log")
        panel.set_xlabel("layer")
        panel.set_xlim(1, max(found.shape[1], 2))
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        handles, labels = panel.get_legend_handles_labels()
        title = f"{len(found)} chains of width {width}, and one network at {len(inputs)} inputs"
        figure.legend(handles, labels, frameon=False, ncols=3, loc="outside upper center", title=title)
    return figure


def _quantiles(panel: Axes, found: Values, point: float) -> None:
    layers = np.arange(1, found.shape[1] + 1)
    for (low, high), shade in zip(BANDS, ("#C6DDEF", "#7FB2DB"), strict=True):
        panel.fill_between(
            layers,
            *np.quantile(found, [low, high], axis=0),
            color=shade,
            linewidth=0,
            label=f"{100 * (high - low):.0f} %",
        )
    panel.plot(layers, np.median(found, axis=0), color=BLUE, linewidth=1, label="median")
    panel.axhline(point, color=GREY, linewidth=1, linestyle=":", label="at q*")


def _inputs(panel: Axes, found: Values) -> None:
    """Where inputs of one network are, as far as they are finite."""
    layers = np.arange(1, found.shape[1] + 1)
    finite = np.isfinite(found).all(axis=0)
    for low_and_high, width, label in ((BANDS[0], 0.5, "inputs, 90 %"), ((0.5,), 1.0, "inputs, median")):
        lines = np.quantile(found[:, finite], low_and_high, axis=0).T
        style: dict[str, Any] = {"color": ORANGE, "linewidth": width, "linestyle": "--"}
        panel.plot(layers[finite], lines, label=[label, *["_"] * (len(low_and_high) - 1)], **style)


def correlation_figure(row: Criticality, gaps: Mapping[float, Values]) -> Figure:
    """1 - c by layer on two logarithmic axes, from each starting gap, `gaps` (layers + 1,) each, and its law.

    The law is kappa/l^power at the edge of chaos; elsewhere the limit 1 - c*, where it is not 0.
    """
    layers = np.arange(1.0, len(next(iter(gaps.values()))))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.8), layout="constrained")
        panel = figure.subplots()
        for rank, (start, found) in enumerate(gaps.items()):
            panel.loglog(
                layers, found[1:], color=COLOURS[rank], linestyle=DASHES[rank % len(DASHES)], label=f"from {start:g}"
            )
        bottom, _ = panel.get_ylim()
        for values, label in _laws(row, layers):
            panel.loglog(layers, values, color=GREY, linestyle=":", label=label)
        panel.set_ylim(max(bottom, 1e-16), 2)
        panel.set_xlabel("layer l")
        panel.set_ylabel("1 - c, c the correlation of two inputs")
        figure.legend(frameon=False, ncols=4, loc="outside upper center", columnspacing=1)
    return figure


def _laws(row: Criticality, layers: Values) -> Sequence[tuple[Values, str]]:
    if row.kappa is not None and row.correlation_power is not None:
        power = "" if row.correlation_power == 1 else f"^{row.correlation_power}"
        return [(row.kappa / layers**row.correlation_power, f"{row.kappa:.3g}/l{power}")]
    point = min(row.fixed_points, key=lambda one: abs(one.q - row.q_star))
    limit = 1 - point.correlation
    return [(np.full(len(layers), limit), "1 - c*")] if limit > 0 else []
