"""What each construction promises: degrees, structure, uniformity, and the same seed for the same bytes."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sao_cli.base.errors import DeadlineError, InfeasibleError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.masks import ramanujan
from sao_cli.masks.biregular import _global_trade, biregular_mask
from sao_cli.masks.build_masks import METHODS, mask_stack
from sao_cli.masks.degrees import feasible_degrees
from sao_cli.masks.lrp import lrp_mask
from sao_cli.masks.radix import radix_stack
from sao_cli.masks.ramanujan import ramanujan_mask
from sao_cli.masks.sao import sao_mask
from sao_cli.masks.xnet import xnet_mask
from sao_cli.measure.reach.reachability import reachability


@st.composite
def sao_sizes(draw, least=1):
    """(m, n, d) of a feasible SAO mask, rectangular ones included."""
    groups, c, d = draw(st.integers(1, 12)), draw(st.integers(least, 6)), draw(st.integers(least, 6))
    return groups * c, groups * d, d


def second_singular_value(mask):
    values = np.linalg.svd(mask.to_dense(float), compute_uv=False)
    return values[1] if values.size > 1 else 0.0


@given(sao_sizes(), st.integers(0, 5), st.sampled_from(["random", "minimal"]))
def test_sao_is_k_disjoint_complete_bipartite_graphs(sizes, seed, arrangement):
    m, n, d = sizes
    mask = sao_mask(m, n, d, seed=seed, arrangement=arrangement)
    c, groups = m * d // n, n // d
    assert mask.shape == (m, n)
    assert set(mask.row_degrees.tolist()) == {d}
    assert set(mask.column_degrees.tolist()) == {c}
    values = np.linalg.svd(mask.to_dense(float), compute_uv=False)
    np.testing.assert_allclose(values[:groups], math.sqrt(c * d), rtol=1e-12)
    np.testing.assert_allclose(values[groups:], 0, atol=1e-6)


@given(sao_sizes())
def test_sao_minimal_is_the_generalised_de_bruijn_arrangement(sizes):
    """Row i is of group i // c and column j of group j mod K (docs/theory.md, 7), position by position."""
    m, n, d = sizes
    c, groups = m * d // n, n // d
    dense = sao_mask(m, n, d, arrangement="minimal").to_dense()
    expected = [[i // c == j % groups for j in range(n)] for i in range(m)]
    np.testing.assert_array_equal(dense, expected)


@st.composite
def feasible_stacks(draw):
    """Shapes (m, n, d) of up to six layers that chain, widths and degrees unequal."""
    n, shapes = draw(st.integers(1, 24)), []
    for _ in range(draw(st.integers(1, 6))):
        groups = draw(st.sampled_from([k for k in range(1, n + 1) if n % k == 0]))
        m = groups * draw(st.integers(1, max(1, 40 // groups)))
        shapes.append((m, n, n // groups))
        n = m
    return shapes


@settings(max_examples=400)
@given(feasible_stacks())
def test_minimal_stacks_are_full_as_early_as_the_degrees_allow(shapes):
    masks = [sao_mask(m, n, d, arrangement="minimal") for m, n, d in shapes]
    reached = itertools.accumulate((m * d // n for m, n, d in shapes), lambda product, c: product * c)
    first = next((depth for depth, (c, (m, _, _)) in enumerate(zip(reached, shapes, strict=True), 1) if c >= m), None)
    summary = reachability(masks).summary
    assert summary.full_at == summary.minimum_possible == first


def test_sao_random_is_blocks_side_by_side_or_one_above_the_other():
    tall, wide = sao_mask(12, 6, 3, seed=1).to_dense(), sao_mask(6, 12, 6, seed=1).to_dense()
    np.testing.assert_array_equal(tall, np.tile(tall[:, :2], (1, 3)))
    assert (tall[:, :2].sum(1) == 1).all()
    np.testing.assert_array_equal(wide, np.tile(wide[:2], (3, 1)))
    assert (wide[:2].sum(0) == 1).all()


def test_sao_groups_are_uniformly_random():
    """4 rows into 2 groups of 2: each of the 6 labelled partitions, 1000 draws, chi-square below its 0.999 quantile."""
    drawn = collections.Counter(tuple(sao_mask(4, 4, 2, seed=seed).indices[::2].tolist()) for seed in range(1000))
    assert len(drawn) == 6
    chi_square = sum((count - 1000 / 6) ** 2 / (1000 / 6) for count in drawn.values())
    assert chi_square < 20.5


@settings(max_examples=20)
@given(sao_sizes(least=3), st.integers(0, 3))
def test_ramanujan_is_connected_biregular_and_within_the_bound(sizes, seed):
    m, n, d = sizes
    mask = ramanujan_mask(m, n, d, seed=seed)
    c = m * d // n
    assert set(mask.row_degrees.tolist()) == {d}
    assert set(mask.column_degrees.tolist()) == {c}
    assert second_singular_value(mask) <= math.sqrt(c - 1) + math.sqrt(d - 1) + 1e-9


def test_ramanujan_of_degree_two_is_one_hamiltonian_cycle():
    mask = ramanujan_mask(50, 50, 2, seed=3)
    assert mask.provenance["draws"] == 1  # random lifts are cycles of many lengths, and most draws would fail
    assert set(mask.row_degrees.tolist()) == set(mask.column_degrees.tolist()) == {2}
    assert second_singular_value(mask) == pytest.approx(2 * math.cos(math.pi / 50))


def test_ramanujan_gives_up_by_saying_so(monkeypatch):
    monkeypatch.setattr(ramanujan, "is_ramanujan", lambda *_, **__: False)
    with pytest.raises(DeadlineError, match="none of 200 random lifts"):
        ramanujan_mask(16, 16, 4)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("size", [4, 9, 30])
def test_biregular_degrees(size, d):
    mask = biregular_mask(size, size, d, seed=size)
    assert set(mask.row_degrees.tolist()) == set(mask.column_degrees.tolist()) == {d}
    assert (np.diff(mask.indices.reshape(size, d), axis=1) > 0).all()


@pytest.mark.parametrize(
    ("m", "n", "d", "sampler"), [(64, 64, 16, "trades"), (40, 20, 17, "rejection"), (8, 8, 8, "rejection")]
)
def test_biregular_dense_degrees(m, n, d, sampler):
    mask = biregular_mask(m, n, d)
    assert mask.provenance["sampler"] == sampler
    assert set(mask.row_degrees.tolist()) == {d}
    assert set(mask.column_degrees.tolist()) == {m * d // n}
    assert (np.diff(mask.indices.reshape(m, d), axis=1) > 0).all()


def all_biregular(size, d):
    """Every square 0/1 matrix with d ones a row and a column, by trying all row choices."""
    rows = list(itertools.combinations(range(size), d))
    count = d * np.ones(size)
    return [
        sum(choice, ())
        for choice in itertools.product(rows, repeat=size)
        if np.array_equal(np.bincount(sum(choice, ()), minlength=size), count)
    ]


def test_biregular_by_rejection_is_uniform_over_all_graphs():
    """90 graphs of 4 x 4 with d = 2; 9000 draws, chi-square below its 0.999 quantile (89 degrees of freedom: 135.9)."""
    graphs = all_biregular(4, 2)
    drawn = collections.Counter(tuple(biregular_mask(4, 4, 2, seed=seed).indices.tolist()) for seed in range(9000))
    assert len(graphs) == 90
    assert set(drawn) == set(graphs)
    assert sum((count - 100) ** 2 / 100 for count in drawn.values()) < 135.9


def test_global_trades_mix_to_the_uniform_law():
    """The chain behind dense degrees, from one fixed graph, 12 rounds: the same 90 graphs, the same test."""
    rng = np.random.default_rng(5)
    start = np.array([[0, 1], [0, 1], [2, 3], [2, 3]])
    drawn = collections.Counter()
    for _ in range(9000):
        columns = start
        for _ in range(12):
            columns = _global_trade(columns, rng)
        drawn[tuple(np.sort(columns, axis=1).reshape(-1).tolist())] += 1
    assert set(drawn) == set(all_biregular(4, 2))
    assert sum((count - 100) ** 2 / 100 for count in drawn.values()) < 135.9


@pytest.mark.parametrize(("m", "n", "d"), [(500, 300, 4), (500, 300, 40), (7, 5, 5), (3, 1, 1)])
def test_xnet_rows_have_d_distinct_columns(m, n, d):
    mask = xnet_mask(m, n, d, seed=1)
    assert set(mask.row_degrees.tolist()) == {d}
    assert (np.diff(mask.indices.reshape(m, d), axis=1) > 0).all()
    variance = m * d / n * (1 - d / n)  # of a column's degree, which is binomial
    slack = 4 * math.sqrt((2 + 1 / variance) / n) if variance else 0  # four standard errors of n values' variance
    assert abs(mask.column_degrees.var() - variance) <= slack * variance


@pytest.mark.parametrize("d", [2, 5])
def test_xnet_columns_are_equally_likely(d):
    """Both samplers (d^2 <= 2n or not) at n = 8: 4000 rows over every pair or quintuple, chi-square at 0.999."""
    mask = xnet_mask(4000, 8, d, seed=2)
    drawn = collections.Counter(map(tuple, mask.indices.reshape(-1, d).tolist()))
    expected = 4000 / math.comb(8, d)
    chi_square = sum((count - expected) ** 2 / expected for count in drawn.values())
    assert len(drawn) == math.comb(8, d)
    assert chi_square < {2: 55.5, 5: 91.9}[d]  # 27 and 55 degrees of freedom


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_lrp_keeps_exactly_as_many_as_asked(m, n, data):
    nnz = data.draw(st.integers(1, m * n))
    mask = lrp_mask(m, n, nnz, seed=1)
    assert mask.nnz == nnz == mask.to_dense().sum()


@pytest.mark.parametrize("nnz", [2, 4])
def test_lrp_positions_are_equally_likely(nnz):
    """Sparse and dense samplers on 6 places, 3000 draws, all 15 subsets; chi-square at 0.999 (14 degrees)."""
    drawn = collections.Counter(
        tuple(np.flatnonzero(lrp_mask(2, 3, nnz, seed=seed).to_dense())) for seed in range(3000)
    )
    assert len(drawn) == 15
    assert sum((count - 200) ** 2 / 200 for count in drawn.values()) < 36.1


def test_radix_layers_are_mixed_radix_digits():
    """Radices 2, 3, 2 of 12 nodes: layer l joins i to i + t v (mod 12), v = 1, 2, 6; then a new system."""
    masks = radix_stack([12] * 5, [2, 3, 2, 4])
    for mask, (place, radix) in zip(masks, [(1, 2), (2, 3), (6, 2), (1, 4)], strict=True):
        dense = mask.to_dense()
        for i in range(12):
            assert set(np.flatnonzero(dense[:, i])) == {(i + t * place) % 12 for t in range(radix)}
    product = np.linalg.multi_dot([mask.to_dense(int) for mask in masks[2::-1]])
    np.testing.assert_array_equal(product, np.ones((12, 12)))  # one path between any two nodes of a system


def test_radix_begins_a_new_system_where_the_next_digit_does_not_fit():
    assert [mask.provenance["place"] for mask in radix_stack([12] * 5, [4, 2, 3, 2])] == [1, 1, 2, 6]


def test_radix_unequal_widths_are_kronecker_products():
    masks = radix_stack([6, 12, 6], [2, 4])
    np.testing.assert_array_equal(masks[0].to_dense(), np.tile(masks[0].to_dense()[:6], (2, 1)))
    np.testing.assert_array_equal(masks[1].to_dense(), np.tile(masks[1].to_dense()[:, :6], (1, 2)))


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_radix_has_every_feasible_degree(m, n, data):
    d = data.draw(st.sampled_from(feasible_degrees(m, n, "radix")))
    (mask,) = radix_stack([n, m], [d])
    assert set(mask.row_degrees.tolist()) == {d}
    assert set(mask.column_degrees.tolist()) == {m * d // n}


def test_radix_degrees_that_share_no_base_are_refused():
    with pytest.raises(InfeasibleError, match="one common divisor"):
        radix_stack([6, 12, 12], [1, 1])


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_mask_and_layers_differ(method):
    first = mask_stack([64, 64, 64], method=method, seed=7)
    again = mask_stack([64, 64, 64], method=method, seed=7)
    other = mask_stack([64, 64, 64], method=method, seed=8)
    assert first == again
    assert first[0] != first[1]
    assert method == "radix" or first[0] != other[0]
    assert [mask.provenance["layer"] for mask in first] == [1, 2]
    assert all(mask.provenance["method"] == method for mask in first)


@pytest.mark.parametrize("method", METHODS)
def test_masks_are_well_formed(method):
    (mask,) = mask_stack([48, 96], method=method, sparsity=0.9, seed=2)
    rebuilt = Mask.from_dense(mask.to_dense())
    assert mask == rebuilt
    assert mask.indices.dtype == mask.indptr.dtype == np.int32
    assert not mask.indices.flags.writeable


def test_lrp_targets():
    assert mask_stack([100, 50], method="lrp", sparsity=0.9876)[0].nnz == round((1 - 0.9876) * 5000)
    assert mask_stack([100, 50], method="lrp", c=3)[0].nnz == 300
    assert mask_stack([100, 50], method="lrp", d=3)[0].nnz == 150
    with pytest.raises(SaoError, match="give one of them"):
        mask_stack([100, 50], method="lrp", c=3, sparsity=0.5)


def test_bad_requests():
    with pytest.raises(SaoError, match="did you mean 'ramanujan'"):
        mask_stack([8, 8], method="ramanujn")
    with pytest.raises(SaoError, match="is of SAO masks"):
        mask_stack([8, 8], method="xnet", arrangement="minimal")
    with pytest.raises(SaoError, match="unknown arrangement 'sorted'"):
        mask_stack([8, 8], arrangement="sorted")
    with pytest.raises(InfeasibleError, match="describe no layer"):
        mask_stack([8])
    with pytest.raises(InfeasibleError, match="keeps 65 weights"):
        lrp_mask(8, 8, 65)


@pytest.mark.parametrize("method", METHODS)
def test_sizes_beyond_memory_are_refused_before_anything_is_taken(method):
    with pytest.raises(MemoryLimitError, match=r"needs .*B, and .*B is free"):
        mask_stack([2**30, 2**30], method=method, d=2**10)
