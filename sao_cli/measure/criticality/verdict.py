"""Whether a network of some depth can be trained from where it begins, and all that stands against it."""

from __future__ import annotations

import math
from typing import NamedTuple

from sao_cli.measure.criticality.fixed_points import MARGINAL
from sao_cli.reports.criticalities import CriticalityThresholds, FixedPoint

THRESHOLDS = CriticalityThresholds(correlation_lengths=6.0, escape=0.01, activation_sparsity=0.85, margin=MARGINAL)
TRAINABLE = "trainable"
_ROUNDING = 1e-9  # of an activation sparsity that was asked for


class Escape(NamedTuple):
    """Of networks of a width: the share that left q* by some depth, and past which q they have."""

    share: float
    level: float
    width: int


def reasons_against(
    point: FixedPoint, others: int, depth: int, sigma_w: float, escape: Escape | None
) -> list[tuple[str, str]]:
    """(verdict, sentence) for all that stands against training at `point` with `depth` layers, the worst first.

    `others` is the number of other fixed points. Thresholds are THRESHOLDS.
    """
    each = (_of_stability(point, escape), _of_escape(point, others, escape), _of_phase(point, depth))
    return [reason for reason in (*each, _of_sparsity(point, depth, sigma_w, escape)) if reason]


def trainable_depth(point: FixedPoint, shares: list[float]) -> int | None:
    """The least of 6 xi_c and the depth at which the share of escaped chains, one a depth, passes its threshold."""
    limits = [depth for depth, share in enumerate(shares, 1) if share > THRESHOLDS.escape][:1]
    if point.xi_c is not None:
        limits.append(math.floor(THRESHOLDS.correlation_lengths * point.xi_c))
    return min(limits, default=None)


def _of_stability(point: FixedPoint, escape: Escape | None) -> tuple[str, str] | None:
    if point.stability == "unstable":
        return "unstable", f"unstable: V'(q*) = {point.slope:.4g}, so that q moves away from q* = {point.q:.4g}"
    if point.stability == "half-stable":
        side = "more" if point.curvature > 0 else "less"
        done = f", as {escape.share:.1%} of networks of width {escape.width} do" if escape and escape.share else ""
        return "half-stable", (
            f"half-stable: V'(q*) = 1 and V''(q*) = {point.curvature:.4g}, so that whatever has {side} than q* = "
            f"{point.q:.4g} runs away from it{done}; a clipped activation has V' < 1"
        )
    return None


def _of_escape(point: FixedPoint, others: int, escape: Escape | None) -> tuple[str, str] | None:
    every = point.stability == "neutral"
    if escape is None or escape.share <= THRESHOLDS.escape or not (others or every):
        return None
    which = "every q is one" if every else f"{others} besides q* = {point.q:.4g}"
    return "several-fixed-points", (
        f"several-fixed-points: {which}, and {escape.share:.1%} of networks of width {escape.width} pass q = "
        f"{escape.level:.4g}; a {'' if every else 'smaller slope or a '}greater width keeps them"
    )


def _of_phase(point: FixedPoint, depth: int) -> tuple[str, str] | None:
    limit = math.inf if point.xi_c is None else THRESHOLDS.correlation_lengths * point.xi_c
    if point.phase not in ("ordered", "chaotic") or depth <= limit:
        return None
    return point.phase, (
        f"{point.phase}: chi_1 = {point.chi_1:.4g}, and depth {depth} is past 6 xi_c = {limit:.4g} layers, in which a "
        "signal is lost"
    )


def _of_sparsity(point: FixedPoint, depth: int, sigma_w: float, escape: Escape | None) -> tuple[str, str] | None:
    share = point.activation_sparsity
    if share <= THRESHOLDS.activation_sparsity + _ROUNDING:
        return None
    left = f", and N (1 - s) = {escape.width * (1 - share):.4g} units of a layer are not 0" if escape else ""
    return "too-sparse", (
        f"too-sparse: s = {share:.4g} is past {THRESHOLDS.activation_sparsity:g}, the largest that was trained "
        f"(arXiv 2402.16184), a risk and no theorem: L sigma_w^2 = {depth * sigma_w**2:.4g}{left}"
    )
