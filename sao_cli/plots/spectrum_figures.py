"""Pictures of singular values beside a dense reference's: their distribution (SAO, Figs. 9 and 10), and the KS test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.plots.figure import (
    COLUMN,
    MAX_PANELS,
    PAGE,
    PALE,
    STYLE,
    Style,
    add_legend,
    captioned,
    columns,
    grid,
    styles,
)
from sao_cli.reports.spectra import KSTest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

Values = NDArray[np.float64]

BINS = 16  # at least so many over a panel's values
SMALLEST, LARGEST = 1e-100, 1e100  # past these the axes themselves overflow
FRACTIONS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 1)
LIST = 0.8  # inches: the width of a list of D


@dataclass(frozen=True, eq=False)
class Curve:
    """The singular values of one layer, and what they are of: `values` (k,) in any order, which are kept ascending.

    `exact` False says that they are quantiles of an estimated distribution; a legend then says "approximate".
    Raises SaoError where there are no values, and for one that is no singular value.

    >>> Curve("sao", "linear", np.array([0.5, 1.0]), exact=False).title
    'sao (approximate)'
    """

    label: str
    activation: str
    values: Values
    exact: bool = True

    def __post_init__(self) -> None:
        values = np.sort(np.asarray(self.values, dtype=np.float64), axis=None)
        wrong = values[~((values >= 0) & (values <= LARGEST))]
        if wrong.size or not values.size:
            told = f"the value {wrong[0]:g}" if wrong.size else "no values"
            raise SaoError(
                f"{self.label}, {self.activation}: {told}; a picture needs singular values from 0 to {LARGEST:g}"
            )
        object.__setattr__(self, "values", values)

    @property
    def title(self) -> str:
        """Its name in a legend."""
        return self.label if self.exact else f"{self.label} (approximate)"


def spectrum_figure(curves: Sequence[Curve], references: Sequence[Curve], note: str = "") -> Figure:
    """The fractions of singular values in equal bins, a panel an activation (SAO, Figs. 9 and 10).

    `references` has one for each activation, for some of them, or one for each curve: where an activation has several,
    as the layers of a stack do, they are pooled. The reference is the filled area, and each curve an outline over it.
    0 and 1 are the middles of their bins, so that what is equal but for rounding stays together. The square-root scale
    of the fractions shows a few values beside a mass of them. Of more than 20 activations, or 12 curves in a panel, the
    first are drawn, and the picture says so, as it says how many values a curve has, and the `note`.

    Raises SaoError for no curves, and for more references than activations that are not one for each curve.

    >>> dense = Curve("dense (reference)", "linear", np.ones(8))
    >>> [panel.get_title() for panel in spectrum_figure([Curve("sao", "linear", np.ones(8))], [dense]).axes]
    ['linear']
    """
    beside, looks = _beside(curves, references), styles(curve.title for curve in curves)
    with mpl.rc_context(STYLE):
        figure, panels = _panels(curves, looks, note)
        for activation, panel in panels.items():
            shown = [curve for curve in curves if curve.activation == activation and curve.title in looks]
            against = [beside[curve] for curve in shown if curve in beside]
            _draw_histograms(panel, shown, _distinct(against), looks)
        highest = 1.1 * max(panel.dataLim.y1 for panel in panels.values())
        for panel in panels.values():
            panel.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
            panel.set_ylim(0, highest)
            panel.set_yticks([fraction for fraction in FRACTIONS if fraction <= highest])
            panel.yaxis.set_major_formatter("{x:g}")
        figure.supylabel("fraction of singular values\n(square-root scale)", fontsize=8)
        add_legend(figure, panels.values())
    return figure


def ecdf_figure(
    curves: Sequence[Curve], references: Sequence[Curve], tests: Sequence[KSTest], note: str = ""
) -> Figure:
    """The empirical distribution functions, a panel an activation, and what the KS test measures between them.

    `tests[k]` is the two-sample test of `curves[k]` against its reference; `references` has one for each activation, or
    one for each curve, as for the layers of a stack. D is a vertical segment of that length where it is attained: from
    F(x) to G(x + tol), with the test's `resolution` as tol (see measure.values.ks). Where it is attained over a range,
    as between point masses, the segments of several curves stand apart. Of more than 20 activations, or 12 curves in a
    panel, the first are drawn, and the picture says so, as it says how many values a curve has, and the `note`.
    O(k log k) a curve.

    Raises SaoError for no curves, for one that has no reference or whose test is of other values, and for more
    references than activations that are not one for each curve.

    >>> dense, lmp = Curve("dense (reference)", "linear", np.ones(2)), Curve("lmp", "linear", np.arange(2))
    >>> half = KSTest(
    ...     statistic=0.5, pvalue=1, log10_pvalue=0, n1=2, n2=2, reference="dense", resolution=0, law="exact"
    ... )
    >>> [text.get_text() for text in ecdf_figure([lmp], [dense], [half]).axes[0].texts]
    ['D = 0.5']
    """
    if len(tests) != len(curves):
        raise SaoError(f"{len(curves)} curves and {len(tests)} KS tests; give one test a curve")
    beside, looks = _beside(curves, references), styles(curve.title for curve in curves)
    measured = [_compared(curve, beside.get(curve), test) for curve, test in zip(curves, tests, strict=True)]
    with mpl.rc_context(STYLE):
        figure, panels = _panels(curves, looks, note)
        width = figure.get_figwidth() / columns(len(panels)) - 0.5  # without the labels of the ticks
        for activation, panel in panels.items():
            shown = [one for one in measured if one.curve.activation == activation and one.curve.title in looks]
            _draw_steps(panel, shown, looks, width)
        figure.supylabel("cumulative fraction", fontsize=8)
        add_legend(figure, panels.values())
    return figure


def _draw_histograms(panel: Axes, shown: Sequence[Curve], against: Sequence[Curve], looks: Mapping[str, Style]) -> None:
    drawn = [*shown, *against]
    width = _bin_width(_top(drawn))
    last = max(int(_bins(curve.values, width)[-1]) for curve in drawn)
    edges = (np.arange(last + 2, dtype=np.float64) - 0.5) * width
    if against:
        pooled = np.concatenate([reference.values for reference in against])
        panel.stairs(_fractions(pooled, width, last), edges, fill=True, color=PALE, label=against[0].title)
    for curve in shown:
        xs, ys, marks = _outline(_fractions(curve.values, width, last), edges)
        panel.plot(xs, ys, markevery=marks, label=curve.title, **looks[curve.title])
    panel.set_xlim(edges[0] - width / 2, edges[-1] + width / 2)


def _bin_width(top: float) -> float:
    """For at least BINS bins over [0, top]: 1/4, 1/8, 1/12 and so on, or an odd whole number, so that 1 is a middle."""
    if top < BINS:
        return 1 / (4 * math.ceil(BINS / (4 * top)))
    return 2 * math.ceil(top / (2 * BINS)) - 1


def _fractions(values: Values, width: float, last: int) -> Values:
    """The fraction of the values in each bin, of middles 0, width, ... last*width."""
    return np.bincount(_bins(values, width), minlength=last + 1) / values.size


def _bins(values: Values, width: float) -> NDArray[np.int64]:
    """The nearest multiple of the width; the nudge keeps together what is equal but for rounding on a border too."""
    return np.rint(values / width + 1e-6).astype(np.int64)


def _outline(fractions: Values, edges: Values) -> tuple[Values, Values, list[int]]:
    """The vertices of a histogram's outline, and which of them are the middles of bins that hold something.

    Each bin has three, and an empty one's middle is NaN: no line runs along the axis where nothing is.
    """
    xs = np.stack([edges[:-1], (edges[:-1] + edges[1:]) / 2, edges[1:]], axis=1).ravel()
    ys = np.repeat(fractions, 3)
    ys[1::3][fractions == 0] = np.nan
    return np.r_[edges[0], xs, edges[-1]], np.r_[0, ys, 0], (3 * np.flatnonzero(fractions) + 2).tolist()


class Gap(NamedTuple):
    """Where two empirical CDFs are farthest apart: from `left` on and before `right`, between two heights."""

    left: float
    right: float
    low: float
    high: float


class Compared(NamedTuple):
    """A curve, what it is compared with, and what its test measures."""

    curve: Curve
    reference: Curve
    gap: Gap
    statistic: float


def _compared(curve: Curve, reference: Curve | None, test: KSTest) -> Compared:
    name = f"{curve.label}, {curve.activation}"
    if reference is None:
        raise SaoError(f"{name}: no reference for this activation; the distance drawn is the one to a reference")
    gap = _widest_gap(curve.values, reference.values, test.resolution)
    if abs(gap.high - gap.low - test.statistic) > 1e-9:
        raise SaoError(
            f"{name}: its KS test says {test.statistic:.6g}, and the values drawn are {gap.high - gap.low:.6g} from "
            f"{reference.label}; give each curve the test of its own values, and the reference of that test"
        )
    return Compared(curve, reference, gap, test.statistic)


def _widest_gap(a: Values, b: Values, resolution: float) -> Gap:
    """Where D = max over x of F(x) - G(x + tol) and G(x) - F(x + tol) is attained; values ascending. O(k log k)."""
    return max(_lead(a, b, resolution), _lead(b, a, resolution), key=lambda gap: gap.high - gap.low)


def _lead(first: Values, second: Values, resolution: float) -> Gap:
    """Where F(x) - G(x + tol) is largest: from a value of `first`, where F rises, to the next where G does."""
    reached = np.searchsorted(first, first, side="right")
    passed = np.searchsorted(second, first + resolution, side="right")
    best = int(np.argmax(reached * second.size - passed * first.size))
    low, high = passed[best] / second.size, reached[best] / first.size
    if low >= high:  # F never leads
        return Gap(first[best], first[best], high, high)
    return Gap(first[best], second[passed[best]] - resolution, low, high)


def _draw_steps(panel: Axes, shown: Sequence[Compared], looks: Mapping[str, Style], width: float) -> None:
    against = _distinct([one.reference for one in shown])
    top = _top([*against, *(one.curve for one in shown)])
    start, stop = -0.04 * top, 1.04 * top
    for reference in against:
        panel.plot(*_staircase(reference.values, start, stop), color=PALE, linewidth=3, label=reference.title)
    lines = []
    for rank, (curve, _, gap, _) in enumerate(shown, 1):
        part = rank / (len(shown) + 1)  # what curves may share, each marks at another place
        xs, ys = _staircase(curve.values, start, stop)
        marks = np.unique(np.searchsorted(ys, (np.arange(4) + part) / 4)).tolist()
        lines += panel.plot(xs, ys, markevery=marks, label=curve.title, **looks[curve.title])
        if gap.high > gap.low:
            at = [gap.left + part * (gap.right - gap.left)] * 2
            color, thick = lines[-1].get_color(), 2 - 1.2 * part  # a thinner one over a thicker one shows both
            panel.plot(at, [gap.low, gap.high], color=color, marker="_", linewidth=thick, zorder=5 + part)
    panel.set_xlim(start, stop)
    ticks = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, top)
    panel.set_xticks([tick for tick in ticks if 0 <= tick <= stop])
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    panel.yaxis.set_major_formatter("{x:g}")
    if len(shown) == 1 and shown[0].statistic > 0:
        _write_beside(panel, shown[0].gap, shown[0].statistic)
    else:
        _list_statistics(panel, lines, [one.statistic for one in shown], width)


def _staircase(values: Values, start: float, stop: float) -> tuple[Values, Values]:
    """The vertices of the empirical CDF of ascending `values`, from `start` to `stop`; equal values are one step."""
    at, counts = np.unique(values, return_counts=True)
    heights = np.cumsum(counts) / values.size
    return np.r_[start, np.repeat(at, 2), stop], np.r_[0, 0, np.repeat(heights, 2)]


def _write_beside(panel: Axes, gap: Gap, statistic: float) -> None:
    """D beside its segment, on the side where there is more room."""
    at = (gap.left + gap.right) / 2
    left = at > np.mean(panel.get_xlim())
    panel.annotate(
        f"D = {statistic:.2g}",
        (at, (gap.low + gap.high) / 2),
        xytext=(-5 if left else 5, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        bbox={"color": "white", "pad": 0.5},
    )


def _list_statistics(panel: Axes, lines: Sequence[Line2D], statistics: Sequence[float], width: float) -> None:
    """The D of each curve in a list beside the curves, for which axes of so many inches make room."""
    start, stop = panel.get_xlim()
    panel.set_xlim(start, start + (stop - start) * width / (width - LIST))
    panel.spines["bottom"].set_bounds(start, stop)
    panel.legend(
        lines,
        [f"D = {statistic:.2g}" for statistic in statistics],
        loc="lower right",
        frameon=False,
        fontsize=7,
        handlelength=1.5,
        handletextpad=0.4,
        labelspacing=0.2,
        borderpad=0,
        borderaxespad=0,
    )


def _panels(curves: Sequence[Curve], looks: Mapping[str, Style], note: str) -> tuple[Figure, dict[str, Axes]]:
    """A panel an activation, of that title, in the order in which the curves bring them; the x axis tells of cuts."""
    if not curves:
        raise SaoError("no singular values to draw; name at least one layer and one activation")
    shown = list(dict.fromkeys(curve.activation for curve in curves if curve.title in looks))[:MAX_PANELS]
    per_row = columns(len(shown))
    tall = 0.75 + 0.13 * len(looks)  # a list of D needs no less
    size = (PAGE / per_row, max(2.3 if per_row == 2 else 1.9, tall))
    figure, axes = grid(len(shown), per_row, size=size, single=(COLUMN, max(2.6, tall)))
    for activation, panel in zip(shown, axes, strict=True):
        panel.set_title(activation)
        panel.locator_params(axis="x", nbins=5)
        panel.xaxis.set_major_formatter("{x:g}")
    activations, titles = {curve.activation for curve in curves}, {curve.title for curve in curves}
    parts = ((len(shown), len(activations), "activations"), (len(looks), len(titles), "curves"))
    cuts = [f"the first {drawn} of {given} {what}" for drawn, given, what in parts if drawn < given]
    counts = sorted({curve.values.size for curve in curves})
    told = f"n = {counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "") + " values a curve"
    label = f"singular value ({', '.join(cuts)})" if cuts else "singular value"
    figure.supxlabel(captioned(label, told, note), fontsize=8)
    return figure, dict(zip(shown, axes, strict=True))


def _top(curves: Iterable[Curve]) -> float:
    """The largest value, or 1 where all are nothing."""
    top = max(float(curve.values[-1]) for curve in curves)
    return top if top > SMALLEST else 1.0


def _beside(curves: Sequence[Curve], references: Sequence[Curve]) -> dict[Curve, Curve]:
    """The reference of each curve that has one."""
    if [reference.activation for reference in references] == [curve.activation for curve in curves]:
        return dict(zip(curves, references, strict=True))
    found = {reference.activation: reference for reference in references}
    if len(found) < len(references):
        raise SaoError(
            f"{len(references)} references for {len(found)} activations and {len(curves)} curves; "
            "give one for each activation, or one for each curve in the same order"
        )
    return {curve: found[curve.activation] for curve in curves if curve.activation in found}


def _distinct(references: Iterable[Curve]) -> list[Curve]:
    return list({reference.values.tobytes(): reference for reference in references}.values())
