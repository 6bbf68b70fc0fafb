"""A picture of an audited network: how far each layer's singular values reach, and how sparse it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sao_cli.base.errors import SaoError
from sao_cli.plots.depths import value_axis
from sao_cli.plots.figure import BLUE, COLOURS, COLUMN, GREY, ORANGE, PAGE, PALE, STYLE, Style, add_legend
from sao_cli.reports.audits import AuditRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NARROW = 16  # so many layers fit a journal column
MARKED = 80  # layers; of more, marks would hide each other


class _Reach(NamedTuple):
    """The layer's number, and its least, median and largest singular value; `exact` False says estimated."""

    layer: int
    low: float
    median: float
    high: float
    exact: bool


def audit_figure(rows: Sequence[AuditRow]) -> Figure:
    """The least, median and largest singular value of each audited layer, and below them its sparsity.

    Layers are numbered from 1 in the order of `rows`, without those that were skipped. A layer without singular
    values, such as a kernel without an image, leaves a gap. Where the values are estimates the marks are hollow, and
    the least is that of the estimate; what rounding alone could have made is 0. The grey line is at 1. The scale is
    logarithmic where values span more than a power of ten, and a mark at "0", below its powers, is a value of 0.

    Raises SaoError where no layer was audited. O(k) for k singular values in all.

    >>> from sao_cli.models.audit.row import audit_weight
    >>> figure = audit_figure([audit_weight(np.eye(4), name="a"), audit_weight(np.ones((4, 4)), name="b")])
    >>> [panel.get_ylabel() for panel in figure.axes]
    ['singular values', 'sparsity']
    """
    audited = [row for row in rows if not row.skipped]
    if not audited:
        raise SaoError("no layer to draw: every tensor was skipped")
    with mpl.rc_context(STYLE):
        width = COLUMN if len(audited) <= NARROW else PAGE
        figure = Figure(figsize=(width, 3.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        _draw_reach(upper, [_reach(layer, row) for layer, row in enumerate(audited, 1) if _is_known(row)])
        _draw_sparsity(lower, [row.sparsity or 0.0 for row in audited])
        lower.set_xlim(0.4, len(audited) + 0.6)
        lower.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        add_legend(figure, [upper])
    return figure


def _is_known(row: AuditRow) -> bool:
    return row.singular_values is not None and len(row.singular_values) > 0


def _reach(layer: int, row: AuditRow) -> _Reach:
    assert row.singular_values is not None
    values = np.where(row.singular_values > (row.error or 0.0), row.singular_values, 0.0)
    return _Reach(layer, float(values[-1]), float(np.median(values)), float(values[0]), row.exact is not False)


def _draw_reach(panel: Axes, found: Sequence[_Reach]) -> None:
    panel.set_ylabel("singular values")
    if not found:
        panel.set_yticks([])
        panel.text(0.5, 0.5, "not known (kernels need an image)", transform=panel.transAxes, ha="center", va="center")
        return
    numbers = np.array(found, dtype=np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log10(numbers[:, 1:4])
    place = value_axis(panel, np.append(logs.ravel(), 0.0))
    layers, exact = numbers[:, 0], numbers[:, 4] == 1
    low, median, high = place(logs).T
    panel.axhline(float(place(np.array(0.0))), color=GREY, linewidth=0.6, zorder=1)
    panel.vlines(layers, low, high, color=PALE, linewidth=1.5, zorder=1)
    looks = (("largest", high, ORANGE, "v"), ("median", median, COLOURS[2], "s"), ("least", low, BLUE, "^"))
    for label, heights, colour, marker in looks:
        size = 3.5 if len(found) <= MARKED else 1.5
        style: Style = {"color": colour, "marker": marker, "markersize": size, "linestyle": ""}
        panel.plot(layers[exact], heights[exact], label=label, zorder=3, **style)
        if not exact.all():
            hollow = f"{label} (estimated)"
            panel.plot(layers[~exact], heights[~exact], label=hollow, markerfacecolor="white", zorder=3, **style)


def _draw_sparsity(panel: Axes, sparsity: Sequence[float]) -> None:
    layers = np.arange(len(sparsity)) + 0.5
    panel.stairs(sparsity, np.append(layers, len(sparsity) + 0.5), fill=True, color=PALE)
    panel.stairs(sparsity, np.append(layers, len(sparsity) + 0.5), color=GREY, linewidth=0.8)
    panel.set_ylim(0, 1.02)
    panel.set_ylabel("sparsity")
    panel.set_xlabel("layer, in the order of names")
