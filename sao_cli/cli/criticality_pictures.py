"""What `sao criticality --plot` draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sao_cli.base.errors import SaoError
from sao_cli.base.names import one_of
from sao_cli.catalog import ACTIVATIONS
from sao_cli.cli.shared.activations import CLIPPED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sao_cli.cli.shared.picture_options import PictureFile
    from sao_cli.cli.shared.talk import Talk
    from sao_cli.data.arrays import Values
    from sao_cli.reports.criticalities import Criticality

WIDTH = 300  # the poster's
COBWEBS, CHAINS = 5, 400
STARTS, LAYERS = (1.0, 0.1, 0.01), 300  # 1 - c of the inputs, and how far it is followed
SIDE = 161  # points of the plane's grid a side
OF_CHAINS = ("map", "depth")


def require_drawable(picture: str, plot: PictureFile | None, activation: str) -> None:
    """Raise UsageError for a picture that the activation does not give."""
    if plot is not None and picture == "slope" and "clip" not in ACTIVATIONS[activation].takes:
        raise click.UsageError(
            f"--picture slope is of functions with a --clip, {one_of(CLIPPED)}; {activation} has none"
        )


def draw(rows: Sequence[Criticality], picture: str, file: PictureFile, *, seed: int, talk: Talk) -> None:
    """Write the picture of the network that the rows are of, as deep as the deepest of them.

    Raises SaoError where q dies out, and with it what there is to draw.
    """
    row = max(rows, key=lambda one: one.depth)
    if not row.q_star:
        raise SaoError(f"--picture {picture}: q dies out with this sigma_w and sigma_b; a larger one of them draws it")
    if row.width is None and picture in OF_CHAINS:
        talk.say(f"--picture {picture} is of chains of --width {WIDTH}, as none is named")
    file.save(_FIGURES[picture](row, seed))


def _map(row: Criticality, seed: int) -> Figure:
    from sao_cli.measure.criticality.curves import map_of, variance_curve
    from sao_cli.plots import variance_map_figure

    q, values = variance_curve(map_of(row), [point.q for point in row.fixed_points], row.q_star)
    return variance_map_figure(row, q, values, _chains(row, COBWEBS, seed))


def _phase(row: Criticality, _: int) -> Figure:
    import numpy as np

    from sao_cli.measure.criticality.curves import map_of
    from sao_cli.measure.criticality.phase_plane import edge_curve, fixed_point_counts
    from sao_cli.plots import phase_figure

    function = map_of(row).activation
    sigma_b = np.linspace(0.0, max(2 * row.sigma_b, row.q_star**0.5), SIDE)
    sigma_w = np.linspace(0.0, 2 * row.sigma_w, SIDE)
    edge = edge_curve(function, row.q_star * np.geomspace(1e-3, 1e3, 400))
    counts = fixed_point_counts(function, sigma_w, sigma_b).T
    return phase_figure(row, sigma_b, sigma_w, counts, (edge.sigma_b, edge.sigma_w))


def _slope(row: Criticality, _: int) -> Figure:
    from sao_cli.measure.criticality.curves import map_of, slope_curve
    from sao_cli.measure.criticality.variance_map import edge_of_chaos
    from sao_cli.plots import slope_figure

    function = map_of(row).activation
    curve = slope_curve(function, row.q_star)
    here = float(edge_of_chaos(function, row.q_star).slope(row.q_star))
    return slope_figure(row, *curve, (row.clip or 0.0, here))


def _depth(row: Criticality, seed: int) -> Figure:
    from sao_cli.measure.criticality.curves import map_of
    from sao_cli.measure.criticality.drawn_network import drawn_signals
    from sao_cli.measure.criticality.moments import inactive_share
    from sao_cli.plots import variance_depth_figure

    width, found = row.width or WIDTH, map_of(row)
    chains = _chains(row, row.chains or CHAINS, seed)
    network = drawn_signals(found, row.q_star, depth=row.depth, width=width, seed=seed)
    return variance_depth_figure(row, width, (chains, inactive_share(found.activation, chains)), network)


def _correlation(row: Criticality, _: int) -> Figure:
    from sao_cli.measure.criticality.correlation import correlation_gaps
    from sao_cli.measure.criticality.curves import map_of
    from sao_cli.plots import correlation_figure

    gaps = {start: correlation_gaps(map_of(row), row.q_star, start, max(LAYERS, row.depth)) for start in STARTS}
    return correlation_figure(row, gaps)


def _chains(row: Criticality, count: int, seed: int) -> Values:
    from sao_cli.measure.criticality.curves import map_of
    from sao_cli.measure.criticality.variance_chains import variance_chains

    asked: dict[str, Any] = {"depth": row.depth, "width": row.width or WIDTH, "chains": count, "seed": seed}
    return variance_chains(map_of(row), row.q_star, **asked)


_FIGURES = {"map": _map, "phase": _phase, "slope": _slope, "depth": _depth, "correlation": _correlation}
