"""Pictures of a training that fuses parallel rows and columns: sizes by epoch, and what accuracy is left of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sao_cli.base.errors import SaoError
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
    captioned,
    grid,
    styles,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]  # of `sao train --rare`, as to_dict() and metrics.jsonl have them

_AXES = (("rows", BLUE, "-", "o"), ("columns", ORANGE, (0, (4, 1.5)), "s"))


def dimension_figure(rows: Rows) -> Figure:
    """The rows and columns that each layer's W' has by epoch, a panel a layer; marks are where some were fused.

    Raises SaoError for rows of a training without RaRe, and for more than 20 layers.
    """
    told = _reductions(rows)
    layers = [layer["name"] for layer in told[0]["cores"]]
    if len(layers) > MAX_PANELS:
        raise SaoError(f"{len(layers)} layers: a picture has {MAX_PANELS} panels at most; --picture accuracy has all")
    epochs = [int(row["epoch"]) for row in rows]
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(layers), 2, (COLUMN / 2, 1.3), (COLUMN, 2.2))
        for place, (panel, name) in enumerate(zip(panels, layers, strict=True)):
            _layer_panel(panel, epochs, [one["cores"][place] for one in told])
            for axis, colour, _, mark in _AXES:
                fused = [_fused(one, name, axis) for one in told]
                core = [one["cores"][place]["core"][axis == "columns"] for one in told]
                there = [k for k, count in enumerate(fused) if count]
                panel.plot([epochs[k] for k in there], [core[k] for k in there], mark, color=colour, markersize=2.5)
        add_legend(figure, panels)
        figure.supxlabel("epoch; marks: fused in it", fontsize=8)
        figure.supylabel("size of W'", fontsize=8)
    return figure


def _layer_panel(panel: Axes, epochs: list[int], layers: list[Mapping[str, Any]]) -> None:
    for number, (axis, colour, dash, _) in enumerate(_AXES):
        sizes = [layer["core"][number] for layer in layers]
        panel.plot(epochs, sizes, color=colour, linestyle=dash, linewidth=1, label=axis, drawstyle="steps-post")
    (m, n), (rows, columns) = layers[0]["shape"], layers[-1]["core"]
    panel.set_title(f"{brief(layers[0]['name'])}: {m} × {n}\nto {rows} × {columns}", fontsize=6.5)
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _fused(told: Mapping[str, Any], layer: str, axis: str) -> int:
    return sum(one["name"] == layer and one["axis"] == axis for one in told["fused"])


def compression_figure(runs: Mapping[str, Rows]) -> Figure:
    """Test accuracy against the share of the trained numbers that fusing has removed, from the first epoch on.

    A curve a run, by its name, up to 12 of them; a point is an epoch, and the large one the last. Raises SaoError for
    rows of a training without RaRe.
    """
    shown = styles(runs)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        panel = figure.subplots()
        for name, rows in list(runs.items())[:MAX_CURVES]:
            counts = np.array([one["parameters"] for one in _reductions(rows)], dtype=np.float64)
            saved = 100 * (1 - counts / counts[0])
            accuracy = [row["test_accuracy"] for row in rows]
            first = 1 if len(rows) > 1 else 0  # that of epoch 0 is a guess's
            style = shown[name] | {"markersize": 2, "linewidth": 0.6}
            panel.plot(saved[first:], accuracy[first:], label=name, **style)
            panel.plot(saved[-1:], accuracy[-1:], **(style | {"markersize": 6, "markeredgecolor": "black"}))
        right = max(panel.get_xlim()[1], 1.0)  # a percent, where next to nothing was
        panel.set_xlim(-0.03 * right, right)
        panel.set_xlabel(captioned("trained numbers that were fused away, %", "an epoch a point, the last one large"))
        panel.set_ylabel("test accuracy")
        panel.grid(color=GREY, alpha=0.2, linewidth=0.5)
        if len(runs) > 1:
            add_legend(figure, [panel])
    return figure


def _reductions(rows: Rows) -> list[Mapping[str, Any]]:
    if not rows or any(not row.get("rare") for row in rows):
        raise SaoError("these rows tell of no fusions: --rare trains with them")
    return [row["rare"] for row in rows]
