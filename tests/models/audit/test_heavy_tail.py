"""The heavy tail: the package's fit against the definition, the Marchenko-Pastur edge, and what has no tail."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import sao_cli
from sao_cli.base.errors import SaoError
from sao_cli.base.rng import SHUFFLED, generator
from sao_cli.data.product import Product
from sao_cli.models.audit.heavy_tail import heavy_tail_facts, tracy_widom_edge
from sao_cli.models.audit.row import audit_weight
from sao_cli.models.audit.tail_laws import tail_law_facts


def fit_of_nothing(eigenvalues, xmin, **options):
    return SimpleNamespace(power_law=SimpleNamespace(alpha=2.0, xmin=0.5 * eigenvalues[0], D=0.1))


def clauset(x):
    """(alpha, xmin, distance): the maximum-likelihood fit for every xmin, and the one that is least far off."""
    x = np.sort(x)
    best = (np.inf, 0.0, 0.0)
    for start in np.unique(x, return_index=True)[1][:-1]:
        tail = x[start:]
        alpha = 1 + len(tail) / np.log(tail / tail[0]).sum()
        law = 1 - (tail / tail[0]) ** (1 - alpha)
        below = (tail[:, None] < tail).mean(axis=0)  # the share below each value, as the package has it
        distance = np.abs(law - below).max()
        best = min(best, (distance, alpha, tail[0]))
    return best[1], best[2], best[0]


PARETO = 5.0 * (1 - np.random.default_rng(0).random(80)) ** (-1 / 1.5)  # alpha = 2.5
WISHART = np.square(np.linalg.svd(np.random.default_rng(2).standard_normal((80, 80)), compute_uv=False))
TIES = np.repeat([1.0, 1.5, 2.5, 4.0, 9.0, 30.0], [10, 8, 5, 3, 2, 1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("eigenvalues", [PARETO, WISHART, TIES], ids=["Pareto", "Wishart", "ties"])
def test_the_fit_is_by_its_definition_and_the_one_that_the_package_finds(eigenvalues):
    powerlaw = pytest.importorskip("powerlaw")
    k = len(eigenvalues)
    facts = heavy_tail_facts(np.sqrt(np.sort(eigenvalues)[::-1]), (k, k), exact=True)
    found = powerlaw.Fit(eigenvalues, verbose=False, parameter_ranges={"alpha": [1, np.inf]}).power_law
    assert (facts["alpha"], facts["xmin"]) == (pytest.approx(found.alpha), pytest.approx(found.xmin))
    assert facts["alpha_distance"] == pytest.approx(found.D)
    alpha, xmin, distance = clauset(eigenvalues)
    assert facts["alpha"] == pytest.approx(alpha, rel=1e-6)
    assert facts["xmin"] == pytest.approx(xmin, rel=1e-6)
    assert facts["alpha_distance"] == pytest.approx(distance, rel=1e-6)
    short = "no other laws fitted to the tail: it has 8 values, and it takes 10"
    assert facts["reason"] == (short if eigenvalues is WISHART else None)


def test_spikes_are_beyond_the_edge_of_the_noise(monkeypatch):
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_of_nothing))  # which takes seconds to import
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((120, 200)) / np.sqrt(200)
    directions = [np.linalg.qr(rng.standard_normal((side, 3)))[0] for side in (120, 200)]
    row = audit_weight(noise + 4 * directions[0] @ directions[1].T, name="spiked", heavy_tail=True)
    variance = row.frobenius_norm**2 / (120 * 200)
    assert row.mp_edge == pytest.approx(np.sqrt(variance) * (np.sqrt(120) + np.sqrt(200)))
    assert row.outliers == 3
    assert (row.alpha, row.xmin) == (2.0, pytest.approx(0.5 * row.sigma_max**2))
    assert audit_weight(noise, name="noise", heavy_tail=True).outliers <= 1
    assert audit_weight(noise, name="noise").alpha is None


@pytest.mark.parametrize(
    ("values", "why"),
    [(np.ones(20), "all are equal"), (np.arange(5.0, 0, -1), "there are 5, and it takes 10"), (np.zeros(3), "zero")],
)
def test_what_has_no_tail(values, why):
    facts = heavy_tail_facts(values, (len(values), len(values)), exact=True)
    assert facts["alpha"] is None
    assert why in facts["reason"]


def test_a_missing_package_is_named_before_the_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "powerlaw", None)
    with pytest.raises(SaoError, match=r"pip install 'sao-cli\[heavy-tail\]'"):
        audit_weight(np.eye(3), name="layer", heavy_tail=True)


@pytest.mark.parametrize("shape", [(40, 60), (20, 200), (30, 30)])
def test_5_of_100_gaussian_matrices_are_beyond_the_edge_of_tracy_and_widom(shape):
    rng = np.random.default_rng(0)
    largest = np.linalg.svd(2 * rng.standard_normal((1000, *shape)), compute_uv=False)[:, 0]
    beyond = (largest > tracy_widom_edge(*shape, 4.0)).mean()
    assert abs(beyond - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 1000)
    assert tracy_widom_edge(*shape, 4.0) == pytest.approx(tracy_widom_edge(*shape[::-1], 4.0))


def test_values_beyond_that_edge_are_counted(monkeypatch):
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_of_nothing))
    values = np.sort(np.append(np.linspace(0.2, 1.8, 98), [2.6, 9.0]))[::-1]
    facts = heavy_tail_facts(values, (100, 100), exact=True)
    v = np.square(values).sum() / 10_000
    assert facts["tw_edge"] == pytest.approx(tracy_widom_edge(100, 100, v))
    assert facts["tw_outliers"] == (values > facts["tw_edge"]).sum() > 0
    assert heavy_tail_facts(np.zeros(4), (4, 4), exact=True)["tw_edge"] is None


def fit_from_there(eigenvalues, xmin, **options):
    return SimpleNamespace(power_law=SimpleNamespace(alpha=2.0, xmin=xmin, D=0.1))


def of_spectrum(eigenvalues):
    left, right = (np.linalg.qr(np.random.default_rng(seed).standard_normal((300, 300)))[0] for seed in (0, 1))
    return (left * np.sqrt(eigenvalues)) @ right.T


def test_other_laws_are_of_the_same_tail(monkeypatch):
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_from_there))
    eigenvalues = (1 - (np.arange(300) + 0.5) / 300) ** (-1 / 1.5)
    row = audit_weight(of_spectrum(eigenvalues), name="layer", heavy_tail=True)
    assert row.favoured == "power_law"
    tail = np.square(row.singular_values)
    expected = tail_law_facts(tail[tail >= row.xmin * (1 - 1e-9)])
    assert row.exponential.ratio > 0
    assert row.exponential.ratio == pytest.approx(expected["exponential"].ratio)
    assert row.truncated_power_law.pvalue == pytest.approx(expected["truncated_power_law"].pvalue, rel=1e-4)


def test_other_laws_are_null_with_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_of_nothing))
    values = np.arange(20.0, 0, -1)
    facts = heavy_tail_facts(values, (20, 20), exact=True)
    assert facts["lognormal"] is facts["favoured"] is None
    assert "it has 6 values, and it takes 10" in facts["reason"]
    facts = heavy_tail_facts(values, (20, 20), exact=False)
    assert facts["exponential"] is None
    assert "no other laws" in facts["reason"]
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_from_there))
    monkeypatch.setattr("sao_cli.models.audit.tail_laws.STEPS", 0)
    facts = heavy_tail_facts(np.sqrt(np.sort(PARETO)[::-1]), (80, 80), exact=True)
    assert facts["truncated_power_law"] is facts["favoured"] is None
    assert facts["exponential"].ratio > 0
    assert "no fit was found to the tail: truncated_power_law" in facts["reason"]


def gap(a, b):
    """The Kolmogorov-Smirnov statistic, by its definition at each value."""
    at = np.concatenate([a, b])
    return np.abs((a[:, None] <= at).mean(axis=0) - (b[:, None] <= at).mean(axis=0)).max()


@pytest.mark.parametrize("form", ["array", "transposed", "sparse"])
def test_a_random_distance_is_to_the_same_numbers_in_other_places(monkeypatch, form):
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_of_nothing))
    weight = sao_cli.sao_weight(40, 60, 6)
    dense = weight.to_dense()
    given = {"array": dense, "transposed": dense.T, "sparse": weight}[form]
    row = audit_weight(given, name="w", heavy_tail=True, seed=3, transposed=form == "transposed")
    shuffled = generator(3, 1, SHUFFLED).permutation(dense.reshape(-1)).reshape(40, 60)
    assert row.random_distance == pytest.approx(gap(row.singular_values, np.linalg.svd(shuffled, compute_uv=False)))
    assert row.random_distance > 0.3


def test_a_random_distance_is_small_where_the_places_are_random(monkeypatch):
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_of_nothing))
    noise = np.random.default_rng(5).standard_normal((150, 150)).astype(np.float32)
    assert audit_weight(noise, name="noise", heavy_tail=True).random_distance < 0.05
    for line in noise.astype(np.float64):  # one value, the norm: summed in another order it is no distance off
        assert audit_weight(line[None], name="line", heavy_tail=True).random_distance == 0
    assert audit_weight(noise, name="noise").random_distance is None


def test_a_product_of_factors_is_not_shuffled(monkeypatch):
    monkeypatch.setitem(sys.modules, "powerlaw", SimpleNamespace(Fit=fit_of_nothing))
    row = audit_weight(Product(np.ones((20, 1)), np.ones((1, 20))), name="x", heavy_tail=True)
    assert row.random_distance is None
    assert "random_distance is of numbers" in row.reason
    assert row.outliers == 1
