"""Reachability against exact path counts, networkx and closed forms."""

from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sao_cli.base.errors import FormatError, MemoryLimitError, SaoError
from sao_cli.data.mask import Mask
from sao_cli.measure.reach import paths
from sao_cli.measure.reach.reachability import reachability

from ..oracles import rank_by_integers


def path_counts(matrices):
    """M_1^T, M_1^T M_2^T, ... with as many digits as it takes: the number of paths from each input to each output."""
    product, counts = np.eye(matrices[0].shape[1], dtype=int).astype(object), []
    for matrix in matrices:
        product = product @ matrix.T.astype(int).astype(object)
        counts.append(product)
    return counts


def assert_is_what_the_path_counts_say(matrices, masks=None):
    masks = masks or [Mask.from_dense(matrix) for matrix in matrices]
    result = reachability(masks, rank=True, keep="all")
    for depth, boolean, odd, counts in zip(
        result.depths, result.boolean, result.odd, path_counts(matrices), strict=True
    ):
        reached, parity = counts > 0, counts % 2 == 1
        np.testing.assert_array_equal(boolean.to_dense(), reached)
        np.testing.assert_array_equal(odd.to_dense(), parity)
        assert (depth.inputs, depth.outputs) == counts.shape
        assert depth.reachable == int(reached.sum()) / reached.size
        assert depth.odd_paths == int(parity.sum()) / parity.size
        assert depth.unreached_outputs == int((~reached.any(axis=0)).sum())
        assert depth.lost_inputs == int((~reached.any(axis=1)).sum())
        assert depth.full == bool(reached.all())
        assert depth.rank_f2 == rank_by_integers(parity)
    assert [depth.layer for depth in result.depths] == list(range(1, len(matrices) + 1))
    assert reachability(masks).depths == tuple(without_rank(depth) for depth in result.depths)
    return result


def without_rank(depth):
    return replace(depth, rank_f2=None)


def ungrouped(matrix):
    """The mask of `matrix`, with its group structure hidden from whoever asks."""
    mask = Mask.from_dense(matrix)
    mask.__dict__["groups"] = None
    return mask


def partition_mask(rows, columns):
    """Ones where the labels agree; -1 is in no group."""
    return (rows[:, None] == columns[None, :]) & (rows[:, None] >= 0)


def random_sao(n, d, rng):
    labels = np.repeat(np.arange(n // d), d)
    return partition_mask(rng.permutation(labels), np.tile(np.arange(n // d), d))


def random_matrix(m, n, rng):
    """A layer of one of many kinds: any density, dead nodes, groups of any sizes, all ones, few ones."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.random((m, n)) < rng.random() ** 2
    if kind == 1:
        return rng.random((m, n)) < 2 / n
    if kind == 2:
        return np.ones((m, n), bool)
    if kind == 3:
        return (rng.random((m, n)) < 0.3) & (rng.random((m, 1)) < 0.7) & (rng.random((1, n)) < 0.7)
    groups = rng.integers(1, 8)
    return partition_mask(rng.integers(-1, groups, m), rng.integers(-1, groups, n))


@st.composite
def small_stacks(draw):
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5))
    return [draw(hnp.arrays(bool, (m, n))) for n, m in pairwise(widths)]


@st.composite
def stacks(draw, largest=150):
    widths = draw(st.lists(st.integers(1, largest), min_size=2, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [random_matrix(m, n, rng) for n, m in pairwise(widths)]


@given(small_stacks())
def test_every_small_stack(matrices):
    assert_is_what_the_path_counts_say(matrices)


@settings(max_examples=150)
@given(stacks())
def test_irregular_stacks_with_dead_nodes(matrices):
    assert_is_what_the_path_counts_say(matrices)


@settings(max_examples=40)
@given(stacks())
def test_groups_change_nothing_but_the_time(matrices):
    plain = [ungrouped(matrix) for matrix in matrices]
    assert reachability(plain, rank=True) == reachability([Mask.from_dense(matrix) for matrix in matrices], rank=True)


@pytest.mark.parametrize("hidden", [[], [0], [1], [0, 2], [0, 1, 2, 3]])
def test_sao_stacks_with_some_groups_hidden(hidden):
    rng = np.random.default_rng(5)
    matrices = [random_sao(96, 4, rng) for _ in range(4)]
    masks = [ungrouped(m) if layer in hidden else Mask.from_dense(m) for layer, m in enumerate(matrices)]
    assert_is_what_the_path_counts_say(matrices, masks)


@settings(max_examples=40)
@given(stacks(largest=200))
def test_small_tiles_and_chunks_change_nothing(matrices):
    masks = [Mask.from_dense(matrix) for matrix in matrices]
    whole = reachability(masks, rank=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "_TILE_BYTES", 1)
        patch.setattr(paths, "_TILE_WORDS", 1)
        patch.setattr(paths, "_CHUNK_WORDS", 7)
        assert reachability(masks, rank=True) == whole


@settings(max_examples=40)
@given(stacks(largest=40))
def test_networkx_finds_the_same_descendants(matrices):
    graph = nx.DiGraph()
    graph.add_nodes_from((0, node) for node in range(matrices[0].shape[1]))
    for layer, matrix in enumerate(matrices):
        graph.add_nodes_from((layer + 1, node) for node in range(matrix.shape[0]))
        graph.add_edges_from(((layer, j), (layer + 1, i)) for i, j in np.argwhere(matrix).tolist())
    result = reachability([Mask.from_dense(matrix) for matrix in matrices], keep="all")
    for start in range(matrices[0].shape[1]):
        found = nx.descendants(graph, (0, start))
        for layer, reached in enumerate(result.boolean, start=1):
            expected = {node for at, node in found if at == layer}
            assert set(np.flatnonzero(reached.to_dense()[start]).tolist()) == expected


@pytest.mark.parametrize("width", [2, 64, 65, 130, 131])
def test_all_ones_cancel_over_f2_where_the_width_is_even(width):
    result = assert_is_what_the_path_counts_say([np.ones((width, width), bool)] * 3)
    assert [depth.odd_paths for depth in result.depths] == ([1.0, 0.0, 0.0] if width % 2 == 0 else [1.0] * 3)
    assert [depth.rank_f2 for depth in result.depths] == ([1, 0, 0] if width % 2 == 0 else [1] * 3)
    assert all(depth.full for depth in result.depths)


def test_permutations_keep_one_path_and_full_rank():
    rng = np.random.default_rng(0)
    permutations = [np.eye(130, dtype=bool)[rng.permutation(130)] for _ in range(4)]
    result = assert_is_what_the_path_counts_say(permutations)
    assert {(depth.reachable, depth.odd_paths, depth.rank_f2) for depth in result.depths} == {(1 / 130, 1 / 130, 130)}
    assert result.summary.minimum_possible is None


@pytest.mark.parametrize("widths", [(1, 1), (200, 1), (1, 200), (200, 1, 200), (1, 100, 1), (100, 1, 1, 100)])
def test_bottlenecks(widths):
    rng = np.random.default_rng(len(widths))
    pairs = list(pairwise(widths))
    assert_is_what_the_path_counts_say([np.ones((m, n), bool) for n, m in pairs])
    assert_is_what_the_path_counts_say([rng.random((m, n)) < 0.5 for n, m in pairs])


def test_one_row_that_reads_everything_among_rows_that_read_one():
    matrix = np.eye(150, dtype=bool)
    matrix[7] = True
    matrix[9, ::2] = True
    assert_is_what_the_path_counts_say([matrix, matrix.T, matrix])


def test_dead_stacks():
    nothing, everything = np.zeros((70, 70), bool), np.ones((70, 70), bool)
    result = assert_is_what_the_path_counts_say([nothing, everything])
    assert (result.depths[1].unreached_outputs, result.depths[1].lost_inputs) == (70, 70)
    result = assert_is_what_the_path_counts_say([everything, nothing, everything])
    assert [depth.full for depth in result.depths] == [True, False, False]
    assert result.summary.full_at == 1


def test_dead_outputs_after_full_reach():
    """Once full, no bit is computed any more; dead nodes further on must still be seen."""
    half = np.ones((90, 90), bool)
    half[::2] = False
    everything = np.ones((90, 90), bool)
    blind = np.zeros((90, 90), bool)
    blind[:, ::2] = True
    matrices = [everything, half, everything, half, blind, everything]
    result = assert_is_what_the_path_counts_say(matrices)
    assert_is_what_the_path_counts_say(matrices, [ungrouped(matrix) for matrix in matrices])
    assert [depth.reachable for depth in result.depths] == [1.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    assert [depth.lost_inputs for depth in result.depths] == [0, 0, 0, 0, 90, 90]


def test_a_ring_loses_inputs_where_later_layers_ignore_nodes():
    ring = np.eye(100, dtype=bool) | np.roll(np.eye(100, dtype=bool), 1, axis=1)
    deaf = ring & (np.arange(100) % 10 > 2)
    result = assert_is_what_the_path_counts_say([ring, deaf, ring, deaf])
    assert result.depths[1].lost_inputs > 0
    assert result.depths[1].unreached_outputs > 0


def minimal_mask(m, n, groups):
    """Row i in group i // c, column j in group j mod K (`minimal`, the generalised de Bruijn digraph)."""
    return partition_mask(np.arange(m) // (m // groups), np.arange(n) % groups)


@st.composite
def feasible_stacks(draw):
    """(m, n, K) a layer, widths chained, K a common divisor of both."""
    width = draw(st.sampled_from([6, 12, 24, 36, 48, 60, 90, 96]))
    layers = []
    for _ in range(draw(st.integers(1, 7))):
        m = draw(st.sampled_from([4, 6, 12, 18, 24, 36, 48, 60, 72, 90, 96]))
        common = np.gcd(m, width)
        groups = draw(st.sampled_from([k for k in range(1, common + 1) if common % k == 0]))
        layers.append((m, width, int(groups)))
        width = m
    return layers


@settings(max_examples=400)
@given(feasible_stacks())
def test_minimal_arrangement_is_full_at_the_first_depth_possible(layers):
    result = reachability([Mask.from_dense(minimal_mask(*layer)) for layer in layers])
    reached, least = 1, None
    for depth, (m, _, groups) in enumerate(layers, start=1):
        reached *= m // groups
        if least is None and reached >= m:
            least = depth
    assert result.summary.full_at == result.summary.minimum_possible == least


@settings(max_examples=200)
@given(stacks(largest=40))
def test_minimum_possible_is_a_lower_bound(matrices):
    summary = reachability([Mask.from_dense(matrix) for matrix in matrices]).summary
    if summary.full_at is not None:
        assert summary.minimum_possible is not None
        assert summary.minimum_possible <= summary.full_at


def test_fresh_partitions_at_256_are_full_at_six_and_never_at_five():
    """Design 4.5: against Fig. 8 of the SAO paper, which has five."""
    full_at = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        masks = [Mask.from_dense(random_sao(256, 4, rng)) for _ in range(7)]
        full_at.append(reachability(masks).summary.full_at)
    assert 5 not in full_at
    assert full_at.count(6) > 50
    assert reachability(masks).summary.minimum_possible == 4


def test_odd_paths_of_groups_count_members_not_groups():
    """A group of even width read from all-alike sources cancels; its members alone do not."""
    pairs = partition_mask(np.repeat(np.arange(3), 2), np.repeat(np.arange(3), 2))
    triples = partition_mask(np.repeat(np.arange(2), 3), np.repeat(np.arange(2), 3))
    result = assert_is_what_the_path_counts_say([pairs, triples, pairs])
    assert [depth.odd_paths for depth in result.depths] == [1 / 3, 1 / 3, 0.0]


def test_unequal_group_sizes_weigh_what_they_stand_for():
    rows = np.repeat([0, 1, 2, -1], [1, 5, 100, 3])
    columns = np.repeat([2, 1, 0, -1], [70, 2, 1, 6])
    wide = partition_mask(rows, columns)
    assert_is_what_the_path_counts_say([wide, np.ones((4, 109), bool)])
    assert_is_what_the_path_counts_say([wide, wide.T, wide])


def test_counts_past_32_bits_are_exact():
    n = 100_000
    wide = Mask(np.array([0, n - 1]), np.arange(n - 1), (1, n))  # one input is dead
    tall = Mask(np.arange(n + 1), np.zeros(n, np.int32), (n, 1))
    result = reachability([wide, tall])
    assert result.depths[1].reachable == (n - 1) * n / n**2
    assert result.depths[1].odd_paths == (n - 1) * n / n**2
    assert (result.depths[1].lost_inputs, result.depths[1].full) == (1, False)


def test_one_mask_is_a_stack_of_one():
    matrix = np.random.default_rng(0).random((70, 90)) < 0.1
    result = assert_is_what_the_path_counts_say([matrix])
    np.testing.assert_array_equal(result.boolean[0].to_dense(), matrix.T)
    assert result.depths[0].reachable == Mask.from_dense(matrix).density


def test_keeping_the_last_matrix_only():
    rng = np.random.default_rng(1)
    matrices = [random_matrix(m, n, rng) for n, m in ((70, 80), (80, 60), (60, 90))]
    result = reachability([Mask.from_dense(matrix) for matrix in matrices], keep="last")
    (boolean,), (odd,) = result.boolean, result.odd
    counts = path_counts(matrices)[-1]
    np.testing.assert_array_equal(boolean.to_dense(), counts > 0)
    np.testing.assert_array_equal(odd.to_dense(), counts % 2 == 1)
    assert [depth.rank_f2 for depth in result.depths] == [None] * 3


def test_nothing_is_kept_unless_asked_for():
    result = reachability([Mask.from_dense(np.eye(3))], rank=True)
    assert (result.boolean, result.odd) == ((), ())


def test_an_empty_stack_is_an_error():
    with pytest.raises(FormatError, match="at least one mask"):
        reachability([])


def test_widths_that_do_not_chain_are_named():
    masks = [Mask.from_dense(np.ones(shape)) for shape in ((128, 256), (128, 128), (10, 256))]
    with pytest.raises(FormatError, match=r"^layer 3 reads 256 inputs, and layer 2 has 128 outputs; .*\S$"):
        reachability(masks)


def test_an_unknown_keep_is_an_error():
    with pytest.raises(SaoError, match="keep='first'"):
        reachability([Mask.from_dense(np.eye(3))], keep="first")


@pytest.mark.parametrize("options", [{"rank": True}, {"keep": "last"}, {"keep": "all"}])
def test_what_does_not_fit_is_refused_before_it_is_allocated(options, monkeypatch):
    monkeypatch.setattr("sao_cli.base.memory.available_memory", lambda: 1000)
    masks = [Mask.from_dense(np.eye(200))] * 3
    assert reachability(masks).depths
    with pytest.raises(MemoryLimitError, match="packed"):
        reachability(masks, **options)


def test_progress_counts_tiles(monkeypatch):
    monkeypatch.setattr(paths, "_TILE_BYTES", 1)
    calls = []
    reachability([Mask.from_dense(np.eye(1000))], progress=lambda *call: calls.append(call))
    assert calls == [("reach", number, 4) for number in (1, 2, 3, 4)]


def test_an_interrupt_passes_through():
    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reachability([Mask.from_dense(np.eye(10))], progress=interrupt)
