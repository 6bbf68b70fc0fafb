"""Densities against known values and their definitions, counts that are exact, and controls."""

import numpy as np
import pytest

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.pruning.controls import fresh, inverted, shuffled
from sao_cli.pruning.densities import (
    density_masks,
    er_densities,
    erk_densities,
    ideal_gas_densities,
    kept_by_layer,
    smart_ratio_densities,
    uniform_densities,
)

LENET = [(300, 784), (100, 300), (10, 100)]
SLIDES = [(100, 784), *[(100, 100)] * 5, (10, 100)]
CONV = [(16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 1, 1), (10, 64)]
LENET_ERK = [0.07956777050442815, 0.2301886792452829, 1.0]
SLIDES_ERK = [0.07317206722207434, *[0.12978936810431285] * 5, 0.7138415245737207]
KNOWN = [
    (LENET, LENET_ERK, LENET_ERK, [0.06444650493044159, 0.3506771629007758, 0.9418671533368611]),
    (SLIDES, SLIDES_ERK, SLIDES_ERK, [0.030344635161162332, *[0.19701089031261756] * 5, 0.7104360877339934]),
    (
        CONV,
        [0.1781761841522797, 0.03608067729083664, 0.14732943227091627, 0.35599601593625485],
        [0.3957309184993531, 0.09372574385510996, 0.04686287192755498, 0.11559508408796894],
        [0.35751314190585587, 0.04958087700205173, 0.10504659535018888, 0.2730472096781703],
    ),
]


@pytest.mark.parametrize(("shapes", "erk", "er", "igq"), KNOWN, ids=["lenet", "slides", "conv"])
def test_known_densities(shapes, erk, er, igq):
    for make, known in ((erk_densities, erk), (er_densities, er), (ideal_gas_densities, igq)):
        np.testing.assert_allclose(make(shapes, 0.9), known, rtol=1e-9)


@pytest.mark.parametrize("make", [uniform_densities, erk_densities, er_densities, ideal_gas_densities])
@pytest.mark.parametrize("sparsity", [0, 0.1, 0.3, 0.5, 0.77, 0.95, 0.999])
def test_densities_are_those_of_the_whole_and_so_are_counts(make, sparsity):
    for shapes in (LENET, SLIDES, CONV, [(3, 4)] * 3, [(1, 1), (50, 60, 5, 5)]):
        sizes = np.array([np.prod(shape) for shape in shapes])
        densities = make(shapes, sparsity)
        assert ((densities > 0) & (densities <= 1)).all()
        assert densities @ sizes == pytest.approx((1 - sparsity) * sizes.sum(), rel=1e-9)
        count = max(round((1 - sparsity) * sizes.sum()), len(shapes))
        kept = np.array(kept_by_layer(shapes, densities, count))
        assert kept.sum() == count
        assert ((kept >= 1) & (kept <= sizes)).all()
        if (np.floor(densities * sizes) >= 1).all():
            assert (np.abs(kept - densities * sizes) < 1 + 1e-6).all()


def test_several_saturated_layers_hand_on_to_all_others():
    shapes = [(2, 2), (3, 2), (40, 50), (60, 70)]
    densities = erk_densities(shapes, 0.8)
    p = np.array([sum(shape) / np.prod(shape) for shape in shapes])
    assert densities[:2].tolist() == [1, 1]
    assert densities[2] / p[2] == pytest.approx(densities[3] / p[3])


VGG = [(8, 3, 3, 3), (16, 8, 3, 3), (32, 16, 3, 3), (32, 32, 3, 3), (10, 32)]


@pytest.mark.parametrize("sparsity", [0.02, 0.1, 0.5, 0.9, 0.99])
def test_the_smart_ratio_is_what_a_search_for_its_factor_finds(sparsity):
    """Against bisection for e of sum_l N_l min(1, e p_l) = D P - 0.3 N_linear, where e has a closed form."""
    sizes = np.array([np.prod(shape) for shape in VGG], float)
    p, wanted = np.array([30.0, 20, 12, 6]), (1 - sparsity) * sizes.sum() - 0.3 * 320
    low, high = 0.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        more = sizes[:4] @ np.minimum(1, middle * p) > wanted
        low, high = (low, middle) if more else (middle, high)
    found = smart_ratio_densities(VGG, sparsity)
    np.testing.assert_allclose(found, [*np.minimum(1, low * p), 0.3], rtol=1e-9)
    assert found @ sizes == pytest.approx((1 - sparsity) * sizes.sum(), rel=1e-12)
    masks = density_masks({str(number): np.ones(shape) for number, shape in enumerate(VGG)}, "smart-ratio", sparsity)
    counts = [int(mask.sum()) for mask in masks.values()]
    assert sum(counts) == round((1 - sparsity) * sizes.sum())
    assert (np.abs(counts - found * sizes) < 1).all()


def test_linear_layers_that_leave_kernels_nothing_or_too_much_are_told():
    with pytest.raises(InfeasibleError, match="none of 3 layers is one; of any layers are erk, er, igq, uniform"):
        smart_ratio_densities(LENET, 0.9)
    lenet5 = [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
    assert smart_ratio_densities(lenet5, 0.7)[2:].tolist() == [0.3, 0.3]
    for sparsity in (0.9, 0.5):
        with pytest.raises(InfeasibleError, match=rf"has 0\.6585 to below 0\.7178, and not {sparsity}"):
            smart_ratio_densities(lenet5, sparsity)
    assert (smart_ratio_densities(VGG[:4], 0) == 1).all()


def test_masks_have_the_counts_and_the_places():
    rng = np.random.default_rng(0)
    weights = {str(number): rng.normal(size=shape) for number, shape in enumerate(CONV)}
    counts = kept_by_layer(CONV, erk_densities(CONV, 0.9), round(0.1 * sum(w.size for w in weights.values())))
    masks = density_masks(weights, "erk", 0.9, seed=3)
    assert [int(mask.sum()) for mask in masks.values()] == counts
    assert [mask.shape for mask in masks.values()] == CONV
    again = density_masks(weights, "erk", 0.9, seed=3)
    assert all((again[name] == mask).all() for name, mask in masks.items())
    largest = density_masks(weights, "erk", 0.9, within="magnitude")
    for (name, mask), count in zip(largest.items(), counts, strict=True):
        assert int(mask.sum()) == count
        assert np.abs(weights[name][mask]).min() > np.abs(weights[name][~mask]).max()


def test_what_no_density_can_do_is_refused():
    with pytest.raises(InfeasibleError, match="2 weights in 3 layers of 12: each keeps one at least"):
        density_masks({name: np.ones((2, 2)) for name in "abc"}, "erk", 0.8)
    with pytest.raises(SaoError, match="unknown density 'erkk'; did you mean 'erk'"):
        density_masks({"a": np.ones((2, 2))}, "erkk", 0.5)
    with pytest.raises(SaoError, match="unknown within"):
        density_masks({"a": np.ones((2, 2))}, "erk", 0.5, within="most")


def test_controls_keep_what_they_should():
    rng = np.random.default_rng(0)
    masks = {"a": rng.random((20, 30)) < 0.1, "k": rng.random((4, 5, 3, 3)) < 0.3}
    mixed = shuffled(masks, seed=1)
    for name, mask in masks.items():
        assert (mixed[name].sum(), mixed[name].shape) == (mask.sum(), mask.shape)
        assert not np.array_equal(mixed[name], mask)
    assert np.array_equal(shuffled(masks, seed=1)["k"], mixed["k"])
    weights = {"a": rng.normal(size=(20, 30))}
    drawn = fresh(weights, seed=1)["a"]
    assert np.array_equal(np.sort(drawn, axis=None), np.sort(weights["a"], axis=None))
    assert not np.array_equal(drawn, weights["a"])
    assert inverted({"a": np.array([1.0, -2.0])})["a"].tolist() == [-1, 2]
