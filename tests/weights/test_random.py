"""Independent values: each law's mean, variance and shape, on regular and on irregular masks."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest

from sao_cli.base.errors import MemoryLimitError, SaoError
from sao_cli.catalog import LAWS
from sao_cli.data.mask import Mask
from sao_cli.data.precision import PRECISIONS
from sao_cli.masks.lrp import lrp_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.build_weights import put_values
from sao_cli.weights.random import random_values

MASKS = {
    "regular": sao_mask(600, 300, 5),
    "irregular": lrp_mask(60, 90, 3000),  # degrees from 20 to 70
    "all ones": Mask.from_dense(np.ones((40, 80))),
}
TWO_LAYERS = [sao_mask(128, 256, 8), sao_mask(128, 256, 8, seed=1)]  # c = 4


def variances(mask, law):
    """v of every one, read off the dense mask one entry at a time."""
    dense = mask.to_dense()
    rows, columns = np.nonzero(dense)
    fan_in = np.array([dense[i].sum() for i in rows])
    fan_out = np.array([dense[:, j].sum() for j in columns])
    return {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in}.get(law.split("-")[0], 1 / fan_in)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_each_law_has_its_mean_variance_and_shape(mask, law):
    standard = random_values(mask, law, seed=7) / np.sqrt(variances(mask, law))
    size = mask.nnz
    assert abs(standard.mean()) < 4 / np.sqrt(size)
    kurtosis = 1.8 if "uniform" in law else 3
    assert abs((standard**2).mean() - 1) < 4 * np.sqrt((kurtosis - 1) / size)
    shape = ("uniform", (-np.sqrt(3), 2 * np.sqrt(3))) if "uniform" in law else ("norm", ())
    assert kstest(standard, *shape).pvalue > 1e-3


class EvenlySpread:
    """A generator whose draws are the middles of equal parts of each law: their variance is known, without chance."""

    def random(self, count):
        return (np.arange(count) + 0.5) / count

    def standard_normal(self, count):
        return ndtri(self.random(count))


@pytest.mark.parametrize("law", LAWS)
def test_the_variance_is_exact_but_for_the_draws(law, monkeypatch):
    """(1 - 1/N^2) v for a uniform law of N values; normal tails lose about 3/N of theirs."""
    monkeypatch.setattr("sao_cli.weights.random.generator", lambda *stream: EvenlySpread())
    mask = MASKS["all ones"]
    found = (random_values(mask, law) ** 2).mean() / variances(mask, law)[0]
    assert found == pytest.approx(1 - mask.nnz**-2.0, **({"rel": 1e-13} if "uniform" in law else {"abs": 3 / mask.nnz}))


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("law", ["normal", "uniform", "he-uniform", "glorot-normal"])
def test_the_variance_over_many_seeds_and_layers(law, dtype):
    """200 layers of 1024 values, four standard errors: E x^4 is 9/5 for a uniform law of variance 1, 3 for a normal."""
    factor = {"he-uniform": 2, "glorot-normal": 4 / 3}.get(law, 1)  # of 1/d, at (c, d) = (4, 8) -> 2/(d + c)
    squares = np.concatenate(
        [
            layer.values**2 / (factor * 1.7**2 / 8)
            for seed in range(100)
            for layer in put_values(TWO_LAYERS, values=law, gain=1.7, dtype=dtype, seed=seed)
        ]
    )
    kurtosis = 1.8 if "uniform" in law else 3
    assert abs(squares.mean() - 1) < 4 * np.sqrt((kurtosis - 1) / squares.size)
    assert "uniform" not in law or squares.max() <= 3 * (1 + 2 * PRECISIONS[dtype])


@pytest.mark.parametrize("law", LAWS)
def test_every_one_has_the_variance_of_its_own_row_and_column(law):
    """The laws share their draws, so that each entry's ratio to the normal or uniform one is known to the last bits."""
    mask = Mask.from_dense(np.tri(30, 40, 10))  # row degrees from 11 to 40, column degrees from 1 to 30
    ratio = random_values(mask, law) / random_values(mask, "uniform" if "uniform" in law else "normal")
    expected = np.sqrt(variances(mask, law) / variances(mask, "normal"))
    np.testing.assert_allclose(ratio, expected, rtol=8 * 2.0**-52)


def test_on_all_ones_the_laws_are_the_standard_ones():
    m, n = 300, 200
    ones = Mask.from_dense(np.ones((m, n)))
    bounds = {"uniform": 3 / n, "lecun-uniform": 3 / n, "glorot-uniform": 6 / (m + n), "he-uniform": 6 / n}
    for law, bound in bounds.items():
        largest = abs(random_values(ones, law)).max()
        assert 0.999 < largest / np.sqrt(bound) <= 1 + 1e-15


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_each_output_keeps_the_variance_of_its_inputs_whatever_its_degree(law):
    """Mean h_i^2 over inputs x ~ N(0, I) is the row's sum of squares, of mean 1; rows of 1 to 400 ones."""
    degrees = np.repeat([1, 4, 30, 400], 3000)
    rows = np.repeat(np.arange(degrees.size), degrees)
    columns = np.arange(rows.size) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    mask = Mask.from_entries(rows, columns, (degrees.size, 400))
    squares = np.bincount(rows, random_values(mask, law, seed=1) ** 2)
    for degree in (1, 4, 30, 400):
        assert abs(squares[degrees == degree].mean() - 1) < 4 * np.sqrt(2 / (3000 * degree))


def test_the_two_names_of_a_law_give_the_same_bytes():
    mask = MASKS["irregular"]
    for shape in ("normal", "uniform"):
        np.testing.assert_array_equal(random_values(mask, shape), random_values(mask, f"lecun-{shape}"))


def test_layers_and_seeds_have_numbers_of_their_own():
    mask = MASKS["regular"]
    values = [random_values(mask, "normal", seed=seed, layer=layer) for seed, layer in [(0, 1), (0, 2), (1, 1)]]
    assert len(np.unique(np.concatenate(values))) == 3 * mask.nnz


class ZerosFirst:
    """A generator whose first draw holds exact zeros (0.5 for `random`, which the uniform law maps to 0)."""

    def __init__(self):
        self.draws = 0

    def standard_normal(self, count):
        return self.drawn(count, 0.0)

    def random(self, count):
        return self.drawn(count, 0.5)

    def drawn(self, count, zero):
        self.draws += 1
        values = np.full(count, 0.75)
        if self.draws <= 2:
            values[0] = zero
        return values


@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_an_exact_zero_is_drawn_again(law, monkeypatch):
    zeros = ZerosFirst()
    monkeypatch.setattr("sao_cli.weights.random.generator", lambda *stream: zeros)
    values = random_values(sao_mask(6, 6, 2), law)
    assert zeros.draws == 3
    assert len(np.unique(values)) == 1
    assert (values != 0).all()


def test_dead_rows_and_empty_masks_have_no_values():
    assert random_values(Mask.from_dense(np.zeros((2, 3))), "normal").shape == (0,)
    assert random_values(Mask.from_dense([[0, 0], [1, 1]]), "he-normal").shape == (2,)


def test_an_unknown_law_is_refused_with_the_nearest_name():
    with pytest.raises(
        SaoError, match=r"unknown law 'he-norml'; did you mean 'he-normal'\? there are: normal, uniform"
    ):
        random_values(MASKS["regular"], "he-norml")


def test_memory_is_asked_for_first(monkeypatch):
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError, match="random values for 3000 ones"):
        random_values(MASKS["regular"], "normal")
