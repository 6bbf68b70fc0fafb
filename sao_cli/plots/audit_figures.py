"""A picture of an audited network: how far each layer's singular values reach, how sparse it is, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sao_cli.base.errors import SaoError
from sao_cli.plots.depths import value_axis
from sao_cli.plots.figure import BLUE, COLOURS, COLUMN, GREY, NAMED, ORANGE, PAGE, PALE, STYLE, Style, add_legend, brief
from sao_cli.reports.audits import AuditRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROW = 16  # so many layers fit a journal column
MARKED = 80  # layers; of more, marks would hide each other
ASIDE = 0.28  # of a layer: where its earlier state stands, to the left


class _Reach(NamedTuple):
    """The layer's number, and its least, median and largest singular value; `exact` False says estimated."""

    layer: int
    low: float
    median: float
    high: float
    exact: bool


def audit_figure(rows: Sequence[AuditRow], earlier: Sequence[AuditRow] = ()) -> Figure:
    """The least, median and largest singular value of each audited layer, and below them its sparsity.

    Up to 12 layers are told by name, more are numbered from 1 in the order of `rows`, without those that were skipped.
    A layer without singular values, such as a kernel without an image, leaves a gap. Where the values are estimates the
    marks are hollow, and the least is that of the estimate; what rounding alone could have made is 0. The grey line is
    at 1. The scale is logarithmic where values span more than a power of ten, as its label says, and a mark at "0",
    below its powers, is a value of 0.

    Rows with a heavy tail bring the Marchenko-Pastur edge of each layer, a dash, and a panel of the exponent alpha. Of
    the rows of an `earlier` checkpoint those of the same names are drawn in grey to the left of the later ones.

    Raises SaoError where no layer was audited. O(k) for k singular values in all.

    >>> from sao_cli.models.audit.row import audit_weight
    >>> figure = audit_figure([audit_weight(np.eye(4), name="a"), audit_weight(np.ones((4, 4)), name="b")])
    >>> [panel.get_ylabel() for panel in figure.axes]
    ['singular values', 'sparsity']
    """
    audited = [row for row in rows if not row.skipped]
    if not audited:
        raise SaoError("no layer to draw: every tensor was skipped")
    now = dict(enumerate(audited, 1))
    places = {row.name: layer for layer, row in now.items()}
    before = {places[row.name]: row for row in earlier if not row.skipped and row.name in places}
    tailed = any(row.mp_edge is not None for row in audited)
    with mpl.rc_context(STYLE):
        width, tall = COLUMN if len(audited) <= NARROW else PAGE, 3.2 + 0.9 * tailed + 0.5 * (len(audited) <= NAMED)
        figure = Figure(figsize=(width, tall), layout="constrained")
        upper, *tail, lower = figure.subplots(2 + tailed, 1, sharex=True, height_ratios=(2, 1, 1)[: 2 + tailed])
        _draw_reaches(upper, _reaches(now), _reaches(before), _known(now, "mp_edge"))
        for panel in tail:
            _draw_alphas(panel, _known(now, "alpha"), _known(before, "alpha"))
        _draw_sparsity(lower, audited, {layer: row.sparsity or 0.0 for layer, row in before.items()})
        _name_axis(lower, [row.name for row in audited])
        add_legend(figure, [upper, lower])
    return figure


def _reaches(rows: Mapping[int, AuditRow]) -> list[_Reach]:
    known = {layer: row for layer, row in rows.items() if row.singular_values is not None and len(row.singular_values)}
    return [_reach(layer, row) for layer, row in known.items()]


def _reach(layer: int, row: AuditRow) -> _Reach:
    assert row.singular_values is not None
    values = np.where(row.singular_values > (row.error or 0.0), row.singular_values, 0.0)
    return _Reach(layer, float(values[-1]), float(np.median(values)), float(values[0]), row.exact is not False)


def _known(rows: Mapping[int, AuditRow], key: str) -> dict[int, float]:
    """A fact of the tail by layer; of too few values, or none but zeros, there is none."""
    return {layer: value for layer, row in rows.items() if (value := getattr(row, key))}


def _draw_reaches(panel: Axes, found: Sequence[_Reach], before: Sequence[_Reach], edges: dict[int, float]) -> None:
    panel.set_ylabel("singular values")
    if not found:
        panel.set_yticks([])
        panel.text(0.5, 0.5, "not known (kernels need an image)", transform=panel.transAxes, ha="center", va="center")
        return
    with np.errstate(divide="ignore"):
        logs, earlier = (np.log10(np.array(one, dtype=np.float64).reshape(-1, 5)[:, 1:4]) for one in (found, before))
        marks = np.log10(np.array(list(edges.values())))
    place = value_axis(panel, np.r_[logs.ravel(), earlier.ravel(), marks, 0.0])
    panel.axhline(float(place(np.array(0.0))), color=GREY, linewidth=0.6, zorder=1)
    size = 3.5 if len(found) + len(before) <= MARKED else 1.5
    _draw_now(panel, found, place(logs), size)
    if before:
        _draw_before(panel, [one.layer - ASIDE for one in before], place(earlier), size)
    if edges:
        dash: dict[str, Any] = {"linestyle": "", "marker": "_", "color": "black", "markersize": 2 * size, "zorder": 2.5}
        panel.plot(list(edges), place(marks), label="Marchenko–Pastur edge", **dash)


def _draw_now(panel: Axes, found: Sequence[_Reach], heights: Any, size: float) -> None:
    layers, exact = np.array([one.layer for one in found]), np.array([one.exact for one in found])
    low, median, high = heights.T
    panel.vlines(layers, low, high, color=PALE, linewidth=1.5, zorder=1)
    looks = (("largest", high, ORANGE, "v"), ("median", median, COLOURS[2], "s"), ("least", low, BLUE, "^"))
    for label, values, colour, marker in looks:
        style: Style = {"color": colour, "marker": marker, "markersize": size, "linestyle": ""}
        panel.plot(layers[exact], values[exact], label=label, zorder=3, **style)
        if not exact.all():
            hollow = f"{label} (estimated)"
            panel.plot(layers[~exact], values[~exact], label=hollow, markerfacecolor="white", zorder=3, **style)


def _draw_before(panel: Axes, places: Sequence[float], heights: Any, size: float) -> None:
    """The earlier values in grey, with the marks that the later ones have."""
    panel.vlines(places, heights[:, 0], heights[:, 2], color=PALE, linewidth=1, zorder=1)
    for values, marker, label in zip(heights.T, "^sv", (None, "before", None), strict=True):
        panel.plot(places, values, marker, color=GREY, markersize=0.7 * size, label=label, zorder=2)


def _draw_alphas(panel: Axes, found: dict[int, float], before: dict[int, float]) -> None:
    """The exponents of the power laws; a layer of too few values leaves a gap."""
    panel.set_ylabel("power law α")
    panel.plot(list(found), list(found.values()), "D", color=COLOURS[3], markersize=3)
    panel.plot([layer - ASIDE for layer in before], list(before.values()), "D", color=GREY, markersize=2)
    if not found:
        panel.set_yticks([])
        panel.text(0.5, 0.5, "not known", transform=panel.transAxes, ha="center", va="center")


def _draw_sparsity(panel: Axes, rows: Sequence[AuditRow], before: dict[int, float]) -> None:
    sparsity = [row.sparsity or 0.0 for row in rows]
    edges = np.arange(len(sparsity) + 1) + 0.5
    panel.stairs(sparsity, edges, fill=True, color=PALE)
    panel.stairs(sparsity, edges, color=GREY, linewidth=0.8)
    if before:
        then = [before.get(layer, np.nan) for layer in range(1, len(sparsity) + 1)]
        panel.hlines(then, edges[:-1], edges[1:], color="black", linewidth=0.8, linestyle="--", label="sparsity before")
    panel.set_ylim(-0.03 if before else 0, 1.03)
    panel.set_ylabel("sparsity")


def _name_axis(panel: Axes, names: Sequence[str]) -> None:
    panel.set_xlim(0.4, len(names) + 0.6)
    if len(names) <= NAMED:
        panel.set_xticks(range(1, len(names) + 1), [brief(name) for name in names], rotation=35, ha="right")
        panel.set_xlabel("layer")
        return
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    panel.set_xlabel("layer, in the order of names")
