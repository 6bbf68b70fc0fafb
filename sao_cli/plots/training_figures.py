"""Pictures of a training: losses and accuracies by epoch, and the network's Jacobian where it was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sao_cli.base.errors import SaoError
from sao_cli.plots.depths import value_axis
from sao_cli.plots.figure import BLUE, COLOURS, COLUMN, GREY, ORANGE, PALE, STYLE, add_legend, captioned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]  # of `sao train`, as to_dict() and metrics.jsonl have them

_LOOKS = {"train": (BLUE, "--", "o"), "test": (ORANGE, "-", "s")}
_MARKED = 30  # epochs, of more of which none is marked


def learning_figure(rows: Rows) -> Figure:
    """Accuracy and loss by epoch, of the training and of the test images; a dotted line is where a pruning stands.

    Epoch 0 is the network before training. Raises SaoError for no rows.
    """
    if not rows:
        raise SaoError("there is no epoch to draw")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 3.6), layout="constrained")
        panels = figure.subplots(2, 1, sharex=True)
        for panel, what, label in zip(panels, ("accuracy", "loss"), ("accuracy", "cross-entropy"), strict=True):
            _curves(panel, rows, what)
            panel.set_ylabel(label)
        _epoch_axis(panels[1], rows, "train: mean over the epoch, as it learns")
        add_legend(figure, panels)
    return figure


def _curves(panel: Axes, rows: Rows, what: str) -> None:
    epochs = [row["epoch"] for row in rows]
    size = 2 if len(rows) <= _MARKED else 0
    for name, (colour, dash, mark) in _LOOKS.items():
        told = [row[f"{name}_{what}"] for row in rows]
        panel.plot(epochs, told, color=colour, linestyle=dash, linewidth=1, marker=mark, markersize=size, label=name)
    pruned = [now["epoch"] for now, then in zip(rows[1:], rows, strict=False) if now["phase"] != then["phase"]]
    for epoch in pruned:
        panel.axvline(epoch - 0.5, color=GREY, linestyle=":", linewidth=1, label="pruned")


def epoch_jacobian_figure(rows: Rows) -> Figure:
    """The singular values of the network's Jacobian at the epochs that measured it: their range, mean and deviation.

    The grey line is at 1. The scale is logarithmic where values span more than a power of ten, as its label says, and
    "0" is what can't be told from it. Raises SaoError where no epoch has a Jacobian.
    """
    measured = [row for row in rows if row.get("jacobian")]
    if not measured:
        raise SaoError("no epoch has a Jacobian to draw; --jacobian-at 0,last measures some")
    found = [row["jacobian"] for row in measured]
    epochs = np.array([row["epoch"] for row in measured], dtype=np.float64)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
        panel = figure.subplots()
        panel.set_ylabel("singular values")
        logs = np.array([_logs(one) for one in found])
        place = value_axis(panel, np.append(logs.ravel(), 0.0))
        panel.axhline(float(place(np.array(0.0))), color=GREY, linewidth=0.6, zorder=1)
        low, below, mean, above, high = place(logs).T
        panel.vlines(epochs, low, high, color=PALE, linewidth=1, zorder=1)
        panel.vlines(epochs, below, above, color=COLOURS[2], linewidth=2.5, zorder=2, label="± standard deviation")
        for label, heights, colour, mark in zip(
            ("largest", "mean", "least"), (high, mean, low), (ORANGE, COLOURS[2], BLUE), "vs^", strict=True
        ):
            panel.plot(epochs, heights, mark, color=colour, markersize=3.5, label=label, zorder=3)
        jacobian = found[0]
        inputs = f"{jacobian['inputs']} test {'image' if jacobian['inputs'] == 1 else 'images'}"
        _epoch_axis(panel, rows, f"{jacobian['m']} × {jacobian['n']}, at {inputs}")
        add_legend(figure, [panel])
    return figure


def _logs(jacobian: Mapping[str, Any]) -> list[float]:
    """log10 of the least value, the mean less and plus a deviation, and the largest; -inf is 0."""
    mean, std = jacobian["mean"], jacobian["std"]
    low, high = (jacobian[f"log10_sigma_{end}"] for end in ("min", "max"))
    around = [math.log10(value) if value > 0 else -math.inf for value in (mean - std, mean, mean + std)]
    bottom = -math.inf if low is None else low
    return [bottom, max(around[0], bottom), *around[1:], -math.inf if high is None else high]


def _epoch_axis(panel: Axes, rows: Rows, note: str) -> None:
    first = rows[-1]
    panel.set_xlabel(captioned("epoch", f"{first['arch']} on {first['data']}, {first['method']}") + f"\n{note}")
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    last = max(row["epoch"] for row in rows)
    panel.set_xlim(-0.03 * max(last, 1), 1.03 * max(last, 1))
