"""The tail of a spectrum: its power-law exponent, and the values that no random matrix of its variance would have."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sao_cli.base.errors import SaoError
from sao_cli.base.memory import require_memory
from sao_cli.base.rng import SHUFFLED, generator
from sao_cli.measure.values.by_array import dense_singular_values
from sao_cli.measure.values.ks import ks_test
from sao_cli.measure.values.marchenko_pastur import singular_value_law
from sao_cli.models.audit.tail_laws import tail_law_facts

FEWEST = 10  # eigenvalues for which a tail is fitted, and values of the tail for other laws; our choice
OTHER_LAWS = dict.fromkeys(("truncated_power_law", "exponential", "lognormal", "favoured"))
EXPONENTS = {"alpha": [1.0, np.inf]}  # all there are: the package's default ends at 3, short of a random matrix's tail
TRACY_WIDOM = 0.9793  # 95 % quantile of the law of order 1
ROUNDING = 1e-10  # of the edge: what is no further beyond it is on it


def heavy_tail_facts(
    singular_values: NDArray[np.float64], shape: tuple[int, int], *, exact: bool, norm: float | None = None
) -> dict[str, Any]:
    """The TailFacts and a `reason` of (k,) singular values of an (m, n) map.

    - `alpha` and `xmin`: the density of the eigenvalues s^2 of the Gram matrix taken as x^-alpha, up to a factor, for
      x >= xmin; alpha by maximum likelihood, xmin where `alpha_distance`, the largest gap between the law and the
      share of eigenvalues below each, is least (Clauset, Shalizi and Newman, SIAM Review 51, 2009). By the `powerlaw`
      package (Alstott, Bullmore and Plenz, PLoS ONE 9, 2014), which WeightWatcher uses (Martin and Mahoney, JMLR 22,
      2021);
    - `mp_edge`: the upper edge sqrt(v) (sqrt(m) + sqrt(n)) of the Marchenko-Pastur law of singular values, v = sum s^2
      / (m n) the mean square of the map's entries; `outliers`: how many singular values are above it. The largest one
      of a random matrix is at the edge, above or below. `norm` is sqrt(sum s^2) where that is known better than the
      values are;
    - `tw_edge` and `tw_outliers`: the same with tracy_widom_edge, which the largest value of a random matrix is above
      in 5 of 100 cases alone;
    - `truncated_power_law`, `exponential`, `lognormal` and `favoured`: tail_law_facts of the eigenvalues from xmin on,
      where there are 10 or more.

    `reason` says why alpha is None: fewer than 10 values that are not zero, or all of them equal; that the values are
    quantiles (`exact` False), so that the tail is smoothed and no test; or why other laws are None. Raises SaoError
    where `powerlaw` is not installed. O(k^2).

    >>> facts = heavy_tail_facts(np.array([3.0, 1.0, 0.0, 0.0, 0.0, 0.0]), (6, 6), exact=True)
    >>> round(facts["mp_edge"], 6), facts["outliers"], facts["alpha"]
    (2.581989, 1, None)
    """
    largest = float(singular_values[0])
    facts: dict[str, Any] = {"alpha": None, "xmin": None, "alpha_distance": None, "mp_edge": None}
    facts |= {"outliers": None, "tw_edge": None, "tw_outliers": None, "reason": None} | OTHER_LAWS
    if largest == 0:
        return facts | {"reason": "no tail: the singular values are zero"}
    scaled = singular_values / largest  # so that no square leaves the range
    squares = float(np.square(scaled).sum()) if norm is None else (norm / largest) ** 2
    edge = largest * singular_value_law(*shape, squares / (shape[0] * shape[1])).support[1]
    facts |= {"mp_edge": edge, "outliers": int((singular_values > edge * (1 + ROUNDING)).sum())}
    edge = largest * tracy_widom_edge(*shape, squares / (shape[0] * shape[1]))
    facts |= {"tw_edge": edge, "tw_outliers": int((singular_values > edge * (1 + ROUNDING)).sum())}
    eigenvalues = np.square(scaled[scaled > max(shape) * 2.0**-52])
    if len(eigenvalues) < FEWEST or eigenvalues[-1] > (1 - ROUNDING) * eigenvalues[0]:
        why = f"there are {len(eigenvalues)}, and it takes {FEWEST}" if len(eigenvalues) < FEWEST else "all are equal"
        return facts | {"reason": f"no power law fitted to the eigenvalues that are not zero: {why}"}
    alpha, xmin, distance = _fit(eigenvalues)
    facts |= {"alpha": alpha, "xmin": xmin * largest**2, "alpha_distance": distance}
    if not exact:
        return facts | {"reason": "alpha is of quantiles of an estimated density, which smooth the tail: no other laws"}
    return facts | _other_laws(eigenvalues[eigenvalues >= xmin])


def _other_laws(tail: NDArray[np.float64]) -> dict[str, Any]:
    if len(tail) < FEWEST:
        return {"reason": f"no other laws fitted to the tail: it has {len(tail)} values, and it takes {FEWEST}"}
    facts = tail_law_facts(tail)
    missing = [name for name, law in facts.items() if law is None and name != "favoured"]
    return facts | {"reason": f"no fit was found to the tail: {', '.join(missing)}" if missing else None}


def tracy_widom_edge(m: int, n: int, variance: float) -> float:
    """What the largest singular value of an (m, n) matrix of independent Gaussian entries is above in 5 of 100 cases.

    With a^2 = m - 1/2 and b^2 = n - 1/2, (s_1^2/variance - (a + b)^2)/((a + b) (1/a + 1/b)^(1/3)) is about of the
    Tracy-Widom law of order 1, whose 95 % quantile is 0.9793 (Johnstone, Ann. Statist. 29, 2001; the halves: Ma,
    Bernoulli 18, 2012).

    >>> round(tracy_widom_edge(100, 100, 0.01), 4)
    2.0234
    """
    a, b = math.sqrt(m - 0.5), math.sqrt(n - 0.5)
    return math.sqrt(variance * ((a + b) ** 2 + TRACY_WIDOM * (a + b) * (1 / a + 1 / b) ** (1 / 3)))


def random_distance(
    singular_values: NDArray[np.float64], dense: NDArray[Any], *, resolution: float, seed: int, **how: Any
) -> float:
    """The Kolmogorov-Smirnov statistic between the singular values of `dense` (m, n) and of its numbers, shuffled.

    The numbers stay, and with them mean, variance and norm; what goes is the order that training or a construction
    gave them. 0 where the order makes no difference, as in a random matrix; values within `resolution` count as equal.
    WeightWatcher has a distance of that kind (Martin and Mahoney, JMLR 22, 2021), of other distributions. `how` is
    passed to dense_singular_values. Raises MemoryLimitError. O(m n min(m, n)), and two copies of the array.

    >>> identity = np.eye(40)
    >>> random_distance(np.ones(40), identity, resolution=1e-9, seed=0) > 0.3
    True
    """
    require_memory(2.0 * dense.nbytes, f"{dense.size} numbers in random places")
    shuffled = generator(seed, 1, SHUFFLED).permutation(dense.reshape(-1)).reshape(dense.shape)
    others = dense_singular_values(shuffled, seed=seed, **how)
    return ks_test(singular_values, others.values, resolution=resolution).statistic


def _fit(eigenvalues: NDArray[np.float64]) -> tuple[float, float, float]:
    powerlaw = require_powerlaw()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # it warns of its own ways, and of fits that it discards
        fit = powerlaw.Fit(eigenvalues, xmin=_best_xmin(eigenvalues), verbose=False, parameter_ranges=EXPONENTS)
        return float(fit.power_law.alpha), float(fit.power_law.xmin), float(fit.power_law.D)


def _best_xmin(eigenvalues: NDArray[np.float64]) -> float:
    """The eigenvalue, but the largest, as whose xmin the fit's distance is least: a hundredth of the package's time."""
    x = np.sort(eigenvalues)
    logs = np.log(x)
    remaining = np.cumsum(logs[::-1])[::-1]  # sum of the logarithms from each one on
    below = np.searchsorted(x, x)  # how many eigenvalues are smaller than each
    best, xmin = np.inf, float(x[0])
    for start in np.flatnonzero(np.diff(x, prepend=-1.0))[:-1].tolist():
        count = len(x) - start
        exponent = count / (remaining[start] - count * logs[start])  # alpha - 1
        law = -np.expm1(exponent * (logs[start] - logs[start:]))
        distance = float(np.abs(law - (below[start:] - start) / count).max())
        if distance < best:
            best, xmin = distance, float(x[start])
    return xmin


def require_powerlaw() -> Any:
    """The powerlaw package; SaoError where it is not installed."""
    try:
        return importlib.import_module("powerlaw")
    except ImportError as error:
        raise SaoError("the heavy tail needs the powerlaw package: pip install 'sao-cli[heavy-tail]'") from error
