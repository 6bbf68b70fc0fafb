"""What pictures of deep Jacobians share: the rows by line, and axes of depths and of powers of ten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.reports.networks import DepthJacobian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]
Lines = dict[str, list[DepthJacobian]]

FEW = 8  # depths: each has its own tick
EVEN = 12  # powers of ten of equal steps
COMPRESSED = "log scale, compressed away from 1"
TENS = [sign * 10**power for power in range(1, 5) for sign in (-1, 1)]
TICKS = ([0, -1, 1, -3, 3, *TENS, *(3 * exponent for exponent in TENS)], [0, -1, 1, *TENS], [0, *TENS])  # of more
APART = 0.09  # of the axis, from one tick to the next at least


def by_line(rows: Sequence[DepthJacobian], most: int | None = None) -> dict[str, Lines]:
    """The rows of each line of each panel, by ascending depth; panels and lines in the order of the rows.

    A line is named after its method, and its activation and gain where there are several, and its width where there
    are several at one depth; a panel after its activation, where it has only one. More than `most` lines of several
    activations have a panel an activation.
    Raises SaoError for no rows, a depth below 1, and values that are no logarithms.
    """
    if not rows:
        raise SaoError("no Jacobian to draw; give at least one depth of one method")
    for row in rows:
        _check(row)
    points = {(row.method, row.activation, row.gain, row.depth, row.n) for row in rows}
    activations, gains = len({row.activation for row in rows}) > 1, len({row.gain for row in rows}) > 1
    widths = len(points) > len({point[:-1] for point in points})  # not where the layers of one stack have several
    lines = {(*point[:3], point[-1] if widths else 0) for point in points}
    apart = activations and most is not None and len(lines) > most
    panels: dict[str, Lines] = {}
    for row in rows:
        parts = (
            (row.activation, activations and not apart),
            (f"gain {row.gain:g}", gains),
            (f"n = {row.n}", widths),
        )
        name = ", ".join([row.method, *(part for part, told in parts if told)])
        panel = panels.setdefault(row.activation if apart or not activations else "", {})
        panel.setdefault(name, []).append(row)
    for panel in panels.values():
        for line in panel.values():
            line.sort(key=lambda row: row.depth)
    return panels


def _check(row: DepthJacobian) -> None:
    if row.depth < 1:
        raise SaoError(f"{row.method}, {row.activation}: depth {row.depth}; a network has one layer or more")
    values = row.log10_values
    wrong = values[np.isnan(values) | (values == np.inf)]
    if wrong.size or not values.size:
        told = f"the log10 value {wrong.flat[0]}" if wrong.size else "no values"
        raise SaoError(
            f"{row.method}, {row.activation}, depth {row.depth}: {told}; a picture needs logarithms of singular "
            "values, -inf where they are 0"
        )


def told_of(rows: Sequence[DepthJacobian], by_layer: bool) -> tuple[str, str]:
    """The name of the axis of depths, and how large the networks are and at how many inputs."""
    widths, inputs = sorted({row.n for row in rows}), sorted({row.inputs for row in rows})
    width, count = (f"{one[0]:,}" + (f" to {one[-1]:,}" if len(one) > 1 else "") for one in (widths, inputs))
    size = f"n = {width}, at {count} {'input' if inputs == [1] else 'inputs'}"
    return ("layer, each alone" if by_layer else "depth"), size


def is_geometric(depths: Values) -> bool:
    """Whether the depths, ascending and distinct, stand more evenly by their logarithms: 1, 10, 100; not 1, 2, 3."""
    return len(depths) > 2 and _widest_step(np.log(depths)) < _widest_step(depths)


def _widest_step(at: Values) -> float:
    return float(np.diff(at).max() / (at[-1] - at[0]))


def depth_axis(panel: Axes, depths: Iterable[float], width: float) -> None:
    """Fit the x axis, of so many inches, to the depths: logarithmic where they are geometric, a tick each if few."""
    at = np.unique(np.fromiter(depths, dtype=np.float64))
    geometric = is_geometric(at)
    panel.set_xscale("log" if geometric else "linear")
    places = np.log(at) if geometric else at
    margin = 0.04 * (places[-1] - places[0]) or 0.5
    ends = np.array([places[0] - margin, places[-1] + margin])
    panel.set_xlim(*(np.exp(ends) if geometric else ends))
    if len(at) <= FEW:
        ticks = at[legible(places, at, width / (ends[1] - ends[0]))]
        panel.xaxis.set_major_locator(FixedLocator(ticks.tolist()))
        panel.xaxis.set_minor_locator(FixedLocator(at.tolist()))
    else:
        panel.xaxis.set_major_locator(LogLocator(10) if geometric else MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        if not geometric:
            panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")


def legible(places: Values, depths: Sequence[float] | Values, inches: float) -> list[int]:
    """Which depths have room for a label at the ascending places, a unit being so many inches; the last one first."""
    halves = [0.02 + 0.0355 * len(f"{depth:g}") for depth in depths]  # of the labels' widths
    kept = [len(places) - 1]
    for index in range(len(places) - 2, -1, -1):
        if (places[kept[-1]] - places[index]) * inches >= halves[kept[-1]] + halves[index]:
            kept.append(index)
    return kept[::-1]


@dataclass(frozen=True)
class PowerAxis:
    """A y axis of powers of ten that holds the exponents from `low` to `high`.

    Up to 12 powers apart are even steps. Of more, the farther from 10^0 the closer they stand, as arcsinh(exponent): a
    value that shrinks by hundreds of powers leaves those near 1 apart.
    """

    low: float
    high: float

    def place(self, exponents: Values) -> Values:
        """Where they stand."""
        return np.arcsinh(exponents) if self.high - self.low > EVEN else exponents

    @property
    def scale(self) -> str:
        """What an axis's label says of it."""
        return COMPRESSED if self.high - self.low > EVEN else "log scale"

    @property
    def ends(self) -> tuple[float, float]:
        """Where the lowest and the highest stand."""
        low, high = self.place(np.array([self.low, self.high])).tolist()
        return low, high

    def set_ticks(self, panel: Axes, zero: float | None = None) -> None:
        """The powers that have a tick; and one that says 0, at `zero`."""
        span = self.high - self.low
        if span > EVEN:
            exponents = next(filter(self._are_apart, map(self._within, TICKS)), [0])
        else:
            exponents = self._within(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]).tick_values(self.low, self.high))
        places = self.place(np.array(exponents, dtype=np.float64)).tolist()
        labels = [rf"$10^{{{exponent}}}$" for exponent in exponents]
        panel.set_yticks(places if zero is None else [zero, *places], labels if zero is None else ["0", *labels])
        if span <= 3:
            minor = np.add.outer(np.arange(np.floor(self.low), np.ceil(self.high)), np.log10(np.arange(2, 10))).ravel()
            panel.set_yticks(minor[(minor >= self.low) & (minor <= self.high)].tolist(), minor=True)

    def _within(self, exponents: Iterable[float]) -> list[int]:
        return sorted(round(exponent) for exponent in exponents if self.low - 1e-9 <= exponent <= self.high + 1e-9)

    def _are_apart(self, exponents: Sequence[int]) -> bool:
        low, high = self.ends
        return bool((np.diff(self.place(np.array(exponents, dtype=np.float64))) >= APART * (high - low)).all())
