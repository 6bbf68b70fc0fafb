"""Laws of a tail beside the power law: truncated, exponential, lognormal; and which of them the values tell apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sao_cli.reports.audits import TailLaw

Reals = NDArray[np.float64]

LEVEL = 0.1  # Clauset, Shalizi and Newman's: of a larger p-value the sign of a ratio tells nothing
WITHIN = {("power_law", "truncated_power_law"), ("exponential", "truncated_power_law"), ("power_law", "lognormal")}
NESTED = WITHIN - {("power_law", "lognormal")}  # which is a limit alone, and compared as they do
STEPS = 200  # of Newton's method, which takes about 10
FARTHEST = 300.0  # no tail of double precision goes on to e^300, and no square of it leaves the range


class FittedLaw(NamedTuple):
    """Parameters, and the log-likelihood of each value as a density of u = log(x/xmin)."""

    parameters: dict[str, float]
    logs: Reals


def tail_law_facts(tail: Reals) -> dict[str, Any]:
    """A TailLaw each for `truncated_power_law`, `exponential` and `lognormal`, and `favoured`, of values x >= xmin.

    `tail` is (n,), its least value xmin, not all equal. With u = log(x/xmin), the laws have the densities
    exp(-a u - b g(u))/Z of u >= 0: the power law b = 0, the truncated one g = e^u - 1 - u, the lognormal one g = u^2;
    all are of exponential families, so that the likelihood has one maximum. That may be at b = 0, the power law: then
    `ratio` is 0 and `pvalue` 1, and a lognormal law, of which it is a limit, has no parameters. None where Newton's
    method does not arrive.

    `ratio` is R/(s sqrt(n)), of the sum R of the log-likelihoods under the power law less those under the other, and
    their standard deviation s. `pvalue` is erfc(|ratio|/sqrt(2)) (Vuong, Econometrica 57, 1989), and erfc(sqrt(|R|)),
    chi-squared with one degree of freedom, for a law within the other; by Clauset, Shalizi and Newman (SIAM Review 51,
    2009). They take the values as independent, which eigenvalues are not.

    `favoured` is the one law that no other beats with a p-value below 0.1, of any two of the four, laws that contain
    another such one left out; None where several are left. O(n).

    >>> facts = tail_law_facts(1 - 3 * np.log1p(-(np.arange(1000) + 0.5) / 1000))
    >>> facts["favoured"], round(facts["exponential"].decay, 2)
    ('exponential', 0.33)
    """
    u = np.log(tail / tail.min())
    found = {
        "power_law": _power_law(u),
        "truncated_power_law": _truncated(u),
        "exponential": _exponential(u),
        "lognormal": _lognormal(u),
    }
    laws = {name: law for name, law in found.items() if law is not None}
    facts: dict[str, Any] = dict.fromkeys(found)
    for name, law in laws.items():
        ratio, pvalue = log_likelihood_ratio(laws["power_law"].logs, law.logs, nested=("power_law", name) in NESTED)
        facts[name] = TailLaw(ratio=ratio, pvalue=pvalue, **law.parameters)
    del facts["power_law"]
    return facts | {"favoured": _favoured(laws) if len(laws) == len(found) else None}


def log_likelihood_ratio(first: Reals, second: Reals, *, nested: bool) -> tuple[float, float]:
    """The ratio R/(s sqrt(n)) of two laws' log-likelihoods, positive where the first is likelier, and its p-value.

    >>> log_likelihood_ratio(np.array([1.0, 2.0]), np.array([0.0, 3.0]), nested=False)
    (0.0, 1.0)
    """
    differences = first - second
    total, spread = float(differences.sum()), float(differences.std()) * math.sqrt(len(differences))
    if spread == 0:
        return 0.0, 1.0
    return total / spread, math.erfc(math.sqrt(abs(total)) if nested else abs(total / spread) / math.sqrt(2))


def _favoured(laws: dict[str, FittedLaw]) -> str | None:
    beaten = set()
    for one, other in permutations(laws, 2):
        nested = bool({(one, other), (other, one)} & NESTED)
        ratio, pvalue = log_likelihood_ratio(laws[one].logs, laws[other].logs, nested=nested)
        if ratio < 0 and pvalue < LEVEL:
            beaten.add(one)
    standing = set(laws) - beaten
    simplest = standing - {larger for law, larger in WITHIN if law in standing}
    return simplest.pop() if len(simplest) == 1 else None


def _power_law(u: Reals) -> FittedLaw:
    rate = 1 / float(u.mean())
    return FittedLaw({"alpha": 1 + rate}, math.log(rate) - rate * u)


def _exponential(u: Reals) -> FittedLaw:
    above = np.expm1(u)  # x/xmin - 1
    decay = 1 / float(above.mean())
    return FittedLaw({"decay": decay}, math.log(decay) + u - decay * above)


def _truncated(u: Reals) -> FittedLaw | None:
    rate = 1 / float(u.mean())
    found = _likeliest(u, _beyond, limit=1 / (rate * (rate - 1)) if rate > 1 else math.inf)
    if found is None:
        return None
    a, b, logs = found
    return FittedLaw({"alpha": 1 + a - b, "decay": b}, logs)


def _lognormal(u: Reals) -> FittedLaw | None:
    found = _likeliest(u, np.square, limit=2 * float(u.mean()) ** 2)
    if found is None:
        return None
    a, b, logs = found
    return FittedLaw({"mu": -a / (2 * b), "sigma": 1 / math.sqrt(2 * b)} if b > 0 else {}, logs)


def _beyond(u: Reals) -> Reals:
    """e^u - 1 - u, of which u is no part: a and b are told apart where all u are small."""
    return np.expm1(np.minimum(u, FARTHEST)) - u


def _likeliest(u: Reals, g: Callable[[Reals], Reals], limit: float) -> tuple[float, float, Reals] | None:
    """(a, b, log-likelihoods) of the law exp(-a u - b g(u))/Z under which u is the likeliest.

    `limit` is the mean of g under the likeliest power law: where u has that or more, or rounding hides the gain, b = 0.
    """
    rate, power_law = 1 / float(u.mean()), _power_law(u).logs
    if g(u).mean() >= limit:
        return rate, 0.0, power_law
    if (found := _interior(u, g)) is None:
        return None
    return found if found[2].sum() > power_law.sum() else (rate, 0.0, power_law)


def _interior(u: Reals, g: Callable[[Reals], Reals]) -> tuple[float, float, Reals] | None:
    scales = np.array([u.mean(), g(u).mean()])
    nodes, log_weights = _quadrature(scales[0])
    statistics = np.stack([nodes, g(nodes)]) / scales[:, None]  # whose means are 1 under the likeliest law
    at = np.array([0.5, 0.5])
    loss, gradient, covariance = _loss(at, statistics, log_weights)
    for _ in range(STEPS):
        try:
            step = np.linalg.solve(covariance, gradient)
        except np.linalg.LinAlgError:
            return None
        arrived = not gradient @ step > 1e-12  # the mean log-likelihood is so near its maximum; or NaN
        while not arrived and (at[1] <= step[1] or _loss(at - step, statistics, log_weights)[0] > loss):
            step /= 2
        at = at - step
        loss, gradient, covariance = _loss(at, statistics, log_weights)
        if arrived:
            a, b = (at / scales).tolist()
            log_normaliser = float(loss - at.sum())
            return (a, b, -a * u - b * g(u) - log_normaliser) if b > 0 and math.isfinite(loss) else None
    return None


def _loss(at: Reals, statistics: Reals, log_weights: Reals) -> tuple[float, Reals, Reals]:
    """Minus the mean log-likelihood, convex in the parameters, its gradient and its Hessian, the covariance."""
    exponents = log_weights - at @ statistics
    top = exponents.max()
    weights = np.exp(exponents - top)
    total = weights.sum()
    means = statistics @ weights / total
    centred = statistics - means[:, None]
    return float(at.sum() + top + math.log(total)), 1 - means, (centred * weights) @ centred.T / total


def _quadrature(scale: float) -> tuple[Reals, Reals]:
    """Nodes u = scale e^(pi/2 sinh t) of an integral over u >= 0, and the logarithms of their weights.

    The double exponential rule (Takahasi and Mori, Publ. RIMS 9, 1974), in steps of 1/128 from t = -4 to 3.
    """
    t = np.arange(-4 * 128, 3 * 128 + 1) / 128
    growth = math.pi / 2 * np.sinh(t)
    return scale * np.exp(growth), math.log(scale * math.pi / 256) + growth + np.log(np.cosh(t))
