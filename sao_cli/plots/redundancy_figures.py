"""Pictures of redundancy in the rank of weights: angles of vectors, singular values, and what fusing would cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values
from sao_cli.plots.figure import (
    BLUE,
    COLUMN,
    GREY,
    MAX_CURVES,
    MAX_PANELS,
    ORANGE,
    STYLE,
    add_legend,
    brief,
    grid,
    styles,
)
from sao_cli.reports.redundancies import RankRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALLEST = 1e-9  # of the largest singular value, below which none is drawn

_AXES = (("columns", BLUE, "o", "v"), ("rows", ORANGE, "s", "^"))  # marks of shares and nearest


class Cosines(Protocol):
    """Shares of the pairs by |cos|: measure.redundancy.cosines's histogram."""

    @property
    def shares(self) -> Values: ...
    @property
    def expected(self) -> Values: ...
    @property
    def vectors(self) -> int: ...
    @property
    def sampled(self) -> int: ...
    @property
    def pairs(self) -> int: ...


class Costs(Protocol):
    """What fusing costs and saves by tau_cos: measure.redundancy.fusing_curve's."""

    @property
    def tau_cos(self) -> Values: ...
    @property
    def errors(self) -> Values: ...
    @property
    def saved(self) -> Values: ...


def cosine_figure(rows: Sequence[RankRow], cosines: Sequence[tuple[Cosines, Cosines]], tau_cos: float) -> Figure:
    """How the |cos| of pairs of columns, and of rows, are spread, a panel a layer; of each row its `cosines` of both.

    Dotted lines are what independent random directions have, triangles the nearest pairs of all, and the vertical line
    is 1 - `tau_cos`. Of more layers than 20 the first are drawn, and the picture says so, as it does where vectors are
    sampled.
    """
    drawn = list(zip(rows, cosines, strict=False))[:MAX_PANELS]
    _require(drawn)
    most = max((one.sampled for _, both in drawn for one in both if one.sampled < one.vectors), default=0)
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(drawn), 2 if len(drawn) <= 6 else 4, (COLUMN / 2, 1.5), (COLUMN, 2.4))
        for panel, (row, both) in zip(panels, drawn, strict=True):
            for found, axis in zip(both, _AXES, strict=True):
                _spread(panel, found, row, axis)
            panel.plot([], [], ":", color=GREY, label="random directions")
            panel.plot([], [], "v", color=GREY, markersize=4, label="nearest pair of all")
            panel.axvline(1 - tau_cos, color="black", linewidth=0.7, linestyle="-.", label="1 - tau_cos")
            panel.set_yscale("log")
            panel.set_ylim(0.5 / max(2, *(found.pairs for found in both)), 2)
            panel.set_xlim(0, 1.03)
            panel.set_title(_title(row), fontsize=6.5)
        add_legend(figure, panels)
        told = f"|cos| of two vectors{_cut(drawn, rows)}"
        figure.supxlabel(told + (f"\nall pairs of up to {most} drawn at random" if most else ""), fontsize=8)
        figure.supylabel("share of pairs in a bin", fontsize=8)
    return figure


def _spread(panel: Axes, found: Cosines, row: RankRow, axis: tuple[str, str, str, str]) -> None:
    name, colour, mark, nearest = axis
    edges = np.linspace(0.0, 1.0, len(found.shares) + 1)
    middles, there = (edges[1:] + edges[:-1]) / 2, found.shares > 0
    panel.plot(middles[there], found.shares[there], mark, color=colour, markersize=1.8, label=name)
    panel.plot(middles, found.expected, color=colour, linestyle=":", linewidth=1, zorder=3)
    if (told := getattr(row, name)) is not None and told.max_cosine is not None:
        height = 1 / max(found.pairs, 1)
        panel.plot(told.max_cosine, height, nearest, color=colour, markersize=4, clip_on=False)


def singular_value_figure(rows: Sequence[RankRow]) -> Figure:
    """The singular values of each layer's [W, b] in descending order, a panel a layer, with its slack tau.

    What lies above tau, dashed, is the soft rank. Values below 1e-9 of the largest are not drawn. Rows without them are
    left out, and SaoError is raised where all are; of more layers than 20 the first are drawn, as the picture says.
    """
    known = [row for row in rows if row.singular_values is not None and row.tau is not None]
    drawn = known[:MAX_PANELS]
    _require(drawn)
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(drawn), 2 if len(drawn) <= 6 else 4, (COLUMN / 2, 1.5), (COLUMN, 2.4))
        for panel, row in zip(panels, drawn, strict=True):
            _value_panel(panel, row)
        add_legend(figure, panels)
        figure.supxlabel(f"number of the singular value{_cut(drawn, known)}", fontsize=8)
        figure.supylabel("singular value of [W, b]", fontsize=8)
    return figure


def _value_panel(panel: Axes, row: RankRow) -> None:
    values: Any = row.singular_values
    numbers = np.arange(1, len(values) + 1)
    shown = values > SMALLEST * values[0]
    few: dict[str, Any] = {"marker": "o", "markersize": 2} if len(values) <= 32 else {}
    panel.plot(numbers[shown], values[shown], color=BLUE, linewidth=1, label="singular values", **few)
    panel.axhline(row.tau or 0.0, color=ORANGE, linewidth=1, linestyle="--", label="tau")
    panel.set_yscale("log")
    panel.set_xlim(0.5, len(values) + 0.5)
    panel.set_title(f"{_title(row)}\nrank {row.rank_with_bias}, soft rank {row.soft_rank}", fontsize=6.5)


def fusing_figure(rows: Sequence[RankRow], costs: Sequence[Costs], tau_cos: float, tau_euc: float) -> Figure:
    """What fusing rows and columns changes each weight by, against tau_cos, and below it what it saves.

    A curve a layer, of the first 12; the vertical line is the `tau_cos` that was asked for. Errors of 0 are not drawn.
    """
    drawn = list(zip(rows, costs, strict=False))[:MAX_CURVES]
    _require(drawn)
    shown = styles(row.name for row, _ in drawn)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 3.8), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        for rank, (row, found) in enumerate(drawn):
            errors = np.where(found.errors > 0, found.errors, np.nan)
            apart = {"markevery": (rank % len(found.tau_cos), max(len(drawn), 2))}  # what curves may share
            above.plot(found.tau_cos, errors, label=brief(row.name), **apart, **shown[row.name])
            below.plot(found.tau_cos, 100 * found.saved, **apart, **shown[row.name])
        for panel in (above, below):
            panel.set_xscale("log")
            panel.grid(color=GREY, alpha=0.2, linewidth=0.5)
            if tau_cos > 0:
                panel.axvline(tau_cos, color="black", linewidth=0.7, linestyle="-.", label=f"tau_cos {tau_cos:g}")
        if any((found.errors > 0).any() for _, found in drawn):
            above.set_yscale("log")
        else:
            above.set_ylim(0, 1)
            above.text(0.98, 0.06, "0 for each", transform=above.transAxes, ha="right", fontsize=7)
        above.set_ylabel("relative error of P W' Q")
        below.set_ylabel("numbers saved, %")
        below.set_ylim(0, max(1.0, *(105 * float(found.saved.max()) for _, found in drawn)))
        below.set_xlabel(f"tau_cos, at tau_euc {tau_euc:g}{_cut(drawn, rows)}")
        add_legend(figure, [above])
    return figure


def _title(row: RankRow) -> str:
    return f"{brief(row.name)}: {row.m} × {row.n}"


def _cut(drawn: Sequence[object], of: Sequence[object]) -> str:
    return f" (the first {len(drawn)} of {len(of)} layers)" if len(of) > len(drawn) else ""


def _require(drawn: Sequence[object]) -> None:
    if not drawn:
        raise SaoError("there is no layer to draw: none has been measured that far")
