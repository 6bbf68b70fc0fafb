"""The Mask: what it knows of itself, and its way to and from the ecosystem's types."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sao_cli.base.errors import FormatError, MemoryLimitError
from sao_cli.data.mask import Mask

PATTERNS = npst.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(PATTERNS)
def test_facts_are_those_of_the_dense_matrix(pattern):
    mask = Mask.from_dense(pattern)
    assert (mask.m, mask.n, mask.nnz) == (*pattern.shape, pattern.sum())
    assert mask.density == pattern.mean()
    assert mask.sparsity == pytest.approx(1 - pattern.mean())
    np.testing.assert_array_equal(mask.row_degrees, pattern.sum(1))
    np.testing.assert_array_equal(mask.column_degrees, pattern.sum(0))
    np.testing.assert_array_equal(mask.T.to_dense(), pattern.T)


@given(PATTERNS)
def test_round_trips(pattern):
    mask = Mask.from_dense(pattern)
    assert Mask.from_scipy(mask.to_scipy()) == mask
    assert Mask.from_networkx(mask.to_networkx()) == mask
    assert Mask.from_torch(mask.to_torch()) == mask
    assert Mask.from_torch(mask.to_torch().float().to_sparse()) == mask
    rows, columns = np.nonzero(pattern)
    shuffled = np.random.default_rng(0).permutation(rows.size)
    assert Mask.from_entries(np.tile(rows[shuffled], 2), np.tile(columns[shuffled], 2), pattern.shape) == mask


@given(PATTERNS)
def test_groups_are_found_exactly_where_every_component_is_complete(pattern):
    mask = Mask.from_dense(pattern)
    parts = [part for part in nx.connected_components(mask.to_networkx()) if len(part) > 1]
    inputs = [[node for node in part if node < mask.n] for part in parts]
    outputs = [[node - mask.n for node in part if node >= mask.n] for part in parts]
    complete = all(pattern[np.ix_(rows, columns)].all() for rows, columns in zip(outputs, inputs, strict=True))
    groups = mask.groups
    assert (groups is not None) == complete
    if groups is not None:
        assert groups.count == len(parts)
        same = (groups.rows[:, None] == groups.columns[None, :]) & (groups.rows[:, None] >= 0)
        np.testing.assert_array_equal(same, pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        [[1, 1, 0], [0, 1, 1]],  # two rows that differ and share a column
        [[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]],
        [[1, 0, 1], [1, 1, 0]],
        [[1, 1, 0], [1, 1, 0], [0, 1, 1]],
    ],
)
def test_rows_of_one_degree_that_overlap_are_no_groups(pattern):
    assert Mask.from_dense(pattern).groups is None


def test_values_become_their_non_zero_pattern():
    weight = np.array([[0.5, 0.0], [-2.0, 0.0]])
    stored_zero = sp.csr_array((np.array([1.0, 0.0, -1.0]), np.array([0, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    cancelling = sp.coo_array(([1.0, -1.0, 3.0, 1.0], ([0, 0, 1, 0], [1, 1, 0, 0])), shape=(2, 2))
    for mask in (Mask.from_dense(weight), Mask.from_scipy(stored_zero), Mask.from_scipy(cancelling)):
        assert mask == Mask.from_dense([[1, 0], [1, 0]])


def test_from_scipy_leaves_its_argument_alone():
    matrix = sp.csr_array((np.array([1.0, 0.0]), np.array([1, 0]), np.array([0, 2])), shape=(1, 2))
    Mask.from_scipy(matrix)
    assert matrix.nnz == 2


def test_prune_takes_the_torch_mask():
    from torch.nn.utils import prune

    layer = torch.nn.Linear(4, 3)
    mask = Mask.from_dense(np.eye(3, 4))
    prune.custom_from_mask(layer, "weight", mask.to_torch())
    assert Mask.from_torch(layer.weight) == mask


def test_identity_is_the_pattern_and_not_the_provenance():
    assert Mask.from_dense(np.eye(2), {"seed": 1}) == Mask.from_dense(np.eye(2), {"seed": 2})
    assert Mask.from_dense(np.eye(2)) != Mask.from_dense(np.eye(3))
    assert Mask.from_dense(np.eye(2)) != "a mask"
    assert repr(Mask.from_dense(np.eye(2))) == "Mask(2 x 2, nnz=2, method='given')"


def test_arrays_are_read_only_and_the_givers_stay_writeable():
    indices = np.array([0, 1], dtype=np.int32)
    mask = Mask(np.array([0, 1, 2]), indices, (2, 2))
    with pytest.raises(ValueError, match="read-only"):
        mask.indices[0] = 1
    indices[0] = 0


def test_bad_input():
    with pytest.raises(FormatError, match=r"entry \(0, 1\) is nan"):
        Mask.from_dense([[1, np.nan]])
    with pytest.raises(FormatError, match="shape"):
        Mask.from_dense(np.ones(3))
    with pytest.raises(FormatError, match="empty"):
        Mask.from_dense(np.ones((0, 3)))
    with pytest.raises(FormatError, match=r"row 2 is outside 0 \.\. 1"):
        Mask.from_entries([2], [0], (2, 2))
    with pytest.raises(FormatError, match="63 bits"):
        Mask.from_entries([0], [0], (2**32, 2**32))
    with pytest.raises(FormatError, match="not finite"):
        Mask.from_scipy(sp.csr_array([[np.inf, 1.0]]))
    with pytest.raises(FormatError, match="inputs need 0"):
        Mask.from_networkx(nx.path_graph(3))
    graph = nx.Graph([(0, 1)])
    nx.set_node_attributes(graph, 0, "bipartite")
    with pytest.raises(FormatError, match="two nodes of one side"):
        Mask.from_networkx(graph)
    with pytest.raises(MemoryLimitError, match="dense"):
        Mask(np.zeros(10**6 + 1, dtype=np.int32), np.empty(0, dtype=np.int32), (10**6, 10**9)).to_dense()
