"""Rows of few ones: where mean-field theory, whose pre-activations are normal, stops to hold."""

from __future__ import annotations

import math
import warnings

from sao_cli.base.errors import SaoWarning

FEW = 2.0  # inputs of a row that are not 0: chi_1 of a clipped threshold is off by 9 % at 0.6 of them, by 1 % at 2.4


def warn_of_few_ones(d: int, inactive: float, *, n: int | None = None, stacklevel: int = 3) -> None:
    """Warn (SaoWarning) where of `d` inputs of an output fewer than 2 are not 0, a share `inactive` of which is 0.

    Says which d is better, if there is one up to `n`.
    """
    live = 1 - inactive
    if d * live < FEW:
        enough = FEW / live if live else math.inf
        better = f"; d = {math.ceil(enough)} is better" if enough < math.inf and (n is None or enough <= n) else ""
        warnings.warn(
            f"an output reads {d} inputs, d (1 - s) = {d * live:.3g} of which are not 0: sums of so few are far from "
            f"normal, and what theory tells of slopes, correlations and the Jacobian is off{better}",
            SaoWarning,
            stacklevel=stacklevel,
        )
