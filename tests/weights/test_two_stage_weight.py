"""Two-stage weights: exactly orthogonal on a connected mask, by dense linear algebra and by the stages' product."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import InfeasibleError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.data.matrix import Matrix
from sao_cli.masks.ramanujan import ramanujan_mask
from sao_cli.masks.two_stage import find_stages, two_stage_factors, two_stage_mask
from sao_cli.weights.two_stage_weight import two_stage_values, two_stage_weight

EPS = np.finfo(float).eps
SHAPES = [(m, n) for m in range(4, 41) for n in range(4, 41) if two_stage_factors(m, n)]


@st.composite
def sizes(draw):
    """(m, n, d) of a feasible two-stage mask."""
    m, n = draw(st.sampled_from(SHAPES))
    return m, n, draw(st.sampled_from(list(two_stage_factors(m, n))))


@given(sizes(), st.integers(0, 3))
def test_all_singular_values_are_one(shape, seed):
    m, n, d = shape
    weight = two_stage_weight(m, n, d, seed=seed)
    assert weight.mask == two_stage_mask(m, n, d, seed=seed)
    assert weight.values.all()
    dense = weight.to_dense()
    np.testing.assert_allclose(np.linalg.svd(dense, compute_uv=False), 1, atol=10 * EPS * max(m, n))
    gram = dense @ dense.T if m <= n else dense.T @ dense
    np.testing.assert_allclose(gram, np.eye(min(m, n)), atol=10 * EPS * max(m, n))


def test_at_the_papers_size_to_thirteen_digits():
    values = np.linalg.svd(two_stage_weight(256, 256, 16, seed=1).to_dense(), compute_uv=False)
    np.testing.assert_allclose(values, 1, atol=1e-13)


@given(sizes(), st.integers(0, 3))
def test_every_block_between_two_groups_has_rank_one(shape, seed):
    """The entries from one group of inputs to one of outputs all pass one hidden node: an outer product."""
    m, n, d = shape
    weight = two_stage_weight(m, n, d, seed=seed)
    stages = find_stages(weight.mask)
    dense = weight.to_dense()
    for hidden in range(min(m, n)):
        inputs = stages.first.indices[stages.first.indptr[hidden] : stages.first.indptr[hidden + 1]]
        outputs = np.flatnonzero(stages.second.to_dense()[:, hidden])
        block = dense[np.ix_(outputs, inputs)]
        assert block.all()
        np.testing.assert_allclose(np.outer(block[:, 0], block[0]), block * block[0, 0], atol=10 * EPS)


@settings(max_examples=30)
@given(sizes())
def test_values_fit_a_mask_from_anywhere(shape):
    """Rows and columns in another order, as a file may hold them: still orthogonal on exactly this mask."""
    m, n, d = shape
    rng = np.random.default_rng(m * n)
    mask = Mask.from_dense(two_stage_mask(m, n, d).to_dense()[rng.permutation(m)][:, rng.permutation(n)])
    values = np.linalg.svd(Matrix(mask, two_stage_values(mask)).to_dense(), compute_uv=False)
    np.testing.assert_allclose(values, 1, atol=10 * EPS * max(m, n))


def stage_magnitudes(weight):
    """|s_1| and |s_2| of a square layer, row by row: its blocks are outer products of unit vectors of the stages."""
    stages, squares = find_stages(weight.mask), weight.to_dense() ** 2
    first, second = stages.first.to_dense(), stages.second.to_dense()
    of_first = np.sqrt(second.T.astype(float) @ squares)[first]
    of_second = np.sqrt(squares @ first.T.astype(float))[second]
    return of_first.reshape(weight.mask.m, -1), of_second.reshape(weight.mask.m, -1)


def test_both_stages_hold_haar_blocks_of_their_own():
    """Rows are uniform on the unit sphere of 4 dimensions: E s^4 = 3/(4 6), to 4 standard errors over 256 blocks."""
    parts = stage_magnitudes(two_stage_weight(1024, 1024, 16, seed=1))
    for part in parts:
        np.testing.assert_allclose((part**2).sum(axis=1), 1, atol=1e-12)
        fourths = (part**4).mean(axis=1).reshape(256, 4).mean(axis=1)
        assert abs(fourths.mean() - 1 / 8) < 4 * fourths.std() / np.sqrt(256)
    first, second = (np.sort(part, axis=None) for part in parts)
    assert abs(first - second).max() > 1e-4  # with one stream drawn twice the stages would hold the same numbers


def test_entries_have_mean_zero():
    """E w = 0 and E w^2 = 1/16; entries are uncorrelated, since a block's rows and columns change sign freely."""
    values = two_stage_weight(1024, 1024, 16, seed=2).values
    assert abs(values.mean()) < 4 * np.sqrt(1 / 16 / values.size)


def test_the_same_seed_gives_the_same_bytes_and_layers_differ():
    first, again = two_stage_weight(32, 64, 8, seed=5), two_stage_weight(32, 64, 8, seed=5)
    assert first == again
    assert first != two_stage_weight(32, 64, 8, seed=6)
    assert first != two_stage_weight(32, 64, 8, seed=5, layer=2)
    mask = first.mask
    np.testing.assert_array_equal(first.values, two_stage_values(mask, seed=5))
    assert (two_stage_values(mask, seed=5, layer=2) != first.values).any()


def test_provenance_tells_the_stages_and_the_values():
    told = two_stage_weight(32, 64, 8, seed=5).mask.provenance
    assert (told["method"], told["stages"], told["values"], told["d"], told["c"]) == (
        "two-stage",
        [4, 2],
        "orthogonal",
        8,
        4,
    )


def test_what_is_no_two_stage_mask_is_refused_in_one_line():
    with pytest.raises(SaoError, match=r"need a two-stage mask.* --values isometry fits any mask") as caught:
        two_stage_values(ramanujan_mask(16, 16, 4))
    assert "\n" not in str(caught.value)
    with pytest.raises(InfeasibleError, match="nearest feasible"):
        two_stage_weight(64, 64, 5)
