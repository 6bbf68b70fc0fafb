"""Laws of a tail: known ones are told apart, and ratios are those of likelihoods that are maximised another way."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import log_ndtr
from scipy.stats import chi2, norm

from sao_cli.models.audit.tail_laws import tail_law_facts

AT = (np.arange(1000) + 0.5) / 1000
GRID = np.geomspace(1, 200, 200_001)
CUT_OFF = np.cumsum(GRID**-1.5 * np.exp(-0.05 * GRID) * np.gradient(GRID))
TAILS = {  # quantiles of laws from 3 on
    "power_law": 3 * (1 - AT) ** (-1 / 1.5),
    "truncated_power_law": 3 * np.interp(AT, CUT_OFF / CUT_OFF[-1], GRID),
    "exponential": 3 - 9 * np.log1p(-AT),
    "lognormal": 3 * np.exp(norm.isf((1 - AT) * norm.sf(-1)) + 1),
}


def truncated(x, alpha, decay):
    logs = -alpha * np.log(x) - decay * x
    return logs - math.log(quad(lambda t: t**-alpha * math.exp(-decay * t), 1, np.inf)[0])


def lognormal(x, mu, sigma):
    return norm.logpdf(np.log(x), mu, sigma) - np.log(x) - log_ndtr(mu / sigma)


@pytest.mark.parametrize("law", TAILS)
def test_a_known_law_is_favoured(law):
    facts = tail_law_facts(TAILS[law])
    assert facts["favoured"] == law
    if law != "power_law":
        assert facts[law].ratio < 0
        assert facts[law].pvalue < 1e-3


def test_laws_that_the_values_do_not_tell_apart_are_not_favoured():
    facts = tail_law_facts(TAILS["exponential"][::5])
    assert all(facts[law].ratio < 0 and facts[law].pvalue < 0.1 for law in ("exponential", "lognormal"))
    assert facts["favoured"] is None


@pytest.mark.parametrize(
    ("name", "law", "start"), [("truncated_power_law", truncated, (1, 1)), ("lognormal", lognormal, (0, 1))]
)
@pytest.mark.parametrize("tail", ["truncated_power_law", "exponential", "lognormal"])
def test_a_ratio_is_of_the_likeliest_parameters(name, law, start, tail):
    x = TAILS[tail][::20]
    found = tail_law_facts(x)[name]
    x = x / x.min()
    searched = minimize(
        lambda at: -law(x, *at).sum(),
        start,
        method="Nelder-Mead",
        bounds=[(None, None), (1e-3, None)],
        options={"xatol": 1e-6, "fatol": 1e-9},
    ).x
    keys = ("mu", "sigma") if name == "lognormal" else ("alpha", "decay")
    assert [getattr(found, key) for key in keys] == pytest.approx(searched.tolist(), rel=1e-3, abs=1e-3)
    rate = len(x) / np.log(x).sum()
    differences = np.log(rate) - (1 + rate) * np.log(x) - law(x, *searched)
    ratio = differences.sum() / np.sqrt(len(x) * differences.var())
    assert found.ratio == pytest.approx(ratio, rel=1e-4)
    pvalue = 2 * norm.sf(abs(ratio)) if name == "lognormal" else chi2.sf(2 * abs(differences.sum()), 1)
    assert found.pvalue == pytest.approx(pvalue, rel=1e-3)


def test_the_exponential_law_is_in_closed_form():
    x = TAILS["truncated_power_law"] / TAILS["truncated_power_law"].min()
    found = tail_law_facts(x)["exponential"]
    decay, rate = 1 / (x - 1).mean(), 1 / np.log(x).mean()
    differences = np.log(rate) - (1 + rate) * np.log(x) - np.log(decay) + decay * (x - 1)
    assert found.decay == pytest.approx(decay)
    assert found.ratio == pytest.approx(differences.sum() / np.sqrt(len(x)) / differences.std())


def test_what_is_likeliest_as_a_power_law_is_no_other():
    heavier = np.exp(
        np.square(np.linspace(0, 3, 100)) * np.linspace(0, 1, 100) ** 4
    )  # more at the end than a power law
    facts = tail_law_facts(heavier)
    assert (facts["lognormal"].ratio, facts["lognormal"].pvalue) == (0, 1)
    assert facts["lognormal"].mu is facts["lognormal"].sigma is None
    steep = np.append(1 + 1e-3 * TAILS["exponential"], 400)
    cut = tail_law_facts(steep)["truncated_power_law"]
    assert (cut.ratio, cut.pvalue, cut.decay) == (0, 1, 0)
    assert cut.alpha == pytest.approx(1 + 1 / np.log(steep / steep.min()).mean())
    far = tail_law_facts(np.append(np.ones(30), 1e20))["truncated_power_law"]  # a gain of less than rounding
    assert far.ratio <= 0
    assert far.pvalue == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("spread", [1e-10, 1e-4, 1, 30])
def test_tails_near_and_wide_have_finite_laws(spread):
    rng = np.random.default_rng(0)
    for x in (np.exp(spread * rng.random(12)), np.repeat([1, 1 + spread], [10, 2]), np.repeat([1, 1 + spread], [1, 9])):
        facts = tail_law_facts(x)
        for name in ("truncated_power_law", "exponential", "lognormal"):
            assert math.isfinite(facts[name].ratio)
            assert 0 <= facts[name].pvalue <= 1
            assert facts[name].ratio <= 0 or name == "exponential"


def test_the_values_scale_does_not_matter():
    one, other = tail_law_facts(TAILS["lognormal"]), tail_law_facts(1e-9 * TAILS["lognormal"])
    assert one["lognormal"].mu == pytest.approx(other["lognormal"].mu)
    assert one["truncated_power_law"].ratio == pytest.approx(other["truncated_power_law"].ratio)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tail", ["power_law", "truncated_power_law"])
def test_the_package_finds_the_same_where_its_search_arrives(tail):
    powerlaw = pytest.importorskip("powerlaw")
    x = TAILS[tail][::5]
    facts = tail_law_facts(x)
    fit = powerlaw.Fit(x, xmin=x.min(), verbose=False)
    for name, nested in (("truncated_power_law", True), ("exponential", False), ("lognormal", False)):
        ratio, pvalue = fit.distribution_compare("power_law", name, nested=nested, normalized_ratio=True)
        assert facts[name].ratio == pytest.approx(ratio, rel=1e-2, abs=1e-3)
        assert facts[name].pvalue == pytest.approx(pvalue, rel=2e-2)
