"""Sparse orthogonal weights: exact isometry on every mask that allows it, and a refusal of every other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, eye_array
from scipy.stats import beta, kstest

from sao_cli.base.errors import InfeasibleError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.lrp import lrp_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.weights.orthogonal import dense_orthogonal, dense_weight, orthogonal_values, rg_s_values, sao_weight

TIGHT = 1e-14


@st.composite
def sao_sizes(draw):
    """(m, n, d) of a feasible SAO mask, rectangular ones included."""
    groups, c, d = draw(st.integers(1, 80)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return groups * c, groups * d, d


@st.composite
def unions_of_complete_graphs(draw):
    """A dense mask of blocks of ones of several shapes and dead rows and columns, shuffled; and the blocks' places."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=8))
    m = sum(c for c, _ in sizes) + draw(st.integers(0, 3))
    n = sum(d for _, d in sizes) + draw(st.integers(0, 3))
    rows, columns = draw(st.permutations(range(m))), draw(st.permutations(range(n)))
    dense, places, i, j = np.zeros((m, n), bool), [], 0, 0
    for c, d in sizes:
        places.append(np.ix_(rows[i : i + c], columns[j : j + d]))
        dense[places[-1]] = True
        i, j = i + c, j + d
    return dense, places


def isometry_error(dense):
    gram = dense @ dense.T if dense.shape[0] <= dense.shape[1] else dense.T @ dense
    return abs(gram - np.eye(len(gram))).max()


@given(sao_sizes(), st.integers(0, 5), st.sampled_from(["random", "minimal"]))
def test_sao_weights_are_isometries_on_the_sao_mask(sizes, seed, arrangement):
    m, n, d = sizes
    weight = sao_weight(m, n, d, seed=seed, layer=3, arrangement=arrangement)
    assert weight.mask == sao_mask(m, n, d, seed=seed, layer=3, arrangement=arrangement)
    assert (weight.values != 0).all()
    dense = weight.to_dense()
    assert isometry_error(dense) <= TIGHT
    np.testing.assert_allclose(np.linalg.svd(dense, compute_uv=False), 1, rtol=0, atol=1e-13)


@given(unions_of_complete_graphs(), st.integers(0, 5))
def test_each_component_of_any_shape_is_an_isometry(union, seed):
    pattern, places = union
    mask = Mask.from_dense(pattern)
    dense = Matrix(mask, orthogonal_values(mask, seed=seed)).to_dense()
    assert max(isometry_error(dense[place]) for place in places) <= TIGHT
    assert not dense[~pattern].any()


@settings(max_examples=30)
@given(sao_sizes(), st.randoms(use_true_random=False))
def test_permuting_rows_and_columns_keeps_the_isometry(sizes, random):
    pattern = sao_mask(*sizes).to_dense()
    for axis in (0, 1):
        pattern = pattern.take(random.sample(range(pattern.shape[axis]), pattern.shape[axis]), axis=axis)
    mask = Mask.from_dense(pattern)
    assert isometry_error(Matrix(mask, orthogonal_values(mask)).to_dense()) <= TIGHT


@pytest.mark.parametrize(("m", "n", "d"), [(100_000, 100_000, 4), (30_000, 60_000, 8), (60_000, 30_000, 3)])
def test_large_layers_are_isometries_too(m, n, d):
    weight = sao_weight(m, n, d)
    S = csr_array((weight.values, weight.mask.indices, weight.mask.indptr), shape=weight.shape)
    gram = S @ S.T if m <= n else S.T @ S
    assert abs(gram - eye_array(min(m, n))).max() <= TIGHT


def test_blocks_are_haar_in_their_places():
    """Entry by entry, (1+x)/2 ~ Beta(3/2, 3/2) in 4 x 4 blocks; rows keep their order within a group."""
    weight = sao_weight(16_000, 16_000, 4, seed=1)
    order = np.argsort(weight.mask.groups.rows, kind="stable")
    blocks = weight.values.reshape(-1, 4)[order].reshape(-1, 16)
    pvalues = [kstest((1 + column) / 2, beta(1.5, 1.5).cdf).pvalue for column in blocks.T]
    assert min(pvalues) > 1e-3
    determinants = np.linalg.det(blocks.reshape(-1, 4, 4))
    assert abs(determinants.mean()) < 4 / np.sqrt(4000)


def test_groups_layers_and_seeds_have_numbers_of_their_own():
    values = [sao_weight(64, 64, 4, seed=seed, layer=layer).values for seed, layer in [(0, 1), (0, 2), (1, 1)]]
    assert len(np.unique(np.concatenate(values))) == 3 * 256
    np.testing.assert_array_equal(values[0], sao_weight(64, 64, 4).values)


def test_a_weight_tells_where_it_came_from():
    told = sao_weight(8, 16, 4, seed=5, layer=2).mask.provenance
    assert {"method": "sao", "c": 2, "d": 4, "seed": 5, "layer": 2, "values": "orthogonal"}.items() <= told.items()
    told = dense_weight(3, 5, values="he-normal", seed=5, layer=2).mask.provenance
    assert {"method": "dense", "c": 3, "d": 5, "seed": 5, "values": "he-normal"}.items() <= told.items()


def test_a_component_that_is_not_complete_is_refused_with_a_way_out():
    path = Mask.from_dense([[1, 1, 0], [0, 1, 1]])
    with pytest.raises(SaoError, match=r"complete bipartite.*--values isometry.*normal and uniform") as told:
        orthogonal_values(path)
    assert "\n" not in str(told.value)


def test_a_mask_without_ones_has_no_values():
    assert orthogonal_values(Mask.from_dense(np.zeros((2, 3)))).shape == (0,)


def test_memory_is_asked_for_first(monkeypatch):
    mask = sao_mask(64, 64, 4)
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryLimitError, match="orthogonal values for 256 ones"):
        orthogonal_values(mask)


def test_an_infeasible_degree_is_refused():
    with pytest.raises(InfeasibleError, match="nearest feasible"):
        sao_weight(10, 10, 4)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 9), (9, 1), (16, 16), (17, 40), (40, 17)])
def test_a_dense_weight_is_an_isometry_and_its_mask_all_ones(m, n):
    weight = dense_weight(m, n, seed=2)
    assert weight.mask == Mask.from_dense(np.ones((m, n)))
    assert isometry_error(weight.to_dense()) <= TIGHT
    np.testing.assert_array_equal(weight.values, orthogonal_values(weight.mask, seed=2))


def test_a_dense_weight_takes_every_law():
    weight = dense_weight(200, 100, values="glorot-uniform")
    assert abs(weight.values).max() < np.sqrt(6 / 300)
    with pytest.raises(SaoError, match=r"unknown values 'orthogonl'; did you mean 'orthogonal'\?"):
        dense_weight(2, 2, values="orthogonl")
    with pytest.raises(MemoryLimitError):
        dense_weight(10**7, 10**7)


def test_rg_s_is_the_mask_times_the_dense_layer():
    mask = lrp_mask(30, 50, 200, seed=4, layer=2)
    dense = dense_orthogonal(30, 50, seed=4, layer=2)
    weight = Matrix(mask, rg_s_values(mask, seed=4, layer=2))
    np.testing.assert_array_equal(weight.to_dense(), mask.to_dense(float) * dense)
    np.testing.assert_array_equal(dense.ravel(), dense_weight(30, 50, seed=4, layer=2).values)


def test_rg_s_entries_have_the_variance_of_a_dense_orthogonal_layer():
    mask = sao_mask(100, 400, 40)
    values = rg_s_values(mask)
    assert abs((values**2).mean() * 400 - 1) < 4 * np.sqrt(2 / mask.nnz)
