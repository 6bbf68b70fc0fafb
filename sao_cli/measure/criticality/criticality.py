"""Where signals neither die nor explode: all that mean-field theory tells of a network as it begins, by its depth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from sao_cli.base.errors import SaoError, SaoWarning
from sao_cli.base.names import check
from sao_cli.base.progress import Progress, silent
from sao_cli.catalog import ENSEMBLES
from sao_cli.measure.criticality.correlation import decay_law, fixed_correlation, relaxation
from sao_cli.measure.criticality.few_ones import warn_of_few_ones
from sao_cli.measure.criticality.fixed_points import MARGINAL, FixedVariance, attracting, fixed_variances
from sao_cli.measure.criticality.moments import inactive_share
from sao_cli.measure.criticality.variance_chains import escape_level, escaped, linearised_std, variance_chains
from sao_cli.measure.criticality.variance_map import VarianceMap, check_q_star, edge_of_chaos, sparse_activation
from sao_cli.measure.criticality.verdict import THRESHOLDS, TRAINABLE, Escape, reasons_against, trainable_depth
from sao_cli.measure.layer.activations import ActivationFunction
from sao_cli.reports.criticalities import Criticality, FixedPoint, PredictedJacobian
from sao_cli.reports.frames import Reports

GAUSSIAN = next(iter(ENSEMBLES))


def criticality(
    activation: str | ActivationFunction,
    *,
    activation_sparsity: float | None = None,
    tau: float | None = None,
    clip: float | None = None,
    slope: float | None = None,
    q_star: float = 1.0,
    sigma_w: float | None = None,
    sigma_b: float | None = None,
    depths: Sequence[int] = (30,),
    width: int | None = None,
    weights: str = GAUSSIAN,
    d: int | None = None,
    chains: int = 400,
    seed: int = 0,
    progress: Progress = silent,
) -> Reports[Criticality]:
    """A row a depth: is the network at the edge of chaos, does it stay there, and can it be trained from there?

    The network is h^l = W^l phi(h^{l-1}) + b^l, l = 1 .. depth (all weight matrices, the last among them), whose input
    has a norm such that h^1 has the variance q*. `activation` is an ActivationFunction, or a name with what
    sparse_activation takes. Without `sigma_w` and `sigma_b` they are those of the edge of chaos at `q_star`
    (edge_of_chaos). With both they are examined as they are, at the fixed point that the variance comes to from
    `q_star`; `slope` is still V' at the edge of chaos, and a share of units at 0 that of `q_star`.

    `weights` is one of catalog.ENSEMBLES and `d` the ones in a row of a sparse mask (orthogonal: of an SAO mask): for
    the Jacobian. With a `width`, `chains` networks of that width are followed to the greatest depth (variance_chains,
    exact in law for Gaussian weights); without, nothing that needs a width is told.

    Raises SaoError for what the functions named raise, one of sigma_w and sigma_b alone, sizes below 1, d > width, and
    where the variance has no fixed point to go to. Warns (SaoWarning) where d (1 - s) < 2, as the law of
    pre-activations is then far from normal (with d = 4 and s = 0.857 chi_1 is 0.91 for 1), and where there are other
    fixed points and no width tells how many networks go to them. Milliseconds, and the chains.

    >>> [row] = criticality("cst", activation_sparsity=0.85, slope=0.7, width=300, chains=100)
    >>> row.verdict, round(row.sigma_w, 4), len(row.fixed_points), row.escape
    ('trainable', 2.718, 1, 0.0)
    >>> criticality("relu-tau", activation_sparsity=0.85)[0].verdict
    'half-stable'
    """
    _check_sizes(depths, width, weights, d)
    function = _function(activation, activation_sparsity, tau, clip, slope, q_star)
    variance_map, points, chosen = _examined(function, q_star, sigma_w, sigma_b)
    told = [_fixed_point(variance_map, point) for point in points]
    point = told[points.index(chosen)]
    _warn(point, told, d, width)
    shares, level = [], None
    if width is not None:
        asked: dict[str, Any] = {"depth": max(depths), "width": width, "chains": chains, "seed": seed}
        level = escape_level(points, point.q)
        shares = escaped(variance_chains(variance_map, point.q, **asked, progress=progress), level).tolist()
    law = decay_law(variance_map, point.q)
    own: dict[str, Any] = {name: getattr(point, name) for name in _OF_POINT}
    own |= {"activation": function.name, "tau": function.tau, "clip": function.clip, "q_star": point.q}
    own |= {"sigma_w": variance_map.sigma_w, "sigma_b": variance_map.sigma_b, "fixed_points": tuple(told)}
    own |= {"correlation_law": law.name, "correlation_power": law.power, "kappa": law.kappa}
    own |= {"ensemble": weights, "d": d, "width": width, "chains": None if width is None else chains}
    own |= {"escape_level": level, "trainable_depth": trainable_depth(point, shares), "thresholds": THRESHOLDS}
    spread = 0.0 if weights != GAUSSIAN else 1 + (0.0 if d is None else 1 / d)
    rows = []
    for depth in depths:
        escape = Escape(shares[depth - 1], level, width) if level is not None and width is not None else None
        against = reasons_against(point, len(told) - 1, depth, variance_map.sigma_w, escape)
        rows.append(
            Criticality(
                depth=depth,
                **own,
                **_of_width(variance_map, point.q, depth, escape, chains),
                jacobian=predicted_jacobian(variance_map, point.q, depth, spread),
                verdict=against[0][0] if against else TRAINABLE,
                reasons=tuple(sentence for _, sentence in against),
                trainable=not against,
            )
        )
    return Reports(rows)


_OF_POINT = ("activation_sparsity", "chi_1", "slope", "curvature", "xi_q", "xi_c")


def predicted_jacobian(variance_map: VarianceMap, q: float, depth: int, spread: float = 1.0) -> PredictedJacobian:
    """Mean and relative variance of the squared singular values of `depth` layers, all at the variance q.

    mean chi_1^L, variance L (mu_2/mu_1^2 - 1 + spread), mu_k = E phi'^{2k} (Pennington, Schoenholz and Ganguli 2017);
    `spread` is that of W alone: 1 of Gaussian weights, 0 of orthogonal ones, 1 + 1/d of Gaussian ones on d ones a row.
    """
    found = variance_map.moments(q)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        mean = float((variance_map.sigma_w**2 * found.slope_square) ** depth)
        variance = float(depth * (found.slope_fourth / found.slope_square**2 - 1 + spread))
    return PredictedJacobian(
        mean=mean if math.isfinite(mean) else None, variance=variance if math.isfinite(variance) else None
    )


def _function(
    activation: str | ActivationFunction,
    activation_sparsity: float | None,
    tau: float | None,
    clip: float | None,
    slope: float | None,
    q_star: float,
) -> ActivationFunction:
    if isinstance(activation, str):
        told = {"activation_sparsity": activation_sparsity, "tau": tau, "clip": clip, "slope": slope}
        return sparse_activation(activation, **told, q_star=q_star)
    if given := [one for one in (activation_sparsity, tau, clip, slope) if one is not None]:
        raise SaoError(
            f"{activation} is a function as it is, and {given[0]:g} is of another; name the activation alone"
        )
    return activation


def _examined(
    function: ActivationFunction, q_star: float, sigma_w: float | None, sigma_b: float | None
) -> tuple[VarianceMap, list[FixedVariance], FixedVariance]:
    """The map, its fixed points, and the one of them to look at."""
    if sigma_w is None and sigma_b is None:
        variance_map = edge_of_chaos(function, q_star)
        points = fixed_variances(variance_map, q_star)
        return variance_map, points, min(points, key=lambda point: abs(point.q - q_star))
    if sigma_w is None or sigma_b is None:
        raise SaoError("sigma_w and sigma_b are examined together; give both, or none for the edge of chaos")
    check_q_star(q_star)
    variance_map = VarianceMap(function, float(sigma_w), float(sigma_b))
    points = fixed_variances(variance_map, q_star)
    chosen = attracting(variance_map, points, q_star)
    if chosen is None:
        raise SaoError(
            f"{function} with sigma_w {sigma_w:g} and sigma_b {sigma_b:g}: from q = {q_star:g} the variance of "
            "pre-activations grows without end, or comes to no fixed point; a smaller sigma_w has one"
        )
    return variance_map, points, chosen


def _fixed_point(variance_map: VarianceMap, point: FixedVariance) -> FixedPoint:
    chi_1 = float(variance_map.chi_1(point.q))
    phase = "critical" if abs(chi_1 - 1) <= MARGINAL else "ordered" if chi_1 < 1 else "chaotic"
    return FixedPoint(
        **point._asdict(),
        chi_1=chi_1,
        phase=phase,
        xi_q=None if abs(point.slope - 1) <= MARGINAL else relaxation(point.slope),
        xi_c=decay_law(variance_map, point.q).xi,
        correlation=fixed_correlation(variance_map, point.q) if point.q else 1.0,
        activation_sparsity=float(inactive_share(variance_map.activation, point.q)),
    )


def _of_width(variance_map: VarianceMap, q: float, depth: int, escape: Escape | None, chains: int) -> dict[str, Any]:
    if escape is None:
        return {"q_std": None, "escape": None, "escape_stderr": None}
    q_std = linearised_std(variance_map, q, depth=depth, width=escape.width)
    return {
        "q_std": q_std if math.isfinite(q_std) else None,
        "escape": escape.share,
        "escape_stderr": math.sqrt(escape.share * (1 - escape.share) / chains),
    }


def _check_sizes(depths: Sequence[int], width: int | None, weights: str, d: int | None) -> None:
    check("weights", weights, ENSEMBLES)
    if not depths:
        raise SaoError("no depth; give one at least")
    for name, number in (*(("depth", depth) for depth in depths), ("width", width), ("d", d)):
        if number is not None and number < 1:
            raise SaoError(f"{name} {number}: it is a whole number from 1")
    if d is not None and width is not None and d > width:
        raise SaoError(f"d {d}: a row of a layer of width {width} has no more ones than that")


def _warn(point: FixedPoint, points: Sequence[FixedPoint], d: int | None, width: int | None) -> None:
    if d is not None:
        warn_of_few_ones(d, point.activation_sparsity, n=width, stacklevel=4)
    if width is None and len(points) > 1 and point.stability == "stable":
        warnings.warn(
            f"{len(points)} fixed points: a width tells how many networks leave q* = {point.q:.4g} for another",
            SaoWarning,
            stacklevel=3,
        )
