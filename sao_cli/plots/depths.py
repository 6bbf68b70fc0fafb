"""The mean and the variance of a deep network's singular values against its depth (SAO, Fig. 11)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sao_cli.data.precision import PRECISIONS
from sao_cli.plots.depth_rows import COMPRESSED, PowerAxis, by_line, depth_axis, told_of
from sao_cli.plots.figure import COLUMN, GREY, MAX_CURVES, PAGE, STYLE, Style, add_legend, captioned, styles
from sao_cli.reports.networks import DepthJacobian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]

Moments = tuple[float, float]  # log10 of a mean and of a variance; -inf is 0, and NaN is not known

MARKED = 25  # lines of more depths are marked at eight of them
PREDICTION = "≈ mean field"
UNKNOWN = (math.nan, math.nan)


class Quantity(NamedTuple):
    """One quantity of one line, log10, at each depth: measured and predicted."""

    depths: Values
    measured: Values
    predicted: Values


def depth_figure(rows: Sequence[DepthJacobian], by_layer: bool = False) -> Figure:
    """The mean of the singular values, and below it their variance, against depth, a line a method (SAO, Fig. 11).

    A line is named after its method, and its activation, gain and width where the rows have several. More than 12
    lines of several activations stand apart, two panels an activation; what is still too much is left out, and the
    picture says so. Marks stand at the depths given, or at eight of them where they are more than 25.

    Where values span more than a power of ten the axis is logarithmic, and PowerAxis tells how; a mark at "0", below
    its powers, is a value of 0. Where a row's mean or variance left float64, its logarithm is taken from the row's
    `log10_values`, and it is drawn where it belongs. A variance that rounding alone could have made is 0: one whose
    standard deviation is at most 10 sqrt(max(m, n) depth) eps(dtype) of the mean.

    With `by_layer` each row is of one layer alone, and the axis says so.

    Dotted is what mean-field theory predicts, where the rows have it and as far as two moments tell; see
    `predicted_moments`. The grey line is at 1.

    Raises SaoError for no rows, a depth below 1, and values that are no logarithms. O(k) for k values in all.

    >>> from sao_cli.nets.jacobians.chain import network_jacobian
    >>> from sao_cli.weights.build_weights import weight_stack
    >>> rows = list(network_jacobian(weight_stack([16] * 6, d=4), "tanh"))
    >>> [panel.get_ylabel() for panel in depth_figure(rows).axes]
    ['mean singular value', 'variance of singular values']
    """
    groups = by_line(rows, most=MAX_CURVES)
    names = list(dict.fromkeys(name for lines in groups.values() for name in lines))
    looks = styles(names)
    drawn = list(groups.items())[:MAX_CURVES]
    parts = ((len(drawn), len(groups), "activations"), (len(looks), len(names), "lines"))
    cuts = [f"the first {shown} of {given} {what}" for shown, given, what in parts if shown < given]
    with mpl.rc_context(STYLE):
        figure, pairs, width = _pairs(len(drawn))
        for (title, lines), (mean, variance) in zip(drawn, pairs, strict=True):
            mean.set_title(title)
            mean.tick_params(labelbottom=False)
            shown = {name: line for name, line in lines.items() if name in looks}
            _draw(mean, {name: _quantity(line, 0) for name, line in shown.items()}, looks, width, at=[0.0])
            _draw(variance, {name: _quantity(line, 1) for name, line in shown.items()}, looks, width)
        axis, size = told_of(rows, by_layer)
        figure.supxlabel(captioned(f"{axis} ({', '.join(cuts)})" if cuts else axis, size), fontsize=8)
        add_legend(figure, [mean for mean, _ in pairs])
    return figure


def predicted_moments(log10_mean_square: float, relative_variance: float) -> Moments:
    """log10 of the mean and of the variance of singular values whose squares have these two moments; -inf is 0.

    Two moments leave the law open. Taken is the one with S-transform exp(-v z)/mu, for the mean mu and the relative
    variance v of the squares: that of free multiplicative Brownian motion (Biane 1997), the limit of products of many
    free factors near 1. By Haagerup and Moeller's formula for powers (2013) its singular values have the mean
    sqrt(mu) exp(-v/4) (I_0(v/4) + I_1(v/4)). Other laws come near it as v grows; at v = 1 they may be far: one Gaussian
    layer has 0.849 sqrt(mu) and a ReLU after an orthogonal one 0.707 sqrt(mu), where this gives 0.889.

    >>> round(10 ** predicted_moments(0.0, 1.0)[0], 3)
    0.889
    """
    from scipy.special import ive

    scaled = float(ive(0, relative_variance / 4) + ive(1, relative_variance / 4))
    # 1 - scaled^2 is v/4 to first order, and all rounding where that is small
    variance = relative_variance / 4 if relative_variance < 1e-6 else 1 - scaled**2
    return log10_mean_square / 2 + _log10(scaled), log10_mean_square + _log10(variance)


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf


def _quantity(line: Sequence[DepthJacobian], which: int) -> Quantity:
    """The means (0) or variances (1) of a line."""
    return Quantity(
        np.array([row.depth for row in line], dtype=np.float64),
        np.array([_measured(row)[which] for row in line]),
        np.array([_predicted(row)[which] for row in line]),
    )


def _measured(row: DepthJacobian) -> Moments:
    """What the row tells, and of what left float64, above or below, the logarithm from its values."""
    top = float(row.log10_values.max())
    if top == -math.inf:
        return -math.inf, -math.inf
    scaled = 10.0 ** (row.log10_values - top)
    mean = _log10(row.mean) if row.mean else top + _log10(float(scaled.mean()))
    variance = _log10(row.variance) if row.variance else 2 * top + _log10(float(scaled.var()))
    return mean, variance if variance - 2 * mean > 2 * _log10(_resolution(row)) else -math.inf


def _predicted(row: DepthJacobian) -> Moments:
    square, spread = row.predicted_log10_mean_square, row.predicted_relative_variance
    if square is None or spread is None or not math.isfinite(square + spread):
        return UNKNOWN
    return predicted_moments(square, spread if spread > _resolution(row) else 0.0)


def _resolution(row: DepthJacobian) -> float:
    """What rounding in so many layers may add to a singular value, relative to it."""
    return 10 * math.sqrt(max(row.m, row.n) * row.depth) * PRECISIONS[row.dtype]


def _pairs(count: int) -> tuple[Figure, list[tuple[Axes, Axes]], float]:
    """A figure of `count` panels of means, each over one of variances, and their width; one pair fills a column."""
    per_row = count if count <= 4 else 3 if count <= 6 else 4
    rows = math.ceil(count / per_row)
    size = (COLUMN, 3.8) if count == 1 else (PAGE, 2.6 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2 * rows, per_row, squeeze=False)
    pairs = list(zip(grid[::2].flat, grid[1::2].flat, strict=True))
    for number, (mean, variance) in enumerate(pairs):
        if number >= count:
            mean.remove()
            variance.remove()
        elif number % per_row == 0:
            mean.set_ylabel("mean singular value" if count == 1 else "mean")
            variance.set_ylabel("variance of singular values" if count == 1 else "variance")
    if count > 1:
        figure.supylabel("mean and variance of the singular values", fontsize=8)
    return figure, pairs[:count], size[0] / per_row - 0.6  # without the labels of the ticks


def _draw(
    panel: Axes, lines: Mapping[str, Quantity], looks: Mapping[str, Style], width: float, at: Sequence[float] = ()
) -> None:
    depth_axis(panel, np.concatenate([line.depths for line in lines.values()]), width)
    drawn = np.concatenate([at, *([*line.measured, *line.predicted] for line in lines.values())])
    place = value_axis(panel, drawn[~np.isnan(drawn)])
    for level in at:
        panel.axhline(float(place(np.array(level))), color=GREY, linewidth=0.6, zorder=1)
    for rank, (name, line) in enumerate(lines.items()):
        count = len(line.depths)
        step = 1 if count <= MARKED else math.ceil(count / 8)
        start = rank * step // len(lines)  # what lines may share, each marks at another depth
        panel.plot(line.depths, place(line.measured), markevery=(start, step), label=name, **looks[name])
        if not np.isnan(line.predicted).all():
            dots = {"color": looks[name]["color"], "linestyle": ":", "linewidth": 0.8, "zorder": 5}
            panel.plot(line.depths, place(line.predicted), marker="_" if count == 1 else "", **dots)
    if len(panel.lines) > len(at) + len(lines):
        panel.plot([], [], color="black", linestyle=":", linewidth=0.8, label=PREDICTION)


def value_axis(panel: Axes, logs: Values) -> Callable[[Values], Values]:
    """Fit the y axis to values of these log10, name its scale, and return where a value of some log10 stands on it."""
    finite = logs[np.isfinite(logs)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if high - low <= 1 and low >= -3 and high <= 4:
        panel.set_ylim(-0.04 * 10**high, 1.1 * 10**high)
        panel.yaxis.set_major_formatter("{x:g}")
        return lambda logs: np.power(10.0, logs)
    if high - low < 3:
        low = math.floor(low)
        high = max(math.ceil(high), low + 1)
    axis = PowerAxis(low, high)
    start, stop = axis.ends
    margin = 0.05 * (stop - start)
    zero = start - 3 * margin if finite.size < logs.size else None
    lowest = start if zero is None else zero
    panel.set_ylim(lowest - margin, stop + margin)
    axis.set_ticks(panel, zero)
    if (named := panel.get_ylabel()) or axis.scale == COMPRESSED:
        panel.set_ylabel(f"{named}\n({axis.scale})" if named else axis.scale)
    return lambda logs: np.where(np.isneginf(logs), lowest, axis.place(logs))
