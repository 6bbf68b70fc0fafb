"""Pictures of what pruning left: sparsity by layer, the first layer's inputs as an image, and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.plots.figure import (
    BLUE,
    COLUMN,
    MAX_PANELS,
    NAMED,
    ORANGE,
    STYLE,
    add_legend,
    block_means,
    brief,
    grid,
    name_layers,
    percent,
)
from sao_cli.reports.changes import PrunedWeight

_PIXELS = 256  # what half a column shows of a mask's side
_CHANNELS = 3  # of images in colour


class MaskImage(NamedTuple):
    """A mask as a picture shows it: `image`, shares of what is left in blocks of equal size, at most 256 a side."""

    shape: tuple[int, ...]
    left: int
    image: NDArray[np.float64]

    @classmethod
    def of(cls, mask: NDArray[Any]) -> MaskImage:
        """The image of `mask` (outputs, inputs, ...), True or not zero where a weight is left.

        Of kernels (c_out, c_in, ...) the means over their taps. O(numbers).
        """
        left: NDArray[Any] = np.asarray(mask) != 0
        taps = tuple(range(2, left.ndim))
        image = block_means(left.mean(axis=taps) if taps else left, _PIXELS)
        return cls(left.shape, int(np.count_nonzero(left)), image)


def layer_sparsity_figure(rows: Sequence[PrunedWeight]) -> Figure:
    """The sparsity of each pruned weight, and its effective sparsity beside it where all of them have one.

    Where more than 12 layers are drawn they are numbered from 0.
    """
    layers = [row for row in rows if row.kind != "bias"]
    shares = {"sparsity": [float(row.after["sparsity"]) for row in layers]}
    effective = [row.effective_sparsity for row in layers]
    if (known := [share for share in effective if share is not None]) and len(known) == len(layers):
        shares["effective sparsity"] = known
    with mpl.rc_context(STYLE):
        height = 0.75 + (0.16 + 0.12 * (len(shares) - 1)) * min(max(len(layers), 3), 20)
        figure = Figure(figsize=(COLUMN, height), layout="constrained")
        panel = figure.subplots()
        for rank, ((label, values), colour) in enumerate(zip(shares.items(), (BLUE, ORANGE), strict=False)):
            thick = 0.8 / len(shares)
            places = np.arange(len(layers)) + (rank - (len(shares) - 1) / 2) * thick
            bars = panel.barh(places, values, thick, color=colour, label=label)
            if len(layers) <= NAMED:
                panel.bar_label(bars, [percent(value) for value in values], padding=2, fontsize=6.5)
        name_layers(panel, [row.name for row in layers])
        panel.set_ylim(len(layers) - 0.5, -0.5)
        panel.set_xlabel("share of the layer's weights")
        panel.set_xlim(0, 1)
        add_legend(figure, [panel])
    return figure


def input_image_figure(mask: NDArray[Any], image: int | tuple[int, ...] | None = None, name: str = "") -> Figure:
    """The mask (outputs, inputs) of a first layer summed over its outputs, as an image of its inputs.

    White are inputs that no output reads. `image` is as image_sides has it, the title the `name` and what is left.
    """
    left: NDArray[Any] = np.asarray(mask) != 0
    counts = np.count_nonzero(left, axis=0)
    sides = image_sides(counts.size, image)
    with mpl.rc_context(STYLE):
        figure, panels = grid(sides[0], 3, (COLUMN / 3, 1.25), (COLUMN, 2.8))
        most = max(int(counts.max()), 1)
        for channel, (panel, one) in enumerate(zip(panels, counts.reshape(sides), strict=True), 1):
            drawn = panel.imshow(one, cmap="Blues", vmin=0, vmax=most, interpolation="nearest")
            for axis in (panel.xaxis, panel.yaxis):
                axis.set_major_locator(MaxNLocator(2 if sides[0] > 1 else 5, integer=True))
            _frame(panel)
            panel.set_xlabel("column")
            if sides[0] > 1:
                panel.set_title(f"channel {channel}")
                panel.tick_params(labelleft=channel == 1)
        bar = figure.colorbar(drawn, ax=panels, shrink=0.9, ticks=MaxNLocator(5, integer=True))
        bar.set_label(f"outputs that read it, of {len(left)}")
        panels[0].set_ylabel("row of the input")
        figure.suptitle(f"{brief(name) or 'first layer'}, {percent(counts.sum() / left.size)} left", fontsize=8)
    return figure


def class_image_figure(masks: Mapping[str, NDArray[Any]], image: int | tuple[int, ...] | None = None) -> Figure:
    """First-layer masks (outputs, inputs), by what was scored, summed over outputs: images of one scale of colours.

    Each is as in input_image_figure, but that channels are summed too.
    """
    lefts = {title: np.asarray(mask) != 0 for title, mask in masks.items()}
    counts = {title: np.count_nonzero(left, axis=0) for title, left in lefts.items()}
    outputs, inputs = next(iter(lefts.values())).shape
    sides = image_sides(inputs, image)
    most = max(1, *(int(one.reshape(sides).sum(axis=0).max()) for one in counts.values()))
    with mpl.rc_context(STYLE):
        figure, panels = grid(len(lefts), 4, (COLUMN / 4, 1.2), (COLUMN, 2.8))
        for panel, (title, one) in zip(panels, counts.items(), strict=True):
            summed = one.reshape(sides).sum(axis=0)
            drawn = panel.imshow(summed, cmap="Blues", vmin=0, vmax=most, interpolation="nearest")
            panel.set_xticks([])
            panel.set_yticks([])
            _frame(panel)
            panel.set_title(f"{title}\n{percent(one.sum() / lefts[title].size)} left", fontsize=6.5, pad=2)
        bar = figure.colorbar(drawn, ax=panels, location="bottom", aspect=40, ticks=MaxNLocator(5, integer=True))
        bar.set_label(f"weights left that read the pixel, of {outputs * sides[0]}")
    return figure


def image_sides(inputs: int, image: int | tuple[int, ...] | None = None) -> tuple[int, int, int]:
    """Channels, height and width of the image that so many inputs are.

    `image` is its height and width, one number where they are equal; None guesses a square. Either has one channel, or
    3 that lie one after another. Raises SaoError for inputs that are no such image.

    >>> image_sides(784), image_sides(3072), image_sides(48, (6, 8))
    ((1, 28, 28), (3, 32, 32), (1, 6, 8))
    """
    if image is None:
        for channels in (1, _CHANNELS):
            side = math.isqrt(inputs // channels)
            if channels * side**2 == inputs:
                return channels, side, side
        raise SaoError(f"the first layer's {inputs} inputs are no square, nor 3 of them; say what image: --image HxW")
    height, width = (image, image) if isinstance(image, int) else image if len(image) == 2 else (0, 0)
    channels = inputs // max(height * width, 1)
    if channels not in (1, _CHANNELS) or channels * height * width != inputs:
        told = "x".join(map(str, (image,) if isinstance(image, int) else image))
        raise SaoError(
            f"--image {told}: the first layer has {inputs} inputs; give height and width, HxW, of as many pixels, or "
            "of a third of them, of 3 channels"
        )
    return channels, height, width


def mask_image_figure(masks: Mapping[str, MaskImage], of: int | None = None) -> Figure:
    """Each mask as an image, a panel each, outputs as rows and inputs as columns; dark is what is left.

    Where one is larger than the pixels, or has kernels, a point is the share that is left there, and from 1.5 times the
    mean of those where any is left it is darkest. Of more than 20 masks, which `of` counts, the first 20 are drawn; the
    picture says so.
    """
    count = len(masks) if of is None else of
    drawn = dict(list(masks.items())[:MAX_PANELS])
    cut = f" (the first {len(drawn)} of {count} layers)" if count > len(drawn) else ""
    with mpl.rc_context(STYLE):
        tallest = max(map(_height, drawn.values()))
        figure, panels = grid(
            len(drawn), 2 if len(drawn) <= 6 else 4, (COLUMN / 2, 0.45 + 1.15 * tallest), (COLUMN, 0.6 + 2.5 * tallest)
        )
        for panel, (name, mask) in zip(panels, drawn.items(), strict=True):
            _mask_panel(panel, name, mask)
        figure.supxlabel(f"input{cut}", fontsize=8)
        figure.supylabel("output", fontsize=8)
    return figure


def _mask_panel(panel: Axes, name: str, mask: MaskImage) -> None:
    m, n = mask.shape[:2]
    told: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest", "extent": (0, n, m, 0)}
    shares = mask.image[mask.image > 0]
    darkest = min(1.5 * float(shares.mean()), 1.0) if shares.size else 1.0
    panel.imshow(mask.image, cmap="Blues", vmin=0, vmax=darkest, **told)
    panel.set_box_aspect(_height(mask))
    sizes = " × ".join(map(str, mask.shape))
    panel.set_title(f"{brief(name)}\n{sizes}, {percent(mask.left / math.prod(mask.shape))} left", fontsize=6.5)
    panel.set_xticks([0, n])
    panel.set_yticks([0, m])
    _frame(panel)


def _height(mask: MaskImage) -> float:
    """Of its panel, for a width of 1."""
    m, n = mask.shape[:2]
    return min(max(m / n, 0.5), 1.0)


def _frame(panel: Axes) -> None:
    for spine in panel.spines.values():
        spine.set_visible(True)
