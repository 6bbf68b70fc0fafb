"""Pictures of scores: how much of them each layer has, and how they spread."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sao_cli.base.errors import SaoError
from sao_cli.data.arrays import Values
from sao_cli.plots.figure import (
    BLUE,
    COLUMN,
    GREY,
    MAX_PANELS,
    PALE,
    STYLE,
    brief,
    captioned,
    grid,
    name_layers,
    percent,
)


def score_share_figure(scores: Mapping[str, Values]) -> Figure:
    """Each layer's share of the sum of all absolute scores, beside its share of all of them (grey).

    Where more than 12 layers are drawn they are numbered from 0. Raises SaoError where no score is a finite number.
    """
    sums = {name: float(np.nansum(np.abs(one))) for name, one in scores.items()}
    total, size = sum(sums.values()), sum(one.size for one in scores.values())
    if not np.isfinite(total) or not total:
        raise SaoError("all scores are 0, or some are not finite: no layer has a share of them to draw")
    places = np.arange(len(sums))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, max(1.6, 0.7 + 0.16 * min(len(sums), 40))), layout="constrained")
        panel = figure.subplots()
        panel.barh(places, [one.size / size for one in scores.values()], 0.8, color=PALE, label="of the weights")
        panel.barh(places, [one / total for one in sums.values()], 0.4, color=BLUE, label="of the scores")
        name_layers(panel, list(sums))
        panel.set_xlabel("share")
        panel.set_xlim(0, 1)
        panel.legend(frameon=False, loc="lower right")
    return figure


def score_histogram_figure(scores: Mapping[str, Values]) -> Figure:
    """The histogram of log10 |score| of each layer, a panel each, all on one axis; shares that score 0 are told.

    The line is the median. Raises SaoError for more layers than panels, and where there is nothing to draw.
    """
    if len(scores) > MAX_PANELS:
        raise SaoError(f"{len(scores)} layers: a picture has {MAX_PANELS} panels at most; --picture layers has all")
    logs = {name: _logs(one) for name, one in scores.items()}
    joined = np.concatenate(list(logs.values()))
    if not joined.size:
        raise SaoError("all scores are 0 or not finite: there is no histogram of their logarithms")
    edges = np.linspace(np.floor(joined.min()), np.ceil(joined.max() + 1e-9), 41)
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(logs), 2, (COLUMN / 2, 1.2), (COLUMN, 2.2))
        for panel, (name, found) in zip(panels, logs.items(), strict=True):
            panel.set_title(f"{brief(name)}, n = {scores[name].size:,}", fontsize=6.5)
            panel.set_xlim(edges[0], edges[-1])
            panel.yaxis.set_major_locator(MaxNLocator(3))
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            if found.size:
                shares = np.histogram(found, edges)[0] / scores[name].size
                panel.stairs(shares, edges, fill=True, color=BLUE)
                panel.axvline(float(np.median(found)), color=GREY, linewidth=0.8)
            if zeros := int(np.count_nonzero(scores[name] == 0)):
                share = f"{percent(zeros / scores[name].size)} are 0"
                panel.text(0.02, 0.95, share, transform=panel.transAxes, va="top", fontsize=6.5)
        figure.supxlabel(captioned("log10 |score|", "grey: the median"), fontsize=8)
        figure.supylabel("share of the layer's scores", fontsize=8)
    return figure


def _logs(scores: Values) -> Values:
    magnitudes = np.abs(scores[np.isfinite(scores) & (scores != 0)])
    found: Values = np.log10(magnitudes)
    return found
