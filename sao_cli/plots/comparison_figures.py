"""Pictures of a comparison: learning curves, fields of groups of runs, and layers of several checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sao_cli.base.errors import SaoError
from sao_cli.plots.figure import MAX_CURVES, NAMED, STYLE, Style, add_legend, brief, columns, grid, styles
from sao_cli.reports.comparisons import ComparedField, ComparedLayer, LearningCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL, SINGLE = (2.4, 1.9), (4.5, 3.0)  # inches
LAYER_PANELS = ("sigma_max", "sigma_min", "sparsity", "mask_overlap", "relative_distance")
SHARES = ("sparsity", "mask_overlap")
LABELS = {  # of axes, for those who know no keys
    "sigma_max": "largest singular value",
    "sigma_min": "least singular value",
    "mask_overlap": "mask overlap with the first",
    "relative_distance": "distance from the first, relative",
}


def curves_figure(curves: Sequence[LearningCurve]) -> Figure:
    """Learning curves, a panel for each field: means over the seeds, and a band from the least to the largest.

    Raises SaoError for none, and for over 12 in a panel.
    """
    if not curves:
        raise SaoError("no learning curve to draw: no row tells its epoch")
    fields = dict.fromkeys(curve.field for curve in curves)
    looks = _looks(curve.title for curve in curves)

    def draw(panel: Axes, field: str) -> None:
        for curve in curves:
            if curve.field != field:
                continue
            style = looks[curve.title]
            every = max(1, len(curve.epochs) // 8)
            panel.plot(curve.epochs, curve.mean, label=_counted(curve.title, curve.runs), markevery=every, **style)
            if curve.runs > 1:
                band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
                panel.fill_between(curve.epochs, curve.least, curve.largest, **band)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))

    told = "means; bands from the least to the largest of n runs" if any(curve.runs > 1 for curve in curves) else ""
    return _panels(list(fields), draw, told)


def fields_figure(rows: Sequence[ComparedField]) -> Figure:
    """Fields of groups of runs, a panel each: means over the seeds, with bars from the least to the largest.

    Groups stand side by side; where a run has several rows, as of layers, these do. Raises SaoError for over 12 groups.
    """
    fields = dict.fromkeys(row.field for row in rows)
    titles = dict.fromkeys(_group(row) for row in rows)
    looks = _looks(titles)
    things = {repr(row.of): ", ".join(map(str, row.of.values())) for row in rows}

    def draw(panel: Axes, field: str) -> None:
        for rank, title in enumerate(titles):
            own = [row for row in rows if row.field == field and _group(row) == title]
            aside = (rank - (len(titles) - 1) / 2) * 0.5 / len(titles)
            places = [list(things).index(repr(row.of)) + aside for row in own]
            heights = [row.mean for row in own]
            bars = [[row.mean - row.least for row in own], [row.largest - row.mean for row in own]]
            label = _counted(title, max((row.count for row in own), default=1))
            panel.errorbar(places, heights, yerr=bars, label=label, capsize=2, **looks[title] | {"linestyle": ""})
        _name_things(panel, list(things.values()))

    told = "means; bars from the least to the largest of n runs" if any(row.count > 1 for row in rows) else ""
    return _panels(list(fields), draw, told)


def layers_figure(rows: Sequence[ComparedLayer]) -> Figure:
    """Layers of several checkpoints by their names: singular values, sparsity, and how far they are from the first's.

    What no layer has is left out. Raises SaoError for over 12 checkpoints, and where nothing is known.
    """
    fields = [field for field in LAYER_PANELS if any(getattr(row, field) is not None for row in rows)]
    if not fields:
        raise SaoError("no layer to draw: of none of them a singular value, a sparsity or a distance is known")
    names = list(dict.fromkeys(row.name for row in rows))
    sources = dict.fromkeys(row.source for row in rows)
    looks = _looks(map(brief, sources))

    def draw(panel: Axes, field: str) -> None:
        for source in sources:
            own = [row for row in rows if row.source == source and getattr(row, field) is not None]
            places, heights = [names.index(row.name) for row in own], [getattr(row, field) for row in own]
            if own:
                panel.plot(places, heights, label=brief(source), **looks[brief(source)])
        if field in SHARES:
            panel.set_ylim(-0.03, 1.03)
        elif field == "relative_distance":
            panel.set_ylim(0, 1.05 * panel.get_ylim()[1])
        _name_things(panel, names)

    return _panels(fields, draw)


def _looks(titles: Any) -> dict[str, Style]:
    distinct = list(dict.fromkeys(titles))
    if len(distinct) > MAX_CURVES:
        raise SaoError(f"{len(distinct)} curves are too many for a picture of {MAX_CURVES}; compare fewer at once")
    return styles(distinct)


def _group(row: ComparedField) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.over.items()) or brief(row.source)


def _counted(title: str, runs: int) -> str:
    return f"{title} (n = {runs})" if runs > 1 else title


def _panels(fields: Sequence[str], draw: Callable[[Axes, str], None], caption: str = "") -> Figure:
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(fields), columns(len(fields)), PANEL, SINGLE)
        for panel, field in zip(panels, fields, strict=True):
            draw(panel, field)
            panel.set_ylabel(LABELS.get(field, field.replace("_", " ")))
        if caption:
            figure.supxlabel(caption, fontsize=7)
        add_legend(figure, panels)
    return figure


def _name_things(panel: Axes, names: Sequence[str]) -> None:
    """What stands along the axis: by name where 12 have room, else by number; nothing of a single thing."""
    panel.set_xlim(-0.6, len(names) - 0.4)
    if len(names) == 1 and not names[0]:
        panel.set_xticks([])
    elif len(names) <= NAMED:
        panel.set_xticks(range(len(names)), [brief(name) for name in names], rotation=45, ha="right")
    else:
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        panel.set_xlabel("layer, from 0")
