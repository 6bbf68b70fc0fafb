"""A field of a sweep against one of its parameters: means over seeds, and from the least to the largest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from sao_cli.base.errors import SaoError
from sao_cli.plots.figure import MAX_CURVES, STYLE, add_legend, brief, captioned, styles
from sao_cli.reports.sweeps import SweepSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 100  # times the least of positive values that the largest is, from which on their axis is logarithmic


def sweep_figure(summaries: Sequence[SweepSummary], against: str | None = None) -> Figure:
    """The means of a sweep's field against a parameter (the first), a curve for each value of the others.

    Bars reach from the least to the largest over the seeds. A parameter of words has its values side by side; numbers
    that range over more than two decades stand on a logarithmic axis. Raises SaoError for over 12 curves.
    """
    against = against if against is not None else next(iter(summaries[0].over), None)
    curves: dict[str, list[SweepSummary]] = {}
    for one in summaries:
        curves.setdefault(_title(one, against), []).append(one)
    if len(curves) > MAX_CURVES:
        raise SaoError(f"{len(curves)} curves are too many for a picture of {MAX_CURVES}; sweep fewer parameters")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.5, 3.0), layout="constrained")
        panel = figure.subplots()
        places = _places(panel, [one.over.get(against, "") for one in summaries]) if against is not None else {"": 0.0}
        looks = styles(curves)
        for rank, (title, points) in enumerate(curves.items()):
            aside = (rank - (len(curves) - 1) / 2) * 0.06 if _words(places) else 0.0
            x = [places[one.over.get(against, "") if against is not None else ""] + aside for one in points]
            _curve(panel, x, points, title if len(curves) > 1 else None, looks[title], joined=not _words(places))
        counts = sorted({one.count for one in summaries})
        runs = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        told = f"mean over {runs} seeds, bars from the least to the largest" if counts[-1] > 1 else "one run a point"
        panel.set_xlabel(captioned(brief(against or ""), told))
        panel.set_ylabel(summaries[0].field)
        add_legend(figure, [panel])
    return figure


def _curve(
    panel: Axes,
    x: Sequence[float],
    points: Sequence[SweepSummary],
    title: str | None,
    look: dict[str, Any],
    joined: bool,
) -> None:
    drawn = sorted(zip(x, points, strict=True), key=lambda pair: pair[0])
    y = [one.mean for _, one in drawn]
    down = [one.mean - one.least for _, one in drawn]
    up = [one.largest - one.mean for _, one in drawn]
    line = {"linestyle": look["linestyle"] if joined else ""}
    panel.errorbar([place for place, _ in drawn], y, yerr=[down, up], label=title, capsize=2, **look | line)


def _title(one: SweepSummary, against: str | None) -> str:
    told = {name: value for name, value in (one.over | one.of).items() if name != against}
    return ", ".join(f"{name} {value}" for name, value in told.items())


def _words(values: Any) -> bool:
    return any(isinstance(value, str) for value in values)


def _places(panel: Axes, values: Sequence[Any]) -> dict[Any, float]:
    """Where each value stands on the axis: words side by side, numbers where they are."""
    distinct = list(dict.fromkeys(values))
    if _words(distinct):
        panel.set_xticks(range(len(distinct)), [brief(str(value)) for value in distinct])
        panel.set_xlim(-0.5, len(distinct) - 0.5)
        return {value: float(place) for place, value in enumerate(distinct)}
    numbers = [float(value) for value in distinct]
    if min(numbers) > 0 and max(numbers) / min(numbers) > WIDE:
        panel.set_xscale("log")
    return dict(zip(distinct, numbers, strict=True))
