"""Pictures of masks: their eigenvalues (SAO, Fig. 7) and who reaches whom through a stack of them (Fig. 8)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sao_cli.plots.figure import BLUE, COLUMN, GREY, MAX_PANELS, ORANGE, STYLE, block_means, grid, percent
from sao_cli.reports.masks import Expansion, Reached

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PIXELS = 512  # a larger matrix is averaged to this many blocks a side


class Picturable(Protocol):
    """A matrix that can draw itself small: measure.reach.reachability's."""

    def image(self, size: int) -> NDArray[np.float64]: ...


def eigenvalue_figure(
    found: Sequence[Expansion], singular_values: Sequence[NDArray[np.float64]], exact: Sequence[bool] = ()
) -> Figure:
    """The distribution of the adjacency's eigenvalues, a panel a layer (SAO, Fig. 7).

    `singular_values` holds min(m, n) values a layer: the eigenvalues are they, their negatives, and |m - n| zeros.
    Where `exact` is False they are quantiles of an estimated density, and the panel's title says so.
    Of more than 20 layers the first 20 are drawn, and values are needed for those alone; the picture says so.
    Dashed lines stand at plus and minus the Ramanujan bound; grey marks at plus and minus lambda_1.
    """
    layers = list(zip(found, singular_values, strict=False))[:MAX_PANELS]
    cut = f" (the first {len(layers)} of {len(found)} layers)" if len(found) > len(layers) else ""
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(layers), per_row=2, size=(3.3, 2.3), single=(COLUMN, 2.6))
        for number, (panel, (result, values)) in enumerate(zip(panels, layers, strict=True), 1):
            _eigenvalue_panel(panel, result, values)
            told = "" if all(exact[number - 1 : number]) else ", estimated"
            panel.set_title(f"layer {number}: {result.m} × {result.n}, d = {result.d:.4g}{told}")
        figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, ncols=2, loc="outside upper center")
        figure.supxlabel(f"eigenvalue of the adjacency matrix{cut}", fontsize=8)
        figure.supylabel("fraction of eigenvalues", fontsize=8)
    return figure


def reachability_figure(
    matrices: Sequence[Picturable | NDArray[np.bool_]], depths: Sequence[Reached[Any]], over: str
) -> Figure:
    """The reachability matrix, a panel a depth, inputs as rows and outputs as columns (SAO, Fig. 8).

    Dark where a path exists (`over` "boolean"), or where their number is odd ("f2"). Of more than 20 depths the first,
    the last and evenly spaced ones between are drawn. A matrix wider than 512 is shown by block averages.
    """
    chosen = np.unique(np.linspace(0, len(depths) - 1, min(len(depths), MAX_PANELS)).round().astype(int))
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(chosen), per_row=5, size=(1.42, 1.55), single=(COLUMN, 3.4))
        for panel, at in zip(panels, chosen, strict=True):
            depth = depths[at]
            fraction = depth.reachable if over == "boolean" else depth.odd_paths or 0.0
            extent = (0, depth.outputs, depth.inputs, 0)
            panel.imshow(
                _small(matrices[at]),
                cmap="Blues",
                vmin=0,
                vmax=1,
                aspect="auto",
                interpolation="nearest",
                extent=extent,
            )
            panel.set_box_aspect(min(max(depth.inputs / depth.outputs, 0.5), 2.0))
            panel.set_title(f"N = {depth.layer} ({percent(fraction)})")
            panel.set_xticks([0, depth.outputs])
            panel.set_yticks([0, depth.inputs])
            for spine in panel.spines.values():
                spine.set_visible(True)
        figure.supxlabel("output", fontsize=8)
        figure.supylabel("input", fontsize=8)
        told = "a path through N layers exists" if over == "boolean" else "the number of paths through N layers is odd"
        figure.suptitle(f"Input-output pairs for which {told}", fontsize=9)
    return figure


def _small(matrix: Picturable | NDArray[np.bool_]) -> NDArray[np.float64]:
    return block_means(matrix, PIXELS) if isinstance(matrix, np.ndarray) else matrix.image(PIXELS)


def _eigenvalue_panel(panel: Axes, result: Expansion, values: NDArray[np.float64]) -> None:
    eigenvalues = np.concatenate([values, -values, np.zeros(abs(result.m - result.n))])
    width = (result.bound or result.lambda_1 or 1.0) / 30.5  # zero is a bin's middle, and the bound its edge
    count = math.ceil(1.05 * result.lambda_1 / width)
    bins = ((np.arange(-count - 1, count + 1) + 0.5) * width).tolist()
    weights = np.full(eigenvalues.size, 1 / eigenvalues.size)
    panel.hist(eigenvalues, bins=bins, weights=weights, color=BLUE)
    panel.set_yscale("log")
    panel.set_ylim(0.5 / eigenvalues.size, 1.5)
    if result.bound is not None:
        for at, label in ((result.bound, "± Ramanujan bound"), (-result.bound, None)):
            panel.axvline(at, color=ORANGE, linestyle="--", linewidth=1, label=label)
    marks = [-result.lambda_1, result.lambda_1]
    panel.plot(marks, [1.2, 1.2], "v", color=GREY, markersize=4, label="± largest eigenvalue", clip_on=False)
